"""How tasks ended of late and whether a push told of them: read off the feed, whose newest rows are the last ends.

Positions count events on SQLite alone; on PostgreSQL the newest ones are counted off the key's index.
"""

from __future__ import annotations

from typing import Any

from storage.database import Connection
from storage.records import light

# By the type and not by `hard`: that column stands behind the body, which would have to be read as well.
LATEST = """
    SELECT t.account, e.task_id, e.created_at,
           EXISTS (SELECT 1 FROM observations o WHERE o.task_id = e.task_id AND o.digest IS NOT NULL)
      FROM events e JOIN tasks t ON t.id = e.task_id
     WHERE e.position > /*sqlite:*/ (SELECT max(position) FROM events) - :most
                        /*postgres: coalesce((SELECT p.position FROM events p ORDER BY p.position DESC LIMIT 1 OFFSET :most), 0) */
       AND e.type IN ('task.succeeded', 'task.failed') AND e.created_at >= :since AND t.provider_task_id IS NOT NULL
     ORDER BY e.position DESC
"""

OLDEST = """
    SELECT min(created_at) FROM events WHERE position = (SELECT min(position) FROM events
     WHERE position > /*sqlite:*/ (SELECT max(position) FROM events) - :most
                      /*postgres: coalesce((SELECT p.position FROM events p ORDER BY p.position DESC LIMIT 1 OFFSET :most), 0) */)
"""


@light(frozen=True, slots=True)
class End:
    """A verdict of a provider. `pushed`: it had sent at least one push of the task."""

    account: str
    task_id: str
    at: int
    pushed: bool


async def latest(tx: Connection, *, since: int, most: int) -> list[End]:
    """The verdicts among the newest `most` events, not older than `since`, newest first."""
    rows: list[Any] = await tx.fetch(LATEST, {"since": since, "most": most})
    return [End(row[0], row[1], row[2], bool(row[3])) for row in rows]


async def reach(tx: Connection, *, most: int) -> int | None:
    """When the oldest of the newest `most` events was made: how far back `latest` can look."""
    [(at,)] = await tx.fetch(OLDEST, {"most": most})
    return at  # type: ignore[return-value]
