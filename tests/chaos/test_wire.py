"""A wire passes everything, then nothing without telling anybody, then everything again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.wire import Wire


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    """In front of a server that answers each line with the same."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_unix_server(echo, tmp_path / "socket")
    async with Wire(str(tmp_path / "socket")) as wire:
        yield wire
    server.close()
    await server.wait_closed()


Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Link]]


@pytest.fixture
async def dial(wire: Wire) -> AsyncIterator[Dial]:
    links: list[Link] = []

    async def dial_once() -> Link:
        links.append(await asyncio.open_connection("127.0.0.1", wire.port))
        return links[-1]

    yield dial_once
    for _, writer in links:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def say(link: Link) -> bytes:
    reader, writer = link
    writer.write(b"hello\n")
    async with asyncio.timeout(0.1):
        return await reader.readline()


async def test_what_is_said_is_answered(dial: Dial) -> None:
    link = await dial()
    assert [await say(link), await say(link)] == [b"hello\n", b"hello\n"]


async def test_a_cut_wire_says_nothing_and_takes_new_connections_all_the_same(wire: Wire, dial: Dial) -> None:
    before = await dial()
    await say(before)
    wire.cut()
    later = await dial()
    for link in (before, later):
        with pytest.raises(TimeoutError):
            await say(link)
    assert wire.held == len(b"hello\n")


async def test_a_mended_wire_resets_what_hung_and_passes_what_is_new(wire: Wire, dial: Dial) -> None:
    before = await dial()
    await say(before)
    wire.cut()
    wire.mend()
    with pytest.raises(ConnectionError):
        await before[0].readexactly(1)
    after = await dial()
    assert await say(after) == b"hello\n"
