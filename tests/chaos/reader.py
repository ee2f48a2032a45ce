"""Reads the feed by its cursor during the whole run, through whichever replica answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

WAIT_SECONDS = 3
PAUSE_SECONDS = 0.1


@dataclass(slots=True, kw_only=True)
class Reader:
    """`seen`: how often each event came."""

    url: str
    key: str
    seen: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    failures: int = 0
    bad: list[str] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Reader:
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading is not None
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        cursor: str | None = None
        headers = {"authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=15) as http:
            while True:
                asked = {"limit": "200", "wait": str(WAIT_SECONDS), **({"after": cursor} if cursor else {})}
                try:
                    reply = await http.get("/v1/events", params=asked)
                except httpx.HTTPError:
                    self.failures += 1
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                if reply.status_code != 200:
                    self.failures += 1
                    if reply.status_code < 500:
                        self.bad.append(f"the feed was answered {reply.status_code}: {reply.text[:200]}")
                        return
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                page = reply.json()
                self.seen.update(event["id"] for event in page["data"])
                self.pages += 1
                cursor = page["next"]
