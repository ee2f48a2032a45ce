"""Moving house, as `serve` sees it: whether this database has moved to another, which serves in its place."""

from __future__ import annotations

from storage.database import Connection

MOVED_AT = "SELECT moved_at FROM installation"


async def moved_at(tx: Connection) -> int | None:
    """When this database was given up for another one; None when it is the one that serves."""
    rows = await tx.fetch(MOVED_AT)
    return rows[0][0] if rows else None  # type: ignore[return-value]
