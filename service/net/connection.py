"""One client's connection: uvicorn's, with a limit on everything a client may keep us waiting for, or make us keep.

uvicorn has none: it takes a header of 30 MB, and half a request or an unread answer holds its socket, and a shutdown, for ever; it
queues whatever is sent before an answer, reads trailers as headers and answers what cannot be read in the middle of another answer.
No timer per request: a connection knows until when it may go on, and the server looks at all of them a few times a second.
What a whole request may take, and a body, is the application's to say.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.net import refusals
from service.net.crowd import Crowd, Room
from service.net.forwarded import client_behind, trusted
from service.net.heads import fault_of
from service.net.refusals import HEAD_BYTES, HEADERS, Refusal

SLOWEST_READER = 4096  # bytes of an answer a second
# Of chunk sizes, extensions and trailers, beside seven for each byte of a body: it may come byte by byte.
FRAMING_BYTES = 16 * 1024
# Requests that wait for the answer to one before them; each costs 2 kB before anybody looks at it. Past the second nothing is read.
PIPELINED, PIPELINED_READ = 64, 8
# What is parsed at once, and by how much when more has come: a slice holds 20 requests at most.
WHOLE, SLICE = 4096, 512
# Of a body whose answer was given: thrown away, so that the connection can go on and a proxy gets to the answer. More is not read.
SURPLUS_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client may take. `linger_seconds`: for the rest of a body after its answer, and for the last bytes of a last answer."""

    head_seconds: float = 10.0
    hurry_seconds: float = 1.0  # for the head of somebody there is no room for
    keep_alive_seconds: float = 75.0  # above the 60 s after which common load balancers let go: never ours first
    linger_seconds: float = 5.0
    unread_seconds: float = 30.0
    stopping_seconds: float = 5.0  # for the rest of a request, or for reading an answer, once we are told to stop
    first_seconds: float = (
        1.0  # for the first word of a new connection then: a balancer's request is on its way to us alone
    )


class _Refused(Exception):
    """Raised to the parser, which stops there."""


class _Flow(FlowControl):
    """Reading goes on only while nothing waits to be parsed: uvicorn resumes it with every answer and every look at a body."""

    holding = False

    def resume_reading(self) -> None:
        if not self.holding:
            super().resume_reading()


