"""How an endpoint stands: its latest attempts, its backlog, its next attempt. Bounded, whatever is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage import outbox
from storage.database import Connection
from storage.delivery_pages import GIVEN_UP
from storage.records import light

# Of the project, newest first, by their place in its index alone (storage/delivery_pages.py says why there is none by endpoint).
DELIVERIES_LOOKED_AT = 50_000
OLDER_LOOKED_AT = 2_000  # of each sort: still being tried, exhausted, canceled, quarantined
ATTEMPTS_LOOKED_AT = 10_000
COUNTED = 10_000

LOOKED_AT = """
    SELECT count(*), min(id) FROM (
        SELECT id FROM deliveries WHERE project_id = :project_id AND id >= :floor ORDER BY id DESC LIMIT :deliveries) AS looked
"""
MADE_AT = "SELECT created_at FROM deliveries WHERE id = :id"

MADE_SINCE = """
    SELECT id FROM deliveries WHERE project_id = :project_id AND id >= :floor AND endpoint_id = :endpoint_id
     ORDER BY id DESC
     LIMIT :most
"""
TRIED_AGAIN = """
    SELECT id FROM deliveries WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts > 0 ORDER BY due_at LIMIT :most
"""
GAVE_UP = """
    SELECT id FROM deliveries
     WHERE project_id = :project_id AND status = :status AND endpoint_id = :endpoint_id AND due_at IS NULL AND status <> 'delivered'
     ORDER BY id DESC
     LIMIT :most
"""

# Only what is about no task can be a test.
ATTEMPTS = """
    SELECT a.error_class, a.duration_ms
      FROM deliveries d JOIN attempts a ON a.delivery_id = d.id
     WHERE d.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
       AND a.at >= :since
       AND (d.task_id IS NOT NULL OR EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id AND e.test = 0))
     LIMIT :most
"""

BACKLOG = """
    SELECT count(*), min(id) FROM (
        SELECT id FROM (SELECT id FROM deliveries WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts = 0
                         ORDER BY due_at LIMIT :most) AS never_tried
        UNION ALL
        SELECT id FROM (SELECT id FROM deliveries WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts > 0
                         ORDER BY due_at LIMIT :most) AS tried) AS waiting
"""


@light(frozen=True, slots=True)
class Standing:
    """`durations`: milliseconds of each attempt; `failures`: of those, how many by class of error. `backlog` stops at `COUNTED`.

    `since`: when the oldest delivery looked at was made, if not all of the span could be looked at.
    """

    durations: list[int]
    failures: dict[str, int]
    backlog: int
    oldest_at: int | None
    next_at: int | None
    since: int


async def of(tx: Connection, endpoint_id: str, project_id: str, *, since: int, floor: str) -> Standing:
    """Attempts since then: of deliveries made since then, and of older ones still being tried or given up.

    `floor`: sorts before the ids of all deliveries made since then.
    """
    params: dict[str, object] = {"project_id": project_id, "endpoint_id": endpoint_id, "floor": floor}
    [(count, last)] = await tx.fetch(LOOKED_AT, {**params, "deliveries": DELIVERIES_LOOKED_AT})
    if count == DELIVERIES_LOOKED_AT:
        params["floor"] = last
        since = max(since, await _made_at(tx, last) or since)
    tried: list[Any] = await tx.fetch(
        ATTEMPTS, {"ids": await _deliveries(tx, params), "since": since, "most": ATTEMPTS_LOOKED_AT}
    )
    failures: dict[str, int] = {}
    for error_class, _ in tried:
        if error_class is not None:
            failures[error_class] = failures.get(error_class, 0) + 1
    waiting: list[Any] = await tx.fetch(BACKLOG, {"endpoint_id": endpoint_id, "most": COUNTED})
    backlog, oldest = waiting[0]
    return Standing(
        durations=[duration for _, duration in tried],
        failures=failures,
        backlog=min(backlog, COUNTED),
        oldest_at=await _made_at(tx, oldest),
        next_at=await outbox.next_due(tx, endpoint_id),
        since=since,
    )


async def _deliveries(tx: Connection, params: Mapping[str, object]) -> list[str]:
    rows = await tx.fetch(MADE_SINCE, {**params, "most": ATTEMPTS_LOOKED_AT})
    rows += await tx.fetch(TRIED_AGAIN, {**params, "most": OLDER_LOOKED_AT})
    for status in GIVEN_UP:
        rows += await tx.fetch(GAVE_UP, {**params, "status": status.value, "most": OLDER_LOOKED_AT})
    return sorted({str(id) for (id,) in rows})


async def _made_at(tx: Connection, delivery_id: object) -> int | None:
    rows: list[Any] = await tx.fetch(MADE_AT, {"id": delivery_id}) if delivery_id is not None else []
    return rows[0][0] if rows else None
