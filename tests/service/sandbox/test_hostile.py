from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from service.sandbox.hostile import Hostile, listed
from service.sandbox.hostile_cases import ANSWERS


def whole(said: bytes) -> bool:
    """Whether the head is there, and as much after it as it promises."""
    head, gap, body = said.partition(b"\r\n\r\n")
    _, _, length = head.partition(b"Content-Length: ")
    return bool(gap) and len(body) >= int(length.split(b"\r\n")[0] or 0)


async def speak(
    url: str,
    *,
    seconds: float = 60.0,
    tls: ssl.SSLContext | None = None,
    enough: Callable[[bytes], bool] = lambda said: False,
) -> bytes:
    """What is answered to one plain request, until it is enough, the other side hangs up, or the time is over."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
    writer.write(f"POST {parts.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    said = b""
    try:
        async with asyncio.timeout(seconds):
            while len(said) < 200_000 and not enough(said) and (more := await reader.read(65536)):
                said += more
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return said


async def test_each_path_is_a_case_and_what_it_did_is_kept() -> None:
    async with Hostile() as hostile:
        assert await speak(hostile.urls["gone"], enough=whole) == (
            b"HTTP/1.1 410 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        [visit] = hostile.of("gone")
        while visit.ended is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (visit.requests, visit.taken) == (1, 56)


async def test_no_case_ends_the_server() -> None:
    async with Hostile() as hostile:
        await asyncio.gather(*(speak(url, seconds=0.1) for name, url in hostile.urls.items() if name in ANSWERS))
        assert b" 204 " in await speak(hostile.urls["ok"], enough=whole)


async def test_an_unknown_path_lists_the_cases() -> None:
    async with Hostile() as hostile, httpx.AsyncClient(trust_env=False) as client:
        origin = hostile.urls["ok"].removesuffix("/ok")
        assert (await client.get(f"{origin}/")).text == listed()
        assert (await client.get(f"{origin}/_authority")).content == hostile.authority.pem
    assert all(name in listed() for name in ("drip-body", "silent", "refuse", "tls-expired"))


async def test_two_ports_do_not_answer_at_all() -> None:
    async with Hostile() as hostile:
        ports = {name: urlsplit(hostile.urls[name]).port for name in ("refuse", "unanswered")}
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", ports["refuse"])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.open_connection("127.0.0.1", ports["unanswered"])


async def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="address already in use"):
        hostile = Hostile()
        try:
            await hostile.start(port=taken.getsockname()[1])
        finally:
            await hostile.stop()
