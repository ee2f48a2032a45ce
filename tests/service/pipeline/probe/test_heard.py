from __future__ import annotations

from typing import Any

from service.pipeline.probe.heard import Heard
from service.providers.base import Ask, Reply


async def test_a_push_is_kept_as_it_came_and_reaches_the_door_unchanged() -> None:
    heard, got = Heard(lambda: 7), bytearray()

    async def door(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            got.extend(message["body"])
            if not message.get("more_body"):
                return

    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.request", "body": b"}"},
    ]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError("the door said nothing")

    scope = {"type": "http", "path": "/callbacks/x/y", "headers": [(b"x-sign", b"1")]}
    await heard.at_the_door(door)(scope, receive, send)
    [push] = heard.pushes
    assert (bytes(got), push.body, push.headers, push.at) == (b"{}", b"{}", {"x-sign": "1"}, 7)
    assert "x-sign" not in repr(push)  # a signature may stand there


async def test_other_requests_are_not_listened_to() -> None:
    heard = Heard(lambda: 7)

    async def door(scope: Any, receive: Any, send: Any) -> None:
        assert receive == "untouched"

    await heard.at_the_door(door)({"type": "http", "path": "/v1/tasks"}, "untouched", None)
    await heard.at_the_door(door)({"type": "lifespan"}, "untouched", None)
    assert heard.pushes == []


def test_an_exchange_is_kept_with_its_time() -> None:
    heard = Heard(lambda: 7)
    heard.exchange(Ask(method="GET", path="/x"), Reply(status=200))
    assert [(one.ask.path, one.reply.status, one.at) for one in heard.exchanges] == [("/x", 200, 7)]
