"""Replicas on one database, and a hand that holds a row until all who want it stand in line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'
"""


class Hand:
    """A session of somebody else's, in a transaction."""

    def __init__(self, link: asyncpg.Connection[asyncpg.Record], look: asyncpg.Connection[asyncpg.Record]) -> None:
        self._link = link
        self._look = look

    async def run(self, sql: str, *values: object) -> None:
        await self._link.execute(sql, *values)

    async def stopped(self, count: int = 1) -> None:
        """Until so many sessions wait for a lock."""
        async with asyncio.timeout(60):
            while await self._look.fetchval(WAITING) < count:
                pass  # each look is a round trip


@asynccontextmanager
async def hand(address: str) -> AsyncIterator[Hand]:
    """What it locks or changes is let go, or there, when the block ends."""
    link, look = await asyncpg.connect(address), await asyncpg.connect(address)
    try:
        async with link.transaction():
            yield Hand(link, look)
    finally:
        await link.close()
        await look.close()
