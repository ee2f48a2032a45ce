"""After an older copy was brought back: whether that is so, and what of it may have been bought since."""

from __future__ import annotations

from typing import Any

from storage import lanes
from storage.database import Connection

COPIED_AT = "SELECT copied_at FROM installation"

# Whoever is still telling what is in doubt has the mark stay until that is durable.
STILL_A_COPY = "SELECT 1 FROM installation WHERE copied_at IS NOT NULL /*postgres: FOR SHARE */"

CLEAR = "UPDATE installation SET copied_at = NULL WHERE copied_at IS NOT NULL RETURNING id"

# The newest thing that it knows to have happened: the copy was not made earlier, and whoever takes it for older errs on the safe side.
KNOWN_UNTIL = (
    "SELECT coalesce((SELECT created_at FROM events ORDER BY position DESC LIMIT 1), created_at) FROM installation"
)

MARK = """
    UPDATE installation SET copied_at = CASE WHEN copied_at < :at THEN copied_at ELSE :at END
 RETURNING copied_at
"""

# Positions are handed out once. Those that the unremembered life gave away may be in a reader's hands: were they given away
# anew, he would believe that he knows what he has never seen.
# On PostgreSQL they are those of so many transactions: no event is told without one.
COUNT_POSITIONS = """
    /*sqlite:*/ INSERT INTO sqlite_sequence (name, seq)
                SELECT 'events', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'events') /*postgres: SELECT 1 */
"""
SKIP_POSITIONS = """
    /*sqlite:*/ UPDATE sqlite_sequence SET seq = seq + :places WHERE name = 'events'
    /*postgres: SELECT feed_go_on(greatest((SELECT max(position) FROM events), feed_bound()) + (CAST(:places AS bigint) << 20)) */
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


async def known_until(tx: Connection) -> int:
    """When the newest thing in this database happened."""
    [(at,)] = await tx.fetch(KNOWN_UNTIL)
    return int(str(at))


async def mark(tx: Connection, *, at: int) -> int:
    """Say that this is a copy of that instant: the next start looks for what may have been bought since. Nobody may be serving.

    Returns of which instant; of two that were said the earlier counts. Leases that were copied along are of no one.
    """
    [(since,)] = await tx.fetch(MARK, {"at": at})
    await lanes.void_leases(tx)
    return int(str(since))


async def still_a_copy(tx: Connection) -> bool:
    """Whether nobody has seen to what was open then; stays so until the end of the transaction."""
    return bool(await tx.fetch(STILL_A_COPY))


async def clear(tx: Connection, *, places: int) -> bool:
    """What was open then has been seen to: this is the database now. `places`: how many the feed is moved on.

    Returns whether it was a copy until now: of several replicas that start at once, one has the last word.
    """
    if not await tx.fetch(CLEAR):
        return False
    await tx.fetch(COUNT_POSITIONS)
    await tx.fetch(SKIP_POSITIONS, {"places": places})
    return True


async def unbought(tx: Connection, *, after: Place, batch: int) -> list[Place]:
    """Open tasks without a job, a page at a time."""
    rows: list[Any] = await tx.fetch(UNBOUGHT, {"deadline_at": after[0], "id": after[1], "batch": batch})
    return [(deadline_at, task_id) for deadline_at, task_id in rows]
