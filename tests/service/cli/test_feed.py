from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from service.cli.client import Api
from service.cli.feed import WAITS, Feed, Happened, missed
from service.cli.terminal import FAILED, Stop
from tests.service.api.conftest import clock, house, public_url  # noqa: F401 (fixtures)
from tests.service.api.house import House
from tests.service.api.test_stream import serving
from tests.service.cli.receiver import Receiver, content, receiving

KEY = "trk_" + "k" * 32
OPENING = b"retry: 2000\nid: start\n\n"


def block(number: int) -> bytes:
    return b'id: evt_%d\nevent: task.failed\ndata: {"id":"evt_%d"}\n\n' % (number, number)


def event(number: int) -> Happened:
    return Happened(f"evt_{number}", "task.failed", b'{"id":"evt_%d"}' % number)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def script(receiver: Receiver, *stream: Callable[[BaseHTTPRequestHandler], None], feed: int = 0) -> None:
    """A server whose stream answers as told, in turn, and whose list has so many events."""
    left = list(stream)

    def answer(door: BaseHTTPRequestHandler) -> None:
        asked = urlsplit(door.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        if asked.path.endswith("/stream"):
            left.pop(0)(door)
        elif asked.path.rpartition("/")[2].startswith("evt_"):
            number = int(asked.path.rpartition("_")[2])
            content(200, "application/json", event(number).body)(door)
        else:
            after = 0 if query.get("after", "start") == "start" else int(query["after"].removeprefix("evt_"))
            found = [{"id": f"evt_{n}", "type": "task.failed", "data": {}} for n in range(after + 1, feed + 1)]
            next = "start" if query.get("order") == "desc" else f"evt_{feed}"
            page = {"object": "list", "data": found[: int(query["limit"])], "has_more": False, "next": next}
            content(200, "application/json", json.dumps(page).encode())(door)

    receiver.answer = answer


def streamed(*parts: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    return content(200, "text/event-stream; charset=utf-8", b"".join(parts))


def refused(status: int, code: str | None) -> Callable[[BaseHTTPRequestHandler], None]:
    body = {"status": status, "code": code, "detail": "no"} if code else None
    return content(status, "application/problem+json", json.dumps(body).encode())


class Reading:
    """A feed with what it says and how long it pauses."""

    def __init__(self, url: str, key: str = KEY, *, after: str | None = None, **more: Any) -> None:
        self.said: list[str] = []
        self.slept: list[float] = []
        self.api = Api(url, key)
        settings: dict[str, Any] = {"wanted": {}, "note": self.said.append, "pause": self.slept.append, **more}
        self.feed = Feed(self.api, after=after, **settings)

    def take(self, count: int) -> list[Happened]:
        with self.api:
            return list(islice((one for one in self.feed if one is not None), count))


def test_a_line_that_breaks_is_taken_up_again_behind_the_last_event(receiver: Receiver) -> None:
    half = block(2)[:-20]
    script(receiver, streamed(OPENING, block(1), half), streamed(OPENING, block(2)), refused(503, None), feed=3)
    reading = Reading(receiver.url)
    assert reading.take(3) == [event(1), event(2), event(3)]
    places = [headers.get("last-event-id") for _, path, headers, _ in receiver.came if path.endswith("/stream")]
    assert places == [None, "evt_1", "evt_2"]
    assert reading.slept == [1.0, 1.0]
    assert reading.said[:2] == ["the stream ended; connecting again in 1 s", "connected again"]


def test_before_the_first_event_the_place_of_the_opening_counts(receiver: Receiver) -> None:
    script(receiver, streamed(OPENING), streamed(block(1)))
    assert Reading(receiver.url).take(1) == [event(1)]
    assert receiver.came[1][2]["last-event-id"] == "start"


def test_a_refused_stream_is_replaced_by_asking_and_nothing_is_missed(receiver: Receiver) -> None:
    script(receiver, streamed(OPENING, block(1)), refused(429, "too_many_streams"), feed=3)
    reading = Reading(receiver.url)
    assert reading.take(3) == [event(1), event(2), event(3)]
    assert any("the stream is refused (429): asking /v1/events instead" in said for said in reading.said)
    assert "wait=25" in next(path for _, path, _, _ in receiver.came if path.startswith("/v1/events?"))


def test_what_stands_in_for_a_proxy_that_holds_the_stream_back_is_noticed(receiver: Receiver) -> None:
    over = threading.Event()
    script(receiver, lambda door: door.log_message(str(over.wait(10))), feed=1)
    reading = Reading(receiver.url, quiet_seconds=0.1)
    assert reading.take(1) == [event(1)]
    over.set()
    assert "holds it back" in reading.said[0]
    assert [path.partition("?")[0] for _, path, _, _ in receiver.came][:2] == ["/v1/events/stream", "/v1/events"]
    assert "order=desc" in receiver.came[1][1]  # it begins now, as the stream would have


def test_a_page_that_is_no_stream_is_no_stream(receiver: Receiver) -> None:
    script(receiver, content(200, "text/html", b"<h1>Log in</h1>"), feed=1)
    assert Reading(receiver.url).take(1) == [event(1)]


@pytest.mark.parametrize(
    ("status", "code"), [(401, "unauthorized"), (404, "not_found"), (410, "events_gone"), (422, "invalid")]
)
def test_what_will_not_mend_itself_ends_it_in_words(receiver: Receiver, status: int, code: str) -> None:
    script(receiver, refused(status, code))
    with pytest.raises(Stop) as stop:
        Reading(receiver.url).take(1)
    assert stop.value.code == FAILED and code in stop.value.text


def test_who_is_not_there_is_asked_again_ever_more_rarely(receiver: Receiver) -> None:
    broken: list[Callable[[BaseHTTPRequestHandler], None]] = [lambda door: None] * 8
    script(receiver, *broken, streamed(OPENING, block(1)))
    reading = Reading(receiver.url)
    assert reading.take(1) == [event(1)]
    assert reading.slept == [*WAITS, WAITS[-1], WAITS[-1]]
    assert reading.said[-1] == "connected again"


def test_what_was_missed_is_counted_up_to_a_bound(receiver: Receiver) -> None:
    script(receiver, feed=7)
    with Api(receiver.url, KEY) as api:
        assert missed(api, {}, "evt_5") == (2, False)
    receiver.answer = content(200, "application/json", b'{"data": [1, 2], "has_more": true, "next": "x"}')
    with Api(receiver.url, KEY) as api:
        assert missed(api, {}, "evt_5", pages=3) == (6, True)


@pytest.mark.parametrize("way", ["stream", "list"])
async def test_of_the_real_service_every_event_comes_byte_for_byte_in_order(
    house: House,  # noqa: F811
    way: str,
) -> None:
    async with serving(house, project_streams=1) as site:
        first = await site.tell()
        if way == "list":
            house.context.streaming[house.project_id] = 1  # all places are taken
        reading = Reading(f"http://127.0.0.1:{site.port}", house.key, after=first[0])
        told = await site.tell(130)
        taking = asyncio.create_task(asyncio.to_thread(reading.take, 140))
        told += await site.tell(10)
        found = await asyncio.wait_for(taking, 90)
        assert [one.id for one in found] == told
        assert [one.body for one in found] == [one.body for one in (await site.stored())[1:]]
        house.context.streaming.clear()
