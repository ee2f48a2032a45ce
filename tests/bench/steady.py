"""A load that keeps its pace: each request leaves at its own time, whether or not those before it were answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence


class _Line(asyncio.Protocol):
    """One connection. Given back to its pool when the answer is whole."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        at = head.lower().find(b"content-length: ")
        if at >= 0 and len(body) < int(head[at + 16 :].split(b"\r\n", 1)[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.pool.bad += 1
        self.buffer = b""
        self.pool.free.append(self)
        self.pool.open -= 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Idle for longer than the server keeps one: after a crowded moment most of them wait for the next."""
        if self in self.pool.free:
            self.pool.free.remove(self)


class Pool:
    """Connections to one port, as many as are needed at once."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.free: list[_Line] = []
        self.open = 0  # requests without an answer
        self.bad = 0

    async def send(self, request: bytes) -> None:
        self.open += 1
        if self.free:
            self.free.pop().transport.write(request)
            return
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: _Line(self), "127.0.0.1", self.port)
        transport.write(request)


async def run(pool: Pool, requests: Sequence[bytes], per_second: float) -> list[float]:
    """Send all at this rate. Returns when each was to leave, by `perf_counter`: what is late counts as waiting."""
    began = time.perf_counter()
    planned: list[float] = []
    for number, request in enumerate(requests):
        at = began + number / per_second
        if (ahead := at - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        planned.append(at)
        await pool.send(request)
    return planned
