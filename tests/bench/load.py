"""A load generator: keep-alive connections that send prepared requests as fast as answers come, and time each one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run brought. `bad`: answers other than 200."""

    seconds: float
    answers: int
    bad: int

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


class _Client(asyncio.Protocol):
    """One connection with one request in flight. Answers carry a content-length and arrive whole on loopback, or nearly."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self.requests = requests
        self.done = done
        self.answers = 0
        self.bad = 0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self.send()

    def send(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        self.answers += 1
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            self.bad += 1
        self.buffer = b""
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server hung up"))


def post(path: str, body: bytes) -> bytes:
    """The bytes of a POST."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send all requests over so many connections."""
    loop = asyncio.get_running_loop()
    stream = iter(requests)
    clients: list[_Client] = []
    began = time.perf_counter()
    for _ in range(connections):
        client = _Client(stream, loop.create_future())
        clients.append(client)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(client.done for client in clients))
    seconds = time.perf_counter() - began
    return Load(
        seconds=seconds,
        answers=sum(client.answers for client in clients),
        bad=sum(client.bad for client in clients),
    )