def _saying(refusal: Refusal) -> Callable[..., Awaitable[None]]:
    """An application that gives one answer and reads nothing."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": refusal.status, "headers": refusal.headers})
        await send({"type": "http.response.body", "body": refusal.body})

    return app


NO_ROOM = {Room.NONE: _saying(refusals.FULL), Room.NONE_FOR_IT: _saying(refusals.CROWDED)}


class Connection(HttpToolsProtocol):
    """`until`: when it is closed, unless something happens first; infinite while the next word is ours."""

    patience = Patience()
    crowd = Crowd()  # each server has its own
    flow: _Flow

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.until = math.inf
        self._owner: str | None = None  # whom it is counted for
        self._proxied = False  # its peer's word on the client counts
        self._in_head = False  # a request began, and its head has not ended
        self._in_body = False
        self._head_bytes = self._framing = self._surplus = 0
        self._held = b""  # came, and is parsed once fewer requests wait
        self._running: RequestResponseCycle | None = None
        self._answering = False  # a request that is begun now came before that answer
        self._fault: Refusal | None = None  # what the parser stopped for
        self._framed: list[
            bytes
        ] = []  # the lines that say where the body of a request ends which also asks for an upgrade
        self._replaying = False
        self._paused: tuple[float, int] | None = None  # since when an answer waits to be read, and how much of it
        self._stopping = False
        self._last_word: Refusal | None = None  # waits for the answers before it
        self._over = False  # what still comes is thrown away

    # What the transport says

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        peer = self.client[0] if self.client else None
        self._proxied = peer is not None and trusted(peer, self.crowd.proxies)
        room, self._owner = self.crowd.enter(peer, self.loop.time())
        if room is Room.NOT_A_WORD:
            self._over = True
            transport.abort()
        elif room is not Room.ENOUGH:
            self.app = NO_ROOM[room]
            self._wait(self.patience.hurry_seconds)
        else:
            self._wait(self.patience.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.leave(self._owner)
        self._held = b""
        self.pipeline.clear()
        if self._running is not None and self._running is not self.cycle and not self._running.response_complete:
            # uvicorn tells the newest request alone, and the one that is being answered would write to nobody
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._unset_keepalive_if_required()
        if self._in_body and self._answered():
            self._surplus += len(data)
            if self._surplus > SURPLUS_BYTES:
                self._over = self.flow.holding = True
                self.flow.pause_reading()  # it may read its answer until it is closed
                if not self.transport.is_closing():
                    self.transport.write_eof()  # nothing more is answered here: who keeps connections takes another
                return
        if self._held or len(data) > WHOLE:
            self._held += data
            self._go_on()
        else:
            self._take(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = self.loop.time(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused = None

    @property
    def unread(self) -> tuple[float, int]:
        """Since when an answer waits to be read, and how much of it; nothing while it flows."""
        return (0.0, 0) if self._paused is None else (self._paused[0], self.transport.get_write_buffer_size())

    # What is parsed

    def _go_on(self) -> None:
        """Parse what is held, as long as few requests wait: whoever sends thousands at once has them read as they are answered."""
        while self._held and not self._over and len(self.pipeline) < PIPELINED_READ:
            size = WHOLE if self._in_body else SLICE
            data, self._held = self._held[:size], self._held[size:]
            self._take(data)
        if self._over:
            self._held = b""
        self.flow.holding = bool(self._held)
        if self._held:
            self.flow.pause_reading()

    def _take(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        elif self._in_body:
            self._framing += len(data)
        self._parse(data)
        if self._over:
            return
        if self._in_head and self._head_bytes > HEAD_BYTES:
            self._refuse(refusals.TOO_LARGE)
        elif self._in_body and self._framing > FRAMING_BYTES:
            self._refuse(refusals.FRAMING)

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as asked:
                # An upgrade may be ignored (RFC 9110 §7.8), and Java's client asks for h2c with every first request.
                data = data[asked.args[0] :]
                if self._framed:
                    self._replay()
            except httptools.HttpParserError:
                self._refuse(self._fault or refusals.MALFORMED)
                return

    def _replay(self) -> None:
        """The parser takes the body of a request that asks for an upgrade for the other protocol: a new one is told of its framing."""
        lines, self._framed = self._framed, []
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._replaying = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(lines) + b"\r\n")
        self._replaying = False

    def on_message_begin(self) -> None:
        if self._replaying:
            return
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._answered() and self.app is self.config.loaded_app:
            self._wait(self.patience.head_seconds)

    def on_url(self, url: bytes) -> None:
        if not self._replaying:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: uvicorn would add it to the headers of a request that was let in without it
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._replaying:
            return
        self._in_head = False
        self.until = math.inf
        parser, upgrading = self.parser, self.parser.should_upgrade()
        if len(self.headers) > HEADERS or self._head_is_large():
            self._fault = refusals.TOO_LARGE
        elif len(self.pipeline) >= PIPELINED:
            self._fault = refusals.PIPELINE
        else:
            self._fault = fault_of(parser.get_method(), self.url, parser.get_http_version(), self.headers)
        if self._fault is not None:
            raise _Refused
        if upgrading:
            self._framed = [
                b"%s: %s\r\n" % one for one in self.headers if one[0] in (b"content-length", b"transfer-encoding")
            ]
        if self._proxied and self.client is not None:
            client = client_behind(self.client[0], self.headers, self.crowd.proxies)
            self.scope["client"] = (client, 0)
        self._in_body, self._framing, self._surplus = True, 0, 0
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._framing -= 8 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._framed:
            return  # its body is still to come
        self._in_body = False
        super().on_message_complete()
        if self._answered():
            self._wait(self.patience.keep_alive_seconds)

    # What the application says

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if self._answering:
            self.crowd.queue(partial(super()._start_asgi_task, cycle, app), self.loop)
        else:
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self._answering = True
        super().on_response_complete()
        self._answering = False
        if self.transport.is_closing():
            self._wait(self.patience.linger_seconds)
            return
        if self._held:
            self._unset_keepalive_if_required()
            self._go_on()
            self.flow.resume_reading()
        if not self._answered():
            return  # the next request was here already
        if self._last_word is not None:
            self._hang_up(self._last_word)
            return
        self._wait(self.patience.linger_seconds if self._in_body else self.patience.keep_alive_seconds)
        if self._in_head:
            self._wait(self.patience.head_seconds)

    # What the server says

    def look(self, now: float) -> None:
        """Close if the client has kept us waiting for too long."""
        if self._paused is not None:
            since, unread = self._paused
            patience = self.patience.stopping_seconds if self._stopping else self.patience.unread_seconds
            if now > since + patience:
                left = self.transport.get_write_buffer_size()
                if unread - left < patience * SLOWEST_READER:
                    self.transport.abort()
                else:
                    self._paused = now, left
        elif now > self.until:
            if self._over or self.transport.is_closing() or self.transport.get_write_buffer_size():
                self.transport.abort()  # it does not read, or does not end
            elif self._stopping:
                self._hang_up(None if self._silent() else refusals.STOPPING)
            else:
                self._hang_up(refusals.TOO_SLOW if self._in_head else None)

    def give_up(self) -> None:
        """Cut it: more waits to be read than may be kept, and here it waits longest."""
        self.crowd.blame(self._owner, self.loop.time())
        self.transport.abort()

    def shutdown(self) -> None:
        """Finish the answer in the making; whoever still owes us something has little time left for it."""
        self._stopping = True
        made_at = self.until - self.patience.head_seconds
        if self._silent() and self.loop.time() < made_at + self.patience.first_seconds:
            self.until = made_at + self.patience.first_seconds
            return
        super().shutdown()
        if self._paused is not None:
            self._paused = self.loop.time(), self.transport.get_write_buffer_size()
        elif self.transport.is_closing() or (self.cycle is not None and self.cycle.more_body):
            self._wait(self.patience.stopping_seconds)

    def _silent(self) -> bool:
        """Whether nothing was ever said on it."""
        return self.cycle is None and not self._in_head

    def _answered(self) -> bool:
        return self._running is None or (self._running.response_complete and not self.pipeline)

    def _wait(self, seconds: float) -> None:
        self.until = self.loop.time() + seconds

    def _head_is_large(self) -> bool:
        if self._head_bytes + WHOLE <= HEAD_BYTES:  # nearly always: all that has come is less
            return False
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD_BYTES

    def _refuse(self, refusal: Refusal) -> None:
        """Read no more, and say so as the last word, behind the answers to whole requests that came before."""
        self._over = True
        if self._in_body and self.cycle is not None and not self.cycle.response_complete:
            if self.cycle is self._running:
                self._hang_up(refusal)
                return
            self.pipeline.popleft()  # its body broke off, and it has not begun
        if self._answered():
            self._hang_up(refusal)
        else:
            self._last_word = refusal

    def _hang_up(self, refusal: Refusal | None) -> None:
        """Say why, where nothing was said yet, and close; what the application still says is lost."""
        self._over = True
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            if self._running.response_started:
                refusal = None
            self._running.disconnected = True
            self._running.message_event.set()
        if self.transport.is_closing():
            return
        if refusal is not None:
            self.transport.write(refusal.raw(self.server_state.default_headers))
        if refusal is None or self._stopping:
            self.transport.close()
        else:
            # Closing on a client that still sends resets the connection, and takes the answer from it unread.
            self.flow.holding = False
            self.flow.resume_reading()
            self.transport.write_eof()
        self._wait(self.patience.linger_seconds)
