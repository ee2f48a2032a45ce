"""After an older copy was brought back: whether that is so, and what of it may have been bought since."""

from __future__ import annotations

from typing import Any

from storage.database import Connection

COPIED_AT = "SELECT copied_at FROM installation"

CLEAR = "UPDATE installation SET copied_at = NULL"

# Positions are handed out once. Those that the unremembered life gave away may be in a reader's hands: were they given away
# anew, he would believe that he knows what he has never seen.
COUNT_POSITIONS = """
    /*sqlite:*/ INSERT INTO sqlite_sequence (name, seq)
                SELECT 'events', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'events') /*postgres: SELECT 1 */
"""
SKIP_POSITIONS = """
    /*sqlite:*/ UPDATE sqlite_sequence SET seq = seq + :places WHERE name = 'events'
    /*postgres: SELECT setval(pg_get_serial_sequence('events', 'position'), coalesce(max(position), 0) + :places) FROM events */
"""

# In the index of what has not ended. Whoever has a job is asked after it anyway.
UNBOUGHT = """
    SELECT deadline_at, id FROM tasks
     WHERE finished_at IS NULL AND provider_task_id IS NULL AND (deadline_at, id) > (:deadline_at, :id)
     ORDER BY deadline_at, id
     LIMIT :batch
"""

Place = tuple[int, str]  # in the order of deadlines
BEFORE_ALL: Place = (-1, "")


async def copied_at(tx: Connection) -> int | None:
    """When this database was copied from the one that went on; None when it is that one."""
    [(at,)] = await tx.fetch(COPIED_AT)
    return at  # type: ignore[return-value]


async def clear(tx: Connection, *, places: int) -> None:
    """What was open then has been seen to: this is the database now. `places`: how many the feed is moved on."""
    await tx.fetch(COUNT_POSITIONS)
    await tx.fetch(SKIP_POSITIONS, {"places": places})
    await tx.fetch(CLEAR)


async def unbought(tx: Connection, *, after: Place, batch: int) -> list[Place]:
    """Open tasks without a job, a page at a time."""
    rows: list[Any] = await tx.fetch(UNBOUGHT, {"deadline_at": after[0], "id": after[1], "batch": batch})
    return [(deadline_at, task_id) for deadline_at, task_id in rows]
