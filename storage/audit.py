"""The audit: who decided what may cost money. Rows are added, and never changed or taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.database import Connection
from storage.records import AuditEntry

BEHIND_ALL = "zz"  # no id begins with z

INSERT = """
    INSERT INTO audit (id, project_id, task_id, key_id, action, detail, at)
    VALUES (:id, :project_id, :task_id, :key_id, :action, :detail, :at)
"""

OF_TASK = """
    SELECT id, project_id, task_id, key_id, action, detail, at FROM audit WHERE task_id = :task_id ORDER BY at, id
"""

PAGE = """
    SELECT id, project_id, task_id, key_id, action, detail, at FROM audit
     WHERE project_id = :project_id AND id < :after
     ORDER BY id DESC
     LIMIT :batch
"""


async def insert(tx: Connection, entries: Sequence[AuditEntry]) -> None:
    await tx.many(
        INSERT,
        [
            {
                "id": entry.id,
                "project_id": entry.project_id,
                "task_id": entry.task_id,
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


async def page(tx: Connection, project_id: str, *, after: str | None, limit: int) -> list[AuditEntry]:
    """What was decided in a project before the id `after`, newest first."""
    rows = await tx.fetch(PAGE, {"project_id": project_id, "after": after or BEHIND_ALL, "batch": limit})
    return [_entry(row) for row in rows]


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        id=row[0], project_id=row[1], task_id=row[2], key_id=row[3], action=row[4], detail=row[5], at=row[6]
    )
