from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest

from service.cli.dev import feed


@asynccontextmanager
async def answering(*replies: tuple[int, str]) -> AsyncIterator[tuple[str, list[str], asyncio.Event]]:
    """A service with these answers in turn; then it is asked for more, and keeps whoever asks."""
    asked: list[str] = []
    over, waiting = asyncio.Event(), iter(replies)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                asked.append(head.split()[1].decode())
                status, body = next(waiting, (0, ""))
                if not status:
                    over.set()
                    await reader.read()
                    break
                writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked, over


def page(after: str, *names: str) -> tuple[int, str]:
    return 200, json.dumps({"data": [{"id": name} for name in names], "next": after})


async def test_every_event_from_now_on_is_told_once_and_silence_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "PAUSE_SECONDS", 0)
    told: list[Any] = []

    def tell(event: Mapping[str, Any]) -> None:
        told.append(event["id"])

    pages = (503, ""), page("c1", "of earlier"), page("c2", "a", "b"), (502, "x"), (200, "<html>"), page("c3", "c")
    async with answering(*pages) as (url, asked, over), httpx.AsyncClient(base_url=url, trust_env=False) as client:
        following = asyncio.create_task(feed.follow(client, tell))
        async with asyncio.timeout(90):
            await over.wait()
        following.cancel()
        await asyncio.wait([following])
    assert told == ["a", "b", "c"]
    first = "/v1/events?order=desc&limit=1"
    more = [f"/v1/events?after={after}&wait={feed.WAIT_SECONDS}&limit=200" for after in ("c1", "c2", "c2", "c2", "c3")]
    assert asked == [first, first, *more]
