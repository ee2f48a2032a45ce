"""How much waits, and since when: what gauges show of the whole database. Every statement is bounded, whatever is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.database import Connection
from storage.records import light

LANES_LOOKED_AT = 1_000
LANES_WALKED = 200
TASKS_COUNTED = 10_000

# Due and nobody's, among those that are due longest. An owned lane keeps the time at which it was claimed.
WAITING = """
    SELECT kind, count(*) FROM (SELECT kind, until FROM lanes WHERE next_due_at <= :now ORDER BY next_due_at LIMIT :most) AS due
     WHERE until <= :now GROUP BY kind
"""

# From the rows, since that time says nothing of what an owned lane still has to do.
OLDEST_DELIVERY = """
    SELECT min(at) FROM (
        SELECT (SELECT min(d.due_at) FROM deliveries d
                 WHERE d.endpoint_id = due.key AND d.status = 'pending' AND d.attempts = 0) AS at
          FROM (SELECT kind, key FROM lanes WHERE next_due_at <= :now ORDER BY next_due_at LIMIT :most) AS due
         WHERE due.kind = 'endpoint'
        UNION ALL
        SELECT (SELECT min(d.due_at) FROM deliveries d
                 WHERE d.endpoint_id = due.key AND d.status = 'pending' AND d.attempts > 0) AS at
          FROM (SELECT kind, key FROM lanes WHERE next_due_at <= :now ORDER BY next_due_at LIMIT :most) AS due
         WHERE due.kind = 'endpoint') AS oldest
"""

BREAKERS = """
    SELECT count(*) FROM (SELECT kind, breaker FROM lanes WHERE next_due_at IS NOT NULL ORDER BY next_due_at LIMIT :most) AS busy
     WHERE kind = 'endpoint' AND breaker IS NOT NULL
"""

OPEN_TASKS = """
    SELECT status, count(*) FROM (
        SELECT status FROM tasks
         WHERE account = :account AND status IN ('submitting', 'unconfirmed', 'processing') LIMIT :most) AS opened
     GROUP BY status
"""


@light(frozen=True, slots=True)
class Load:
    """Of the database as a whole. `waiting`: lanes by kind; `oldest_delivery_at`: of what is due, when it became due."""

    waiting: dict[str, int]
    oldest_delivery_at: int | None
    breakers: int


async def read(tx: Connection, *, now: int) -> Load:
    """What is due in all lanes together."""
    waiting: Sequence[Any] = await tx.fetch(WAITING, {"now": now, "most": LANES_LOOKED_AT})
    [(oldest,)] = await tx.fetch(OLDEST_DELIVERY, {"now": now, "most": LANES_WALKED})
    [(breakers,)] = await tx.fetch(BREAKERS, {"most": LANES_LOOKED_AT})
    return Load({str(kind): count for kind, count in waiting}, oldest, breakers)  # type: ignore[arg-type]


async def open_tasks(tx: Connection, account: str) -> dict[str, int]:
    """The account's tasks at its provider by status, together counted up to `TASKS_COUNTED`."""
    rows: Sequence[Any] = await tx.fetch(OPEN_TASKS, {"account": account, "most": TASKS_COUNTED})
    return {str(status): count for status, count in rows}
