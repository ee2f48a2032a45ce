"""An SDK in a process of its own, and what stands between it and the service: a wire that loses a reply, a place for files."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 300
FILM = b"\0\0\0\x18ftypmp42 the film itself"


class Player:
    """`play.py` with one major version, in one manner."""

    def __init__(self, process: asyncio.subprocess.Process, base_url: str, key: str) -> None:
        self._process = process
        self._client = {"base_url": base_url, "api_key": key}

    async def ask(self, call: str, client: dict[str, object] | None = None, **arguments: object) -> dict[str, Any]:
        order = {"call": call, "with": arguments, "client": {**self._client, **(client or {})}}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await self._process.stdout.readline()
        assert line, "the player ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def do(self, call: str, client: dict[str, object] | None = None, **arguments: object) -> Any:
        """What the SDK returned."""
        answer = await self.ask(call, client, **arguments)
        assert "value" in answer, answer
        return answer["value"]

    async def refused(self, call: str, client: dict[str, object] | None = None, **arguments: object) -> dict[str, Any]:
        """What the SDK raised."""
        answer = await self.ask(call, client, **arguments)
        assert "error" in answer, answer
        error: dict[str, Any] = answer["error"]
        return error


@asynccontextmanager
async def playing(packages: Path, manner: str, base_url: str, key: str) -> AsyncIterator[Player]:
    """A player that ends with the context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("play.py")),
        manner,
        env={**os.environ, "PYTHONPATH": str(packages)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 22,
    )
    try:
        yield Player(process, base_url, key)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Files:
    """Where the provider's outputs are, at an origin of its own. `keys`: what came as Authorization."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        found = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("authorization:")]
        self.keys.append(found[0] if found else None)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(FILM), FILM))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def files() -> AsyncIterator[Files]:
    made = Files()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


class Wire:
    """Carries requests to the service and answers back, but for the first: it is done, and nobody hears so."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.lost = 0
        self.url = ""
        self._carrying: set[asyncio.Task[None]] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        sending = asyncio.create_task(self._pump(reader, back))
        try:
            first = await there.read(65536)
            if not self.lost:
                self.lost += 1
            else:
                writer.write(first)
                await self._pump(there, writer)
        finally:
            sending.cancel()
            for one in (back, writer):
                one.transport.abort()
            self._carrying.discard(task)

    async def close(self) -> None:
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next turn

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65536):
                target.write(chunk)
                await target.drain()


@asynccontextmanager
async def lossy(port: int) -> AsyncIterator[Wire]:
    made = Wire(port)
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/openai/v1"
    try:
        yield made
    finally:
        server.close()
        await made.close()


def picture() -> bytes:
    """A PNG of one pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0\0\0")) + chunk(b"IEND", b"")
    )


def as_bytes(content: bytes) -> dict[str, str]:
    """Bytes for a player."""
    return {"$bytes": base64.b64encode(content).decode()}
