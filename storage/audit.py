"""The trail: who ordered what. Rows are added and never changed; retention alone takes them away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import AuditEntry

BEHIND_ALL = "zz"  # no id begins with z

INSERT = """
    INSERT INTO audit (id, project_id, task_id, endpoint_id, key_id, action, detail, at)
    VALUES (:id, :project_id, :task_id, :endpoint_id, :key_id, :action, :detail, :at)
"""

COLUMNS: LiteralString = "id, project_id, task_id, endpoint_id, key_id, action, detail, at"

OF_TASK = select(COLUMNS, "FROM audit WHERE task_id = :task_id ORDER BY at, id")

# By the narrowest index; `|| ''` keeps the project's from being taken where a better one exists.
PAGE = select(COLUMNS, "FROM audit WHERE project_id = :project_id AND id < :after ORDER BY id DESC LIMIT :batch")
PAGE_OF_TASK = select(
    COLUMNS,
    """
      FROM audit
     WHERE task_id = :subject AND project_id || '' = :project_id AND id < :after
     ORDER BY id DESC
     LIMIT :batch
""",
)
PAGE_OF_ENDPOINT = select(
    COLUMNS,
    """
      FROM audit
     WHERE endpoint_id = :subject AND project_id || '' = :project_id AND id < :after
     ORDER BY id DESC
     LIMIT :batch
""",
)


async def insert(tx: Connection, entries: Sequence[AuditEntry]) -> None:
    await tx.many(
        INSERT,
        [
            {
                "id": entry.id,
                "project_id": entry.project_id,
                "task_id": entry.task_id,
                "endpoint_id": entry.endpoint_id,
                "key_id": entry.key_id,
                "action": entry.action,
                "detail": entry.detail,
                "at": entry.at,
            }
            for entry in entries
        ],
    )


async def of_task(tx: Connection, task_id: str) -> list[AuditEntry]:
    """What was decided about a task, oldest first."""
    return [_entry(row) for row in await tx.fetch(OF_TASK, {"task_id": task_id})]


async def page(
    tx: Connection,
    project_id: str,
    *,
    after: str | None,
    limit: int,
    task: str | None = None,
    endpoint: str | None = None,
) -> list[AuditEntry]:
    """What was ordered in a project before the id `after`, newest first: all of it, or of a task or an endpoint alone."""
    params: dict[str, object] = {"project_id": project_id, "after": after or BEHIND_ALL, "batch": limit}
    if task is not None:
        found = [_entry(row) for row in await tx.fetch(PAGE_OF_TASK, {**params, "subject": task})]
        return found if endpoint is None else [entry for entry in found if entry.endpoint_id == endpoint]
    if endpoint is not None:
        return [_entry(row) for row in await tx.fetch(PAGE_OF_ENDPOINT, {**params, "subject": endpoint})]
    return [_entry(row) for row in await tx.fetch(PAGE, params)]


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        id=row[0],
        project_id=row[1],
        task_id=row[2],
        endpoint_id=row[3],
        key_id=row[4],
        action=row[5],
        detail=row[6],
        at=row[7],
    )
