"""A receiver that costs next to nothing: answers every POST with 204 and notes when it came; plays the provider's query too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Sink:
    """Counts what arrives. `arrived` maps a `webhook-id` to the moment of its arrival, by `perf_counter`."""

    def __init__(self, answer: Callable[[bytes, bytes], bytes] | None = None) -> None:
        self.answer = answer
        self.count = 0
        self.arrived: dict[str, float] = {}
        self.keep = False
        self.stirred = asyncio.Event()

    async def listen(self) -> tuple[asyncio.Server, int]:
        server = await asyncio.get_running_loop().create_server(lambda: _Line(self), "127.0.0.1", 0)
        return server, server.sockets[0].getsockname()[1]


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
            lower = head.lower()
            at = lower.find(b"content-length: ")
            length = int(lower[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            sink = self.sink
            sink.count += 1
            if sink.keep:
                at = lower.find(b"webhook-id: ")
                name = head[at + 12 :].split(b"\r\n", 1)[0].decode() if at >= 0 else ""
                sink.arrived[name] = time.perf_counter()
                sink.stirred.set()
            self.transport.write(sink.answer(head, body) if sink.answer is not None else NO_CONTENT)
