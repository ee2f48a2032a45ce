"""Real servers on loopback that misbehave on request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


@dataclass
class Peer:
    """One accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: Seen

    async def request(self) -> bytes:
        """Read one whole request; empty at the end of the connection."""
        head = b""
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = await self.reader.readuntil(b"\r\n\r\n")
        if not head:
            return b""
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self.reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        self.seen.requests.append(head + body)
        return head + body

    async def say(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def drip(self, text: bytes) -> None:
        """One byte at a time for ever, as fast as it stays a drip."""
        while True:
            for byte in text:
                await self.say(bytes([byte]))
                await asyncio.sleep(0.01)

    def reset(self) -> None:
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> bytes:
        """Everything the client still sends, until it is gone."""
        rest = b""
        while chunk := await self.reader.read(65536):
            rest += chunk
        return rest


Behaviour: TypeAlias = Callable[[Peer], Awaitable[None]]


@dataclass
class Seen:
    """What a server saw."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def asked(self, asking: asyncio.Task[object]) -> None:
        """Until a request has come and some of what is said to it can be read, or whoever asks has given up."""
        while not (self.requests or asking.done()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0.001)


async def answer_always(peer: Peer) -> None:
    while await peer.request():
        await peer.say(OK)


@contextlib.asynccontextmanager
async def serving(behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Seen]:
    """A server that treats each connection with `behave`."""
    seen = Seen()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await behave(Peer(reader, writer, seen))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls, ssl_shutdown_timeout=0.1 if tls else None)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tuple(tasks))
        await server.wait_closed()


_kept: list[socket.socket] = []


def closed_port() -> int:
    """A port that nobody listens on, and nobody will: it stays bound until the process ends."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    _kept.append(taken)
    return int(taken.getsockname()[1])
