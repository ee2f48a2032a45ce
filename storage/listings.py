"""Pages of what a project owns, for people and clients that read. Nothing here is on the way of a task.

Every page is one range of one index, so the thousandth costs what the first does. Filters without an index of their own narrow what
that range yields. `|| ''` keeps a planner without statistics from taking the project's index where a better one exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from storage import endpoints, tasks
from storage.database import Connection
from storage.dialect import select
from storage.records import Attempt, Delivery, DeliveryStatus, Endpoint, Task

# Sorts behind every id whatever the collation: prefixes are lower-case letters, none begins with z.
BEHIND_ALL = "zz"
FIRST, LAST = -1, 2**62

TASK_TAIL: LiteralString = """
       AND t.id < :after AND t.created_at > :created_after AND t.created_at < :created_before
       AND (CAST(:status AS TEXT) IS NULL OR t.status = :status)
       AND (CAST(:provider AS TEXT) IS NULL OR t.provider = :provider)
       AND (CAST(:account AS TEXT) IS NULL OR t.account = :account)
       AND NOT EXISTS (
            SELECT 1 FROM /*sqlite:*/ json_each(:metadata) /*postgres: json_each_text(CAST(:metadata AS json)) */ AS wanted
             WHERE NOT EXISTS (
                SELECT 1 FROM /*sqlite:*/ json_each(t.metadata) /*postgres: json_each_text(CAST(t.metadata AS json)) */ AS has
                 WHERE has.key = wanted.key AND has.value = wanted.value))
     ORDER BY t.id DESC
     LIMIT :batch
"""
TASKS = select(tasks.COLUMNS, "FROM tasks t WHERE t.project_id = :project_id" + TASK_TAIL)
TASKS_OF_REFERENCE = select(
    tasks.COLUMNS, "FROM tasks t WHERE t.project_id = :project_id AND t.reference = :reference" + TASK_TAIL
)

# The whole index of jobs at providers is walked, which are few: one of its own would be written with every task.
UNCONFIRMED = """
    SELECT t.id FROM tasks t
     WHERE t.status = 'unconfirmed' AND t.status IN ('submitting', 'unconfirmed', 'processing')
       AND t.project_id || '' = :project_id AND t.id || '' > :after
       AND t.created_at > :created_after AND t.created_at < :created_before
       AND (CAST(:provider AS TEXT) IS NULL OR t.provider = :provider)
       AND (CAST(:account AS TEXT) IS NULL OR t.account = :account)
     ORDER BY t.id || ''
     LIMIT :batch
"""

DELIVERY_COLUMNS: LiteralString = """
    d.id, d.event_id, d.endpoint_id, d.project_id, d.task_id, d.event_type, d.status, d.attempts, d.url, d.due_at, d.created_at,
    d.updated_at, d.spent, d.restarted_at
"""
DELIVERY = select(DELIVERY_COLUMNS, "FROM deliveries d WHERE d.id = :id AND d.project_id = :project_id")

ATTEMPTS = """
    SELECT delivery_id, number, at, duration_ms, status_code, error_class, response_head FROM attempts
     WHERE delivery_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
     ORDER BY delivery_id, number
"""

TESTS = """
    SELECT d.id FROM deliveries d JOIN events e ON e.id = d.event_id
     WHERE d.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */) AND e.test = 1
"""

ENDPOINTS = select(
    endpoints.COLUMNS,
    """
      FROM endpoints
     WHERE project_id = :project_id AND deleted_at IS NULL AND hidden = 0 AND id < :after
     ORDER BY id DESC
     LIMIT :batch
""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks are wanted. `metadata`: a JSON object of pairs that all must be there. Instants are exclusive."""

    status: str | None = None
    provider: str | None = None
    account: str | None = None
    reference: str | None = None
    metadata: str = "{}"
    created_after: int | None = None
    created_before: int | None = None


async def task_page(
    tx: Connection, project_id: str, wanted: TaskFilter, *, after: str | None, limit: int
) -> list[Task]:
    """Tasks older than the id `after`, newest first."""
    params: dict[str, object] = {
        "project_id": project_id,
        "after": after or BEHIND_ALL,
        "status": wanted.status,
        "provider": wanted.provider,
        "account": wanted.account,
        "metadata": wanted.metadata,
        "created_after": FIRST if wanted.created_after is None else wanted.created_after,
        "created_before": LAST if wanted.created_before is None else wanted.created_before,
        "batch": limit,
    }
    if wanted.reference is None:
        rows = await tx.fetch(TASKS, params)
    else:
        rows = await tx.fetch(TASKS_OF_REFERENCE, {**params, "reference": wanted.reference})
    return [tasks.from_row(row) for row in rows]


async def unconfirmed(
    tx: Connection, project_id: str, wanted: TaskFilter, *, after: str | None, limit: int
) -> list[str]:
    """Ids of tasks whose purchase is in doubt, oldest first, behind the id `after`. Of the filter: all but what names one task."""
    rows = await tx.fetch(
        UNCONFIRMED,
        {
            "project_id": project_id,
            "after": after or "",
            "provider": wanted.provider,
            "account": wanted.account,
            "created_after": FIRST if wanted.created_after is None else wanted.created_after,
            "created_before": LAST if wanted.created_before is None else wanted.created_before,
            "batch": limit,
        },
    )
    return [str(task_id) for (task_id,) in rows]


async def delivery(tx: Connection, delivery_id: str, project_id: str) -> Delivery | None:
    rows = await tx.fetch(DELIVERY, {"id": delivery_id, "project_id": project_id})
    return delivery_of(rows[0]) if rows else None


async def attempts(tx: Connection, delivery_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """The attempts of each delivery, in order."""
    found: dict[str, list[Attempt]] = {delivery_id: [] for delivery_id in delivery_ids}
    rows: list[Any] = await tx.fetch(ATTEMPTS, {"ids": list(delivery_ids)}) if delivery_ids else []
    for row in rows:
        found[row[0]].append(
            Attempt(
                delivery_id=row[0],
                number=row[1],
                at=row[2],
                duration_ms=row[3],
                status_code=row[4],
                error_class=row[5],
                response_head=row[6],
            )
        )
    return found


async def tests_among(tx: Connection, found: Sequence[Delivery]) -> set[str]:
    """Those of a sample, which are sent once and never again. Only what is about no task can be one."""
    ids = [one.id for one in found if one.task_id is None]
    return {str(id) for (id,) in await tx.fetch(TESTS, {"ids": ids})} if ids else set()


async def endpoint_page(tx: Connection, project_id: str, *, after: str | None, limit: int) -> list[Endpoint]:
    """Endpoints older than the id `after`, newest first; hidden and deleted ones are not there."""
    rows = await tx.fetch(ENDPOINTS, {"project_id": project_id, "after": after or BEHIND_ALL, "batch": limit})
    return [endpoints.from_row(row) for row in rows]


def delivery_of(row: Any) -> Delivery:
    """A row of `DELIVERY_COLUMNS`."""
    return Delivery(
        id=row[0],
        event_id=row[1],
        endpoint_id=row[2],
        project_id=row[3],
        task_id=row[4],
        event_type=row[5],
        status=DeliveryStatus(row[6]),
        attempts=row[7],
        url=row[8],
        due_at=row[9],
        created_at=row[10],
        updated_at=row[11],
        spent=row[12],
        restarted_at=row[13],
    )
