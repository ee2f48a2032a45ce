"""A receiver that costs next to nothing: answers every POST with 204 and notes when it came; plays the provider's query too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Sink:
    """Counts what arrives. `answer`: the answer's bytes, or how many seconds a 204 takes; None: it never comes.

    `arrived` maps a `webhook-id` to the moment it first came, by `perf_counter`.
    """

    def __init__(self, answer: Callable[[bytes, bytes], bytes | float | None] | None = None) -> None:
        self.answer = answer
        self.count = 0
        self.arrived: dict[str, float] = {}
        self.keep = False
        self.stirred = asyncio.Event()

    async def listen(self) -> tuple[asyncio.Server, int]:
        server = await asyncio.get_running_loop().create_server(lambda: _Line(self), "127.0.0.1", 0)
        return server, server.sockets[0].getsockname()[1]

    def take(self, head: bytes, body: bytes) -> bytes | float | None:
        self.count += 1
        if self.keep:
            self.arrived.setdefault(header(head, b"webhook-id"), time.perf_counter())
            self.stirred.set()
        return NO_CONTENT if self.answer is None else self.answer(head, body)


def header(head: bytes, name: bytes) -> str:
    at = head.lower().find(name + b": ")
    return head[at + len(name) + 2 :].split(b"\r\n", 1)[0].decode() if at >= 0 else ""


class _Line(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end]
            length = int(header(head, b"content-length") or 0)
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            match self.sink.take(head, body):
                case bytes() as answer:
                    self.transport.write(answer)
                case float() as seconds:
                    asyncio.get_running_loop().call_later(seconds, self.transport.write, NO_CONTENT)
                case None:
                    pass
