"""The newest events of a type, to show what its hook looks like. Bounded: a rare type is looked for among the newest only."""

from __future__ import annotations

from typing import Any

from storage.database import Connection

LOOK = 5_000  # events of the project

NEWEST = """
    SELECT e.body FROM events e
     WHERE e.position IN (
        SELECT r.position FROM (
            SELECT position, type, test FROM events WHERE project_id = :project_id ORDER BY position DESC LIMIT :look) AS r
         WHERE r.type = :type AND r.test = 0
         ORDER BY r.position DESC
         LIMIT :batch)
     ORDER BY e.position DESC
"""


async def newest(tx: Connection, project_id: str, type: str, *, limit: int) -> list[bytes]:
    """Bodies, newest first."""
    rows: list[Any] = await tx.fetch(NEWEST, {"project_id": project_id, "type": type, "look": LOOK, "batch": limit})
    return [bytes(body) for (body,) in rows]
