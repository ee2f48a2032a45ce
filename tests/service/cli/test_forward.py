from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from standardwebhooks import Webhook

from service.cli.demo.stage import free_port
from service.cli.feed import Happened
from service.cli.forward import Forwarded, Forwarder
from service.cli.terminal import USAGE, Stop
from tests.service.cli.receiver import Answer, Receiver, receiving, status

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = Happened("evt_1", "task.failed", '{"id":"evt_1","text":"naïve \u2028","n":1.0}'.encode())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def sent(url: str, **more: Any) -> tuple[Forwarded, list[str], list[float]]:
    said: list[str] = []
    slept: list[float] = []
    settings: dict[str, Any] = {"note": said.append, "pause": slept.append, **more}
    with Forwarder(url, SECRET, **settings) as forwarder:
        return forwarder.send(EVENT), said, slept


def in_turn(*answers: Answer) -> Answer:
    left = list(answers)

    def answer(door: BaseHTTPRequestHandler) -> None:
        left.pop(0)(door)

    return answer


def test_the_receiver_gets_the_same_bytes_signed_as_a_delivery_is(receiver: Receiver) -> None:
    outcome, said, _ = sent(f"{receiver.url}/hooks?a=1")
    [(method, path, headers, body)] = receiver.came
    assert (method, path, body) == ("POST", "/hooks?a=1", EVENT.body)
    Webhook(SECRET).verify(body, headers)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 10
    assert (headers["webhook-id"], headers["taskrelay-event"], headers["taskrelay-attempt"]) == (
        "evt_1",
        "task.failed",
        "1",
    )
    assert (outcome.status, outcome.why, outcome.tries, said) == (204, None, 1, [])


def test_what_is_not_taken_is_tried_again_signed_anew_and_that_is_said(receiver: Receiver) -> None:
    receiver.answer = in_turn(status(500), lambda door: None, status(200))
    now = iter([time.time() - 2, time.time() - 1, time.time()])
    outcome, said, slept = sent(receiver.url, clock=lambda: next(now))
    assert (outcome.status, outcome.why, outcome.tries) == (200, None, 3)
    assert slept == [1.0, 3.0]
    assert said[0] == "evt_1 was not taken (500 Internal Server Error); again in 1 s"
    headers = [headers for _, _, headers, _ in receiver.came]
    assert [one["taskrelay-attempt"] for one in headers] == ["1", "2", "3"]
    assert len({one["webhook-signature"] for one in headers}) == 3
    assert {one["webhook-id"] for one in headers} == {"evt_1"}


def test_the_tries_are_counted_and_then_it_goes_on() -> None:
    outcome, said, slept = sent(f"http://127.0.0.1:{free_port()}")
    assert outcome.why is not None and "refused" in outcome.why
    assert (outcome.status, outcome.tries, slept, len(said)) == (None, 4, [1.0, 3.0, 10.0], 3)


def test_a_redirect_is_not_followed_and_a_silent_receiver_is_not_waited_for(receiver: Receiver) -> None:
    receiver.answer = status(302, location=f"{receiver.url}/elsewhere")
    outcome, _, _ = sent(receiver.url, waits=())
    assert outcome.why is not None and "redirects are not followed" in outcome.why
    assert len(receiver.came) == 1
    over = threading.Event()

    def silent(door: object) -> None:
        over.wait(10)

    receiver.answer = silent
    outcome, _, _ = sent(receiver.url, waits=(), seconds=0.05)
    over.set()
    assert outcome.status is None and outcome.why is not None


@pytest.mark.parametrize(
    ("url", "secret", "said"),
    [
        ("localhost:3000", SECRET, "--forward-to"),
        ("ftp://x", SECRET, "--forward-to"),
        ("http://x", "whsec_!", "--secret"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_listened_to(url: str, secret: str, said: str) -> None:
    with pytest.raises(Stop, match=said) as stop:
        Forwarder(url, secret, note=print)
    assert stop.value.code == USAGE and secret not in stop.value.text
