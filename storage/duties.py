"""Whose turn it is with what one replica does for all: one row a duty. By the database's clock, as leases are."""

from __future__ import annotations

from storage.database import Connection

TAKE = """
    INSERT INTO duties (name, owner, until)
    VALUES (:name, :owner, /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */ + :span)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
     WHERE duties.owner = excluded.owner
        OR duties.until <= /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */
 RETURNING name
"""

OWNER = """
    SELECT owner FROM duties
     WHERE name = :name AND until > /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */
"""


async def taken(tx: Connection, name: str, *, now: int) -> str | None:
    """Whose turn it is now."""
    rows = await tx.fetch(OWNER, {"name": name, "now": now})
    return str(rows[0][0]) if rows else None


async def take(tx: Connection, name: str, *, owner: str, now: int, seconds: float) -> bool:
    """Take the turn for so long, unless it is somebody else's. Who has it may take it again."""
    return bool(await tx.fetch(TAKE, {"name": name, "owner": owner, "now": now, "span": int(seconds * 1e6)}))
