"""Everything that leans on the door, each a number of clients of one address. Run as a process of its own, told of its orders in JSON."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

FILES = 8192
PAUSE_SECONDS = 0.05  # between two blows of one client: the siege is of weight, not of speed
BACK_SECONDS = 1.0  # until a client that was cut off is back
HEAD = "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """One force: what it does, with how many clients, from which address, against which door."""

    force: str
    clients: int
    local: str
    port: int
    key: str
    push: str

    def head(self, path: str) -> bytes:
        return HEAD.format(path=path, key=self.key).encode()


Blow: TypeAlias = Callable[[Orders, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def silent(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing."""
    await reader.read()


async def half_head(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A head, one header a second."""
    writer.write(b"POST /v1/tasks HTTP/1.1\r\nhost: x\r\n")
    await _dripping(reader, writer, b"x: y\r\n")


async def half_body(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body, a byte a second, with a token that is good."""
    writer.write(orders.head(orders.push) + b"content-length: 200000\r\n\r\n" + b" " * 1000)
    await _dripping(reader, writer, b" ")


async def idle(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, then nothing."""
    writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.read()


async def slow_reader(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Asks for the largest pages there are, again and again, and reads a little a second."""
    pages = [b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path for path in (b"/openapi.json", b"/docs/problems")]
    writer.write(b"".join(pages) * 50)
    while await reader.read(512):  # noqa: ASYNC110 (slow on purpose)
        await asyncio.sleep(1)


async def pipeline(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ten thousand requests before the first answer is read."""
    await _pour(writer, b"GET /docs/problems HTTP/1.1\r\nhost: x\r\n\r\n" * 200, 50)
    await reader.read()


async def endless_chunks(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """256 MB in chunks, to a door that takes 256 KiB."""
    writer.write(orders.head(orders.push) + b"transfer-encoding: chunked\r\n\r\n")
    await _pour(writer, b"10000\r\n" + b" " * 65_536 + b"\r\n", 4096)


async def endless_order(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same, to a door that takes 1 MiB."""
    writer.write(orders.head("/v1/tasks") + b"transfer-encoding: chunked\r\n\r\n")
    await _pour(writer, b"10000\r\n" + b" " * 65_536 + b"\r\n", 4096)


async def extensions(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A chunk whose extension has no end."""
    writer.write(orders.head(orders.push) + b"transfer-encoding: chunked\r\n\r\n1;")
    await _pour(writer, b"x" * 65_536, 4096)


async def headers(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Twenty thousand headers."""
    writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n")
    await _pour(writer, b"a: b\r\n" * 1000, 20)
    await reader.read()


async def query(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ten megabytes of query."""
    writer.write(b"GET /v1/tasks?x=")
    await _pour(writer, b"y" * 65_536, 160)
    await reader.read()


BOMBS: Final[Mapping[str, Callable[[], bytes]]] = {
    "deep": lambda: b'{"input":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep_objects": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "digits": lambda: b'{"input":{"duration":' + b"9" * 1_000_000 + b"}}",
    "exponents": lambda: b"[" + b"1e999999999," * 80_000 + b"1]",
    "wide": lambda: b"[" + b"0," * 500_000 + b"0]",
    "quotes": lambda: b'"' + b'\\"' * 500_000,
    "names": lambda: json.dumps({f"a{number}": 1 for number in range(60_000)}).encode(),
}
PACKED: Final[bytes] = gzip.compress(b" " * 10_000_000)


async def json_bombs(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """JSON of a megabyte or less that is dear to read, one kind after another."""
    for make in BOMBS.values():
        body = make()
        writer.write(orders.head("/v1/tasks") + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await _answer(reader)
        await asyncio.sleep(PAUSE_SECONDS)


async def push_bombs(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same as pushes, which are kept whatever they hold."""
    for make in BOMBS.values():
        body = make()[: 256 * 1024]
        writer.write(orders.head(orders.push) + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await _answer(reader)
        await asyncio.sleep(4 * PAUSE_SECONDS)


async def packed(orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """10 MB in 10 kB."""
    for path in ("/v1/tasks", orders.push):
        head = orders.head(path) + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED)
        writer.write(head + PACKED)
        await writer.drain()
        await _answer(reader)
        await asyncio.sleep(PAUSE_SECONDS)


FORCES: Final[Mapping[str, Blow]] = {
    one.__name__: one
    for one in (
        silent, half_head, half_body, idle, slow_reader, pipeline, endless_chunks, endless_order, extensions, headers,
        query, json_bombs, push_bombs, packed,
    )
}  # fmt: skip


async def _dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drop: bytes) -> None:
    closed = asyncio.ensure_future(reader.read())
    while not closed.done():
        writer.write(drop)
        await asyncio.wait([closed], timeout=1.0)


async def _pour(writer: asyncio.StreamWriter, piece: bytes, times: int) -> None:
    for _ in range(times):
        writer.write(piece)
        await writer.drain()


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    await reader.readexactly(length)


async def _client(orders: Orders) -> None:
    """One client, again and again. Whatever befalls it, it comes back."""
    blow = FORCES[orders.force]
    while True:
        with suppress(OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError):
            narrow = socket.socket()
            narrow.setblocking(False)
            if orders.force in ("slow_reader", "pipeline"):
                narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            narrow.bind((orders.local, 0))
            try:
                await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", orders.port))
                reader, writer = await asyncio.open_connection(sock=narrow, limit=65_536)
            except OSError:
                narrow.close()
                raise
            try:
                await blow(orders, reader, writer)
            finally:
                writer.transport.abort()
        await asyncio.sleep(BACK_SECONDS)


async def _attack(orders: Orders) -> None:
    clients = []
    for number in range(orders.clients):
        clients.append(asyncio.create_task(_client(orders)))
        if number % 50 == 49:
            await asyncio.sleep(0.02)  # a wave would only fill the queue of the listening socket
    await asyncio.gather(*clients)


def command(orders: Orders) -> list[str]:
    """How to start it."""
    return [sys.executable, "-m", "tests.siege.forces", json.dumps(asdict(orders))]


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    asyncio.run(_attack(Orders(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
