"""Sending again: what an endpoint was owed and did not take, and what it was never owed. In batches, so that no statement is long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.database import Connection
from storage.delivery_pages import GIVEN_UP
from storage.records import Delivery, light

LAST_POSITION = "SELECT max(position) FROM events WHERE project_id = :project_id"

AT_POSITION = """
    SELECT position, created_at FROM events WHERE project_id = :project_id AND position >= :position ORDER BY position LIMIT 1
"""

WINDOW = """
    SELECT e.position, e.created_at, e.id, e.type, e.provider, e.model, e.task_id, e.body, e.test,
           (SELECT d.id FROM deliveries d WHERE d.event_id = e.id AND d.endpoint_id = :endpoint_id)
      FROM events e
     WHERE e.project_id = :project_id AND e.position > :after
     ORDER BY e.position
     LIMIT :batch
"""

# Of an event that is still there: retention may have been first, and a debt without an event could never be paid.
OWE = """
    INSERT INTO deliveries (id, event_id, endpoint_id, project_id, task_id, event_type, status, attempts, url, due_at,
        created_at, updated_at)
    SELECT CAST(:id AS TEXT), e.id, CAST(:endpoint_id AS TEXT), e.project_id, e.task_id, e.type, 'pending', 0, NULL,
           CAST(:due_at AS BIGINT), CAST(:created_at AS BIGINT), CAST(:created_at AS BIGINT)
      FROM events e WHERE e.id = :event_id AND e.project_id = :project_id /*postgres: FOR KEY SHARE */
    ON CONFLICT (event_id, endpoint_id) DO NOTHING
/*postgres: RETURNING id */
"""

RESTART_FAILED = """
    WITH failed AS /*postgres: MATERIALIZED */ (
        SELECT d.id FROM deliveries d
         WHERE d.project_id = :project_id AND d.status = :status AND d.endpoint_id = :endpoint_id
           AND d.due_at IS NULL AND d.status <> 'delivered' AND d.id >= :floor AND d.created_at >= :since
           AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id AND e.test = 1)
         ORDER BY d.id
         LIMIT :batch /*postgres: FOR UPDATE OF d */
    )
    UPDATE deliveries SET status = 'pending', due_at = :now, spent = attempts, restarted_at = :now, updated_at = :now
     WHERE id IN (SELECT id FROM failed)
 RETURNING id
"""


@light(frozen=True, slots=True)
class Past:
    """An event of the feed, and whether it was owed to the endpoint."""

    position: int
    created_at: int
    id: str
    type: str
    provider: str | None
    model: str | None
    task_id: str | None
    body: bytes
    test: bool
    owed: bool


async def before(tx: Connection, project_id: str, since: int) -> int:
    """The last position of the project's feed before an instant: halving, since no index is kept for so rare a question."""
    [(last,)] = await tx.fetch(LAST_POSITION, {"project_id": project_id})
    low, high = 0, int(last or 0)  # type: ignore[call-overload]
    while low < high:
        middle = (low + high + 1) // 2
        rows: list[Any] = await tx.fetch(AT_POSITION, {"project_id": project_id, "position": middle})
        if rows and rows[0][1] < since:
            low = rows[0][0]
        else:
            high = middle - 1
    return low


async def window(tx: Connection, project_id: str, endpoint_id: str, *, after: int, batch: int) -> list[Past]:
    """The next events of the feed."""
    params = {"project_id": project_id, "endpoint_id": endpoint_id, "after": after, "batch": batch}
    rows: list[Any] = await tx.fetch(WINDOW, params)
    return [Past(*(*row[:7], bytes(row[7]), bool(row[8]), row[9] is not None)) for row in rows]


async def owe(tx: Connection, deliveries: Sequence[Delivery]) -> int:
    """Owe an endpoint events it was not owed. Returns how many that are."""
    return await tx.change(
        OWE,
        [
            {
                "id": delivery.id,
                "event_id": delivery.event_id,
                "endpoint_id": delivery.endpoint_id,
                "project_id": delivery.project_id,
                "due_at": delivery.due_at,
                "created_at": delivery.created_at,
            }
            for delivery in deliveries
        ],
    )


async def restart_failed(
    tx: Connection, endpoint_id: str, project_id: str, *, since: int, floor: str, now: int, batch: int
) -> int:
    """Make what was given up due again. Returns how many. `floor`: sorts before the ids of all that were made since then."""
    params = {"endpoint_id": endpoint_id, "project_id": project_id, "since": since, "floor": floor, "now": now}
    count = 0
    for status in GIVEN_UP:
        count += len(await tx.fetch(RESTART_FAILED, {**params, "status": status.value, "batch": batch - count}))
    return count
