"""One client's connection: uvicorn's, with a limit on everything a client may keep us waiting for, or make us keep.

uvicorn has none: it takes a header of 30 MB, and half a request or an unread answer holds its socket, and a shutdown, for ever.
No timer per request: a connection knows until when it may go on, and the server looks at all of them a few times a second.
What a whole request may take, and a body, is the application's to say.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEAD_BYTES = 16 * 1024
HEADERS = 100
SLOWEST_READER = 4096  # bytes of an answer a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client may take. `linger_seconds`: for the rest of a body after its answer, and for the last bytes of a last answer."""

    head_seconds: float = 10.0
    keep_alive_seconds: float = 75.0  # above the 60 s after which common load balancers let go: never ours first
    linger_seconds: float = 5.0
    unread_seconds: float = 30.0
    stopping_seconds: float = 5.0  # for the rest of a request, or for reading an answer, once we are told to stop
    first_seconds: float = (
        1.0  # for the first word of a new connection then: a balancer's request is on its way to us alone
    )


def _answer(status: int, code: str, title: str, detail: str, *more: tuple[bytes, bytes]) -> tuple[Any, bytes]:
    body = orjson.dumps(
        {"type": f"/docs/problems#{code}", "title": title, "status": status, "detail": detail, "code": code}
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *more,
    ]
    return {"type": "http.response.start", "status": status, "headers": headers}, body


AGAIN = (b"retry-after", b"5")
FULL = _answer(503, "unavailable", "Unavailable for the moment", "Too many connections are open. Try again.", AGAIN)
STOPPING = _answer(503, "unavailable", "Unavailable for the moment", "This process is stopping. Try again.", AGAIN)
TOO_SLOW = _answer(408, "too_slow", "The request came too slowly", "Its head did not arrive in time. Send it again.")
TOO_LARGE = _answer(
    431, "too_large", "The head is too large", f"At most {HEADERS} headers and {HEAD_BYTES} bytes before the body."
)
REASONS = {408: b"Request Timeout", 431: b"Request Header Fields Too Large", 503: b"Service Unavailable"}


def _saying(answer: tuple[Any, bytes]) -> Callable[..., Awaitable[None]]:
    """An application that gives one answer and reads nothing."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(answer[0])
        await send({"type": "http.response.body", "body": answer[1]})

    return app


class Connection(HttpToolsProtocol):
    """`until`: when it is closed, unless something happens first; infinite while the next word is ours."""

    patience = Patience()
    connections_at_most = 4096  # past it each further request is answered 503

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.until = math.inf
        self._app = self.app
        self._in_head = False  # a request began, and its head has not ended
        self._head_bytes = self._chunk = 0
        self._paused: tuple[float, int] | None = None  # since when an answer waits to be read, and how much of it
        self._stopping = False
        self._over = False  # the last word is said; what still comes is thrown away

    # What the transport says

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.patience.head_seconds)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._chunk = len(data)
        if self._in_head:
            self._head_bytes += self._chunk
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._hang_up(TOO_LARGE)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = self.loop.time(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused = None

    # What the parser says

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._answered():
            self._wait(self.patience.head_seconds)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self.until = math.inf
        if len(self.headers) > HEADERS or self._head_is_large():
            self.app = _saying(TOO_LARGE)
        elif len(self.connections) > self.connections_at_most:
            self.app = _saying(FULL)
        else:
            self.app = self._app
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._answered():
            self._wait(self.patience.keep_alive_seconds)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._wait(self.patience.linger_seconds)
        elif self._answered():  # else the next request was here already
            whole = not self.cycle.more_body
            self._wait(self.patience.keep_alive_seconds if whole else self.patience.linger_seconds)
            if self._in_head and whole:
                self._wait(self.patience.head_seconds)

    # What the server says

    def look(self, now: float) -> None:
        """Close if the client has kept us waiting for too long."""
        if self._paused is not None:
            since, unread = self._paused
            taken = unread - self.transport.get_write_buffer_size()
            patience = self.patience.stopping_seconds if self._stopping else self.patience.unread_seconds
            if now > since + patience + max(taken, 0) / SLOWEST_READER:
                self.transport.abort()
        elif now > self.until:
            if self._over or self.transport.is_closing() or self.transport.get_write_buffer_size():
                self.transport.abort()  # it does not read, or does not end
            elif self._stopping:
                self._hang_up(None if self._silent() else STOPPING)
            else:
                self._hang_up(TOO_SLOW if self._in_head else None)

    def shutdown(self) -> None:
        """Finish the answer in the making; whoever still owes us something has little time left for it."""
        self._stopping = True
        made_at = self.until - self.patience.head_seconds
        if self._silent() and self.loop.time() < made_at + self.patience.first_seconds:
            self.until = made_at + self.patience.first_seconds
            return
        super().shutdown()
        if self._paused is not None:
            self._paused = self.loop.time(), self._paused[1]
        elif self.transport.is_closing() or (self.cycle is not None and self.cycle.more_body):
            self._wait(self.patience.stopping_seconds)

    def _silent(self) -> bool:
        """Whether nothing was ever said on it."""
        return self.cycle is None and not self._in_head

    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        self.until = self.loop.time() + seconds

    def _head_is_large(self) -> bool:
        if self._head_bytes + self._chunk <= HEAD_BYTES:  # nearly always: all that has come is less
            return False
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD_BYTES

    def _hang_up(self, answer: tuple[Any, bytes] | None) -> None:
        """Say why, where nothing was said yet, and close; what the application still says is lost."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                answer = None
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if answer is not None:
            start, body = answer
            lines = [b"HTTP/1.1 %d %s" % (start["status"], REASONS[start["status"]])]
            lines += [b"%s: %s" % header for header in (*self.server_state.default_headers, *start["headers"])]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        if answer is None or self._stopping:
            self.transport.close()
        else:
            # Closing on a client that still sends resets the connection, and takes the answer from it unread.
            self.transport.write_eof()
            self._over = True
        self._wait(self.patience.linger_seconds)
