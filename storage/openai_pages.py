"""Pages as OpenAI's SDKs ask for them: of tasks by the last id in either order, of endpoints of that format with their secrets.

Each is one range of an index by project and id. What was erased is not there: for them it was deleted.
"""

from __future__ import annotations

from typing import Any, LiteralString

from storage import endpoints, tasks
from storage.database import Connection
from storage.dialect import select
from storage.listings import BEHIND_ALL
from storage.records import Endpoint, Task

MINE: LiteralString = "FROM tasks t WHERE t.project_id = :project_id AND t.erased_at IS NULL "
NEWEST_FIRST = select(tasks.COLUMNS, MINE + "AND t.id < :after ORDER BY t.id DESC LIMIT :batch")
OLDEST_FIRST = select(tasks.COLUMNS, MINE + "AND t.id > :after ORDER BY t.id LIMIT :batch")

# One secret is in force; older ones that still sign have an instant at which they retire.
ENDPOINTS = """
    SELECT e.id, s.sealed FROM endpoints e LEFT JOIN endpoint_secrets s ON s.endpoint_id = e.id AND s.retires_at IS NULL
     WHERE e.project_id = :project_id AND e.deleted_at IS NULL AND e.hidden = 0 AND e.format = 'openai' AND e.id < :after
     ORDER BY e.id DESC
     LIMIT :batch
"""
THESE = select(
    endpoints.COLUMNS,
    """
      FROM endpoints
     WHERE project_id = :project_id AND deleted_at IS NULL
       AND id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
     ORDER BY id DESC
""",
)


async def tasks_page(
    tx: Connection, project_id: str, *, after: str | None, limit: int, oldest_first: bool
) -> list[Task]:
    """Tasks behind the id `after` in the order that is asked for."""
    text, start = (OLDEST_FIRST, "") if oldest_first else (NEWEST_FIRST, BEHIND_ALL)
    rows = await tx.fetch(text, {"project_id": project_id, "after": after or start, "batch": limit})
    return [tasks.from_row(row) for row in rows]


async def endpoints_page(
    tx: Connection, project_id: str, *, after: str | None, limit: int
) -> list[tuple[Endpoint, str | None]]:
    """Endpoints older than the id `after`, newest first, each with its sealed secret."""
    params = {"project_id": project_id, "after": after or BEHIND_ALL, "batch": limit}
    rows: list[Any] = await tx.fetch(ENDPOINTS, params)
    secrets: dict[str, str | None] = dict(rows)
    found = await tx.fetch(THESE, {"project_id": project_id, "ids": list(secrets)}) if secrets else []
    return [(one, secrets[one.id]) for one in map(endpoints.from_row, found)]
