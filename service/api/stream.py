"""/v1/events/stream: the feed as server-sent events, for as long as the client stays.

One stream is one loop: read a stretch, send it, rest until somebody rings. It keeps no queue, so a slow reader holds up itself alone;
one that stops reading is cut off by `net.connection`. `id:` always names a place to go on from, also before the first event.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api import auth, events
from service.api.call import Call
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query, position_cursor
from service.pipeline.watch import Pace, rest
from storage import feed
from storage.errors import StorageError
from storage.feed import EventFilter, Stretch
from storage.records import Event

BATCH = 32  # events held at a time
PART_BYTES = 64 * 1024  # what is sent at a time, and what the transport holds before it makes us wait
RETRY_MS = 2000
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the second is nginx's: pass on what comes, at once
LAST_EVENT_ID = "last-event-id"


async def stream(call: Call) -> Response:
    """GET /v1/events/stream"""
    query = Query(call.request, ("after", *events.FILTERS))
    wanted = events.filter_of(query)
    query.settle()
    start = await _start(call, query, wanted)
    return EventStream(call, wanted, start)


async def _start(call: Call, query: Query, wanted: EventFilter) -> int:
    """Where the client stands. Its header first: a browser that reconnects repeats the address it began with."""
    if stated := call.request.headers.get(LAST_EVENT_ID):
        return await events.place(call, stated, "/Last-Event-ID")
    if (stated := query.text("after")) is not None:
        return await events.place(call, stated, "/after")
    if wanted.created_after is not None:
        return await events.since(call, wanted)
    return (await call.context.database.read(lambda tx: feed.bounds(tx, call.project_id))).newest


class EventStream(Response):
    """The answer that goes on. What is wrong before its first byte is a problem like any other."""

    media_type = "text/event-stream"

    def __init__(self, call: Call, wanted: EventFilter, start: int) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._call, self._wanted, self._start = call, wanted, start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._call
        if scope["method"] == "HEAD":  # would never end
            await super().__call__(scope, receive, send)
            return
        with _seat(call.context, call.project_id), call.context.watch.listening(call.project_id) as rung:
            gone = asyncio.create_task(_gone(receive))
            gone.add_done_callback(lambda _: rung.set())
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                reader = Reader(call=call, wanted=self._wanted, place=self._start, send=send, rung=rung, gone=gone)
                await reader.follow()
            finally:
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)


@dataclass(slots=True, kw_only=True)
class Reader:
    """One client on its way through the feed. `place`: up to where it was sent everything it wants."""

    call: Call
    wanted: EventFilter
    place: int
    send: Send
    rung: asyncio.Event
    gone: asyncio.Task[None]
    _named: int = field(default=-1, init=False)  # the last place the client was told

    async def follow(self) -> None:
        """Send what comes until the client leaves, the process stops, or the key is good no more; then say to come back."""
        context, loop = self.call.context, asyncio.get_running_loop()
        pace = Pace(context.watch.look_again_seconds)
        await self._say(f"retry: {RETRY_MS}\n")
        beat_at = loop.time() + context.limits.heartbeat_seconds
        while not self.gone.done() and not context.watch.closed:
            self.rung.clear()
            try:
                if loop.time() >= beat_at:
                    await self._prove()
                    await self._say(": still here\n")
                    beat_at = loop.time() + context.limits.heartbeat_seconds
                before = self.place
                found = await self._advance()
            except (Problem, StorageError):  # the next connection is told which
                break
            if not found.more:
                span = pace.seconds(held=found.held, went_on=self.place != before)
                await rest(self.rung, min(span, beat_at - loop.time()))
        await self._say(": this connection ends here, connect again\n")
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _advance(self) -> Stretch:
        """Send the next stretch of the feed, and return it."""
        found = await self.call.context.database.read(
            lambda tx: feed.ahead(tx, self.call.project_id, self.wanted, after=self.place, limit=BATCH)
        )
        part = bytearray()
        for event in found.events:
            part += block(event)
            if len(part) >= PART_BYTES:
                await self._send(bytes(part))
                part.clear()
            if self.gone.done():
                return found
        if part:
            await self._send(bytes(part))
        if found.events:
            self._named = feed.position(found.events[-1])
        self.place = found.end
        return found

    async def _say(self, line: str) -> None:
        """A line that is no event, and the place if the client was not told of it."""
        if self._named != self.place:
            line += f"id: {position_cursor(self.place)}\n"
            self._named = self.place
        await self._send(f"{line}\n".encode())

    async def _prove(self) -> None:
        """The key as it is by now: a stream must not outlive it for long. Raises `Problem`."""
        key = await auth.identify(self.call.request.scope, self.call.context)
        auth.demand(key, auth.ANYBODY)

    async def _send(self, part: bytes) -> None:
        """Returns once there is room for more, so nothing piles up here."""
        await self.send({"type": "http.response.body", "body": part, "more_body": True})


def block(event: Event) -> bytes:
    """An event on the wire. Its body is one line of JSON, so it travels as it is."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), event.type.encode(), event.body)


@contextmanager
def _seat(context: Context, project_id: str) -> Iterator[None]:
    """A place among those who stream. Raises `Problem` when there is none."""
    taken, limits = context.streaming, context.limits
    if taken[project_id] >= limits.project_streams:
        detail = f"Your project has {limits.project_streams} streams open. Close one, or ask GET /v1/events with wait."
        raise Problem("too_many_streams", detail, headers={"retry-after": "30"})
    if taken.total() >= limits.streams:
        detail = "All streams of this process are taken. Ask GET /v1/events with wait meanwhile."
        raise Problem("unavailable", detail, headers={"retry-after": "30"})
    taken[project_id] += 1
    try:
        yield
    finally:
        taken[project_id] -= 1
        if not taken[project_id]:
            del taken[project_id]


async def _gone(receive: Receive) -> None:
    """Until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        continue
