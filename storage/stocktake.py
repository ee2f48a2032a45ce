"""What is there, page by page, for the audit: what was told and is owed, tasks and the jobs that are known of.

Each page is one snapshot, read beside the writer and never kept open for longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.database import Connection
from storage.records import light

TOLD = """
    SELECT e.position, e.id, e.type, e.task_id, e.provider, e.model, e.created_at,
           CASE WHEN e.task_id IS NULL THEN e.body END, t.id, t.metadata, t.webhook_endpoint_id, t.webhook_events
      FROM events e LEFT JOIN tasks t ON t.id = e.task_id
     WHERE e.project_id = :project_id AND e.position > :after AND e.test = 0
     ORDER BY e.position
     LIMIT :batch
"""

OWED = """
    SELECT d.event_id, d.endpoint_id, d.id, d.status, d.due_at,
           CASE WHEN p.deleted_at IS NULL THEN p.status ELSE 'deleted' END
      FROM deliveries d LEFT JOIN endpoints p ON p.id = d.endpoint_id
     WHERE d.event_id IN (SELECT /*sqlite:*/ value FROM json_each(:events) /*postgres: unnest(:events::text[]) */)
"""

TASKS = """
    SELECT id, status, account, provider_task_id, surplus, final_at, finished_at, due_at, updated_at FROM tasks
     WHERE project_id = :project_id AND id > :after
     ORDER BY id
     LIMIT :batch
"""

ENDS = """
    SELECT task_id, type FROM events
     WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:tasks) /*postgres: unnest(:tasks::text[]) */)
       AND type IN ('task.succeeded', 'task.failed', 'task.canceled', 'task.expired')
     ORDER BY task_id, sequence
"""

NAMED = """
    SELECT task_id, id, account, provider_task_id FROM submissions
     WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:tasks) /*postgres: unnest(:tasks::text[]) */)
       AND provider_task_id IS NOT NULL
     ORDER BY task_id, number
"""

# Tasks that cost the same stand there with the same text.
BOOKED = "SELECT booked, count(*) FROM tasks WHERE project_id = :project_id AND booked IS NOT NULL GROUP BY booked"

ORPHANS = """
    SELECT id, provider, submission_id, raw, received_at FROM callbacks
     WHERE id > :after AND received_at >= :since
     ORDER BY id
     LIMIT :batch
"""


@light(frozen=True, slots=True)
class Told:
    """An event of the feed, with what of its task decides who is owed it. `body`: only where it is about no task."""

    position: int
    id: str
    type: str
    task_id: str | None
    provider: str | None
    model: str | None
    created_at: int
    body: bytes | None
    task_is_there: bool
    metadata: str | None
    webhook_endpoint_id: str | None
    webhook_events: str | None


@light(frozen=True, slots=True)
class Owed:
    """A delivery. `endpoint_status`: `deleted` beside the words of an endpoint; None: there is no such endpoint."""

    event_id: str
    endpoint_id: str
    id: str
    status: str
    due_at: int | None
    endpoint_status: str | None


@light(frozen=True, slots=True)
class Counted:
    """A task, as far as it is counted. `surplus`: JSON text."""

    id: str
    status: str
    account: str
    provider_task_id: str | None
    surplus: str
    final_at: int | None
    finished_at: int | None
    due_at: int | None
    updated_at: int


@light(frozen=True, slots=True)
class Named:
    """A job that the answer to a purchase named."""

    task_id: str
    submission_id: str
    account: str
    provider_task_id: str


@light(frozen=True, slots=True)
class Unowned:
    """A push with a good token for a submission that is not there."""

    id: str
    provider: str
    submission_id: str
    raw: bytes
    received_at: int


async def told(tx: Connection, project_id: str, *, after: int, batch: int) -> list[Told]:
    """Events behind a place in the feed, oldest first, also those that the feed still holds back. Tests tell nothing and are left out."""
    rows: list[Any] = await tx.fetch(TOLD, {"project_id": project_id, "after": after, "batch": batch})
    return [
        Told(*(*row[:7], bytes(row[7]) if row[7] is not None else None, row[8] is not None, *row[9:])) for row in rows
    ]


async def owed(tx: Connection, events: Sequence[str]) -> list[Owed]:
    """Every delivery of these events."""
    rows: list[Any] = await tx.fetch(OWED, {"events": list(events)})
    return [Owed(*row) for row in rows]


async def tasks(tx: Connection, project_id: str, *, after: str, batch: int) -> list[Counted]:
    """Tasks behind an id, oldest first."""
    rows: list[Any] = await tx.fetch(TASKS, {"project_id": project_id, "after": after, "batch": batch})
    return [Counted(*row) for row in rows]


async def ends(tx: Connection, task_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ends that were told of each of these tasks, in order."""
    found: dict[str, list[str]] = {}
    rows: list[Any] = await tx.fetch(ENDS, {"tasks": list(task_ids)})
    for task_id, type in rows:
        found.setdefault(task_id, []).append(type)
    return found


async def named(tx: Connection, task_ids: Sequence[str]) -> list[Named]:
    """Every job that an answer to a purchase of these tasks named."""
    rows: list[Any] = await tx.fetch(NAMED, {"tasks": list(task_ids)})
    return [Named(*row) for row in rows]


async def booked(tx: Connection, project_id: str) -> list[tuple[str, int]]:
    """How tasks stand in the project's books, each way with the count of those that do."""
    rows: list[Any] = await tx.fetch(BOOKED, {"project_id": project_id})
    return [(text, count) for text, count in rows]


async def unowned(tx: Connection, *, after: str, since: int, batch: int) -> list[Unowned]:
    """Kept pushes behind an id, oldest first. They belong to no project that is known."""
    rows: list[Any] = await tx.fetch(ORPHANS, {"after": after, "since": since, "batch": batch})
    return [Unowned(row[0], row[1], row[2], bytes(row[3]), row[4]) for row in rows]
