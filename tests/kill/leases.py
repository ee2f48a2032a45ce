"""On PostgreSQL the lanes of the dead are theirs until their leases end. Where nobody else could take them, that is only waited for."""

from __future__ import annotations

import asyncio

import asyncpg

PATIENCE_SECONDS = 10
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def end_leases(url: str) -> None:
    """As if that time had passed. The server may still have to notice that the process is dead, and to end what it was told."""
    link = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await link.fetchval(OTHERS):  # noqa: ASYNC110 (the server rings nobody)
                await asyncio.sleep(0.005)
        await link.execute("UPDATE lanes SET owner = NULL, until = 0 WHERE owner IS NOT NULL; DELETE FROM duties")
    finally:
        await link.close()
