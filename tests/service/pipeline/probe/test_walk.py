from __future__ import annotations

from service.pipeline.probe.walk import MOST_ASKED, walked
from service.providers.base import Ask, BadReply, Flow, Reply

OK = Reply(status=200)


def endless(asked: list[int]) -> Flow[int]:
    while True:
        asked.append(1)
        yield Ask(method="GET", path="/next")


def unreadable() -> Flow[int]:
    yield Ask(method="GET", path="/x")
    raise BadReply("no")


def plain() -> Flow[int]:
    return (yield Ask(method="GET", path="/x")).status


def test_a_reply_is_read_again_without_asking_anybody() -> None:
    assert walked(plain(), OK) == 200 and walked(unreadable(), OK) is None


def test_a_flow_that_never_has_enough_is_left() -> None:
    asked: list[int] = []
    assert walked(endless(asked), OK) is None and len(asked) == MOST_ASKED + 1
