"""How an endpoint stands: its latest attempts, its backlog, its next attempt. Bounded, whatever is stored."""

from __future__ import annotations

from typing import Any

from storage import outbox
from storage.database import Connection
from storage.records import light

DELIVERIES_LOOKED_AT = (
    5000  # of the project, newest first: there is no index by endpoint, which every delivery would pay for
)
ATTEMPTS_LOOKED_AT = 10_000
COUNTED = 10_000

ATTEMPTS = """
    SELECT a.status_code, a.error_class, a.duration_ms
      FROM (SELECT id, event_id, endpoint_id FROM deliveries
             WHERE project_id = :project_id ORDER BY id DESC LIMIT :deliveries) AS d
      JOIN attempts a ON a.delivery_id = d.id
      JOIN events e ON e.id = d.event_id
     WHERE d.endpoint_id = :endpoint_id AND a.at >= :since AND e.test = 0
     LIMIT :attempts
"""

BACKLOG = """
    SELECT (SELECT count(*) FROM (SELECT 1 AS one FROM deliveries
             WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts = 0 LIMIT :most) AS never_tried)
         + (SELECT count(*) FROM (SELECT 1 AS one FROM deliveries
             WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts > 0 LIMIT :most) AS tried)
"""


@light(frozen=True, slots=True)
class Standing:
    """`durations`: milliseconds of each attempt; `failures`: of those, how many by class of error. `backlog` stops at `COUNTED`."""

    durations: list[int]
    failures: dict[str, int]
    backlog: int
    next_at: int | None


async def of(tx: Connection, endpoint_id: str, project_id: str, *, since: int) -> Standing:
    rows: list[Any] = await tx.fetch(
        ATTEMPTS,
        {
            "project_id": project_id,
            "endpoint_id": endpoint_id,
            "since": since,
            "deliveries": DELIVERIES_LOOKED_AT,
            "attempts": ATTEMPTS_LOOKED_AT,
        },
    )
    failures: dict[str, int] = {}
    for _, error_class, _ in rows:
        if error_class is not None:
            failures[error_class] = failures.get(error_class, 0) + 1
    backlog: list[Any] = await tx.fetch(BACKLOG, {"endpoint_id": endpoint_id, "most": COUNTED})
    return Standing(
        [row[2] for row in rows], failures, min(backlog[0][0], COUNTED), await outbox.next_due(tx, endpoint_id)
    )
