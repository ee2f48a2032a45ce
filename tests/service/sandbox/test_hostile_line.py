from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.sandbox.hostile_line import Line


async def meeting(
    behave: Callable[[Line], Awaitable[None]],
    client: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Line:
    """One connection between the two; returns the line when both are done."""
    lines: asyncio.Queue[Line] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        try:
            await behave(line)
        finally:
            lines.put_nowait(line)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1024)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        await client(reader, writer)
        async with asyncio.timeout(30):
            line = await lines.get()
    finally:
        writer.transport.abort()
        server.close()
    line.close()
    return line


@pytest.mark.parametrize(
    ("sent", "target"),
    [
        (b"POST /a/b?c HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "/a/b?c"),
        (b"GET / HTTP/1.1\r\n\r\n", "/"),
        (b"nonsense\r\n\r\n", ""),
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", ""),
        (b"POST / HTTP/1.1\r\n", ""),
        (b"x" * 2000, ""),
        (b"", ""),
    ],
)
async def test_a_request_is_read_or_there_is_none(sent: bytes, target: str) -> None:
    async def behave(line: Line) -> None:
        assert await line.request() == target

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.write_eof()

    assert (await meeting(behave, client)).target == target


async def test_what_the_other_side_took_is_known_after_it_has_left() -> None:
    async def behave(line: Line) -> None:
        await line.repeat(b"abc", 30)
        await line.gone()
        assert line.taken() == 30

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(30) == b"abc" * 10
        writer.transport.abort()

    await meeting(behave, client)


async def test_a_reset_is_one() -> None:
    async def behave(line: Line) -> None:
        line.reset()
        line.close()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with pytest.raises(ConnectionResetError):
            await reader.read()

    await meeting(behave, client)


async def test_a_drip_ends_with_whoever_listens() -> None:
    async def behave(line: Line) -> None:
        with pytest.raises(ConnectionError):
            await line.drip(b"ab", every_seconds=0.001)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(5) == b"ababa"
        writer.transport.abort()

    await meeting(behave, client)
