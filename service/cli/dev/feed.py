"""Follows the feed while `dev` runs: every event of the project, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

WAIT_SECONDS = 25
PAUSE_SECONDS = 0.5


async def follow(client: httpx.AsyncClient, tell: Callable[[Mapping[str, Any]], None]) -> None:
    """Tell every event from now on. A service that does not answer is asked again: that it is gone is seen elsewhere."""
    import httpx

    after: str | None = None
    while True:
        try:
            if after is None:
                after = (await _page(client, {"order": "desc", "limit": 1}))["next"]
            page = await _page(client, {"after": after, "wait": WAIT_SECONDS, "limit": 200})
        except (httpx.HTTPError, ValueError):
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        for event in page["data"]:
            tell(event)
        after = page["next"]


async def _page(client: httpx.AsyncClient, query: Mapping[str, str | int]) -> Any:
    reply = await client.get("/v1/events", params=dict(query), timeout=WAIT_SECONDS + 10)
    return reply.raise_for_status().json()
