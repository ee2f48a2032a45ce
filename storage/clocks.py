"""What time it is for the database, whose clock judges the leases."""

from __future__ import annotations

from storage.database import Connection

NOW = "SELECT /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */"


async def now(tx: Connection, *, now: int) -> int:
    """Microseconds UTC. `now`: the same by our clock, which is SQLite's too."""
    [(found,)] = await tx.fetch(NOW, {"now": now})
    return int(str(found))
