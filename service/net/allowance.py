"""How much of an answer is read: a connection of aiohttp's that takes a bounded number of bytes for each request.

A limit on the body alone would not do: the parser takes interim answers ("100 Continue", again and again), trailers and
the extensions of chunks without handing anything on, so a subscriber could keep a core busy for the whole attempt.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import Any

import aiohappyeyeballs
import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader

# Of status line, headers, body and trailers together. With what the last read brings beyond it, which is cut off, at most
# 64 KiB are read: the kernel doubles the buffer's size. It would otherwise take megabytes that nobody will read.
ALLOWANCE = 32 * 1024
_RECEIVE_BUFFER = 16 * 1024

Dial = Callable[[aiohappyeyeballs.AddrInfoType], socket.socket]


class LetGo(aiohttp.ServerDisconnectedError):
    """A connection that was kept ended before a word of the answer: its peer may have let go of it before the request came."""


class Connection(ResponseHandler):
    """One connection; the allowance begins anew with each request."""

    _left = ALLOWANCE
    _headed = False
    _requests = 0
    _silent = True  # nothing of an answer has come
    _answered = False  # the head of the last one has

    def set_response_params(self, **parameters: Any) -> None:
        self._left, self._headed, self._silent, self._answered = ALLOWANCE, False, True, False
        self._requests += 1
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        if data and self._answered and (self._payload is None or self._payload.is_eof()):
            # Nobody asked, as when a server says 408 to an idle connection: aiohttp would take it for the answer to the next request.
            self.abort()
            return
        self._silent = self._silent and not data
        if len(data) <= self._left:
            self._left -= len(data)
            self._take(data)
            return
        allowed, self._left = data[: self._left], 0
        if allowed:
            self._take(allowed)
        # Whoever still waits for a status hears this; who has it reads what came, and then the end.
        self.set_exception(HttpProcessingError(code=400, message="the answer is too long"))
        if self.transport is not None:
            self.transport.abort()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        self._answered = data[0].code >= 200
        super().feed_data(data, size)

    def close(self) -> None:
        # What a peer does not read is waited for without end, and the file descriptor with it.
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.abort()
        else:
            super().close()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        if self._requests > 1 and self._silent and isinstance(exc, aiohttp.ClientConnectionError):
            exc = LetGo()
        super().set_exception(exc, *cause)
        if self._payload is not None:  # otherwise a body that cannot be read is waited for until the time is up
            self._payload.set_exception(aiohttp.ClientPayloadError("the rest of the answer cannot be read"))

    def _take(self, data: bytes) -> None:
        # The parser forgets a head that came in one piece with a body it cannot read, and a status that was said would
        # count or not as the network cut the bytes.
        if not self._headed and (end := data.find(b"\r\n\r\n")) >= 0:
            self._headed = True
            if rest := data[end + 4 :]:
                super().data_received(data[: end + 4])
                data = rest
        super().data_received(data)


class Connector(aiohttp.TCPConnector):
    """Makes such connections. aiohttp has no public way to say so: what is set here is pinned by the tests of it."""

    def __init__(self, *, dial: Dial, **options: Any) -> None:
        super().__init__(socket_factory=lambda found: _narrow(dial(found)), **options)
        self._factory = functools.partial(Connection, loop=asyncio.get_running_loop())  # type: ignore[assignment]


def _narrow(made: socket.socket) -> socket.socket:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return made
