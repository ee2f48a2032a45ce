"""What signs the per-task URLs of a project, sealed: the one in force, which stands with the project, and those it replaced."""

from __future__ import annotations

from typing import Any

from storage import projects
from storage.database import Connection
from storage.records import light

LIVE = """
    SELECT p.secret AS sealed, NULL AS retires_at, 0 AS number FROM projects p WHERE p.id = :project_id
     UNION ALL
    SELECT s.sealed, s.retires_at, s.number FROM project_secrets s WHERE s.project_id = :project_id AND s.retires_at > :now
"""

KEEP = """
    INSERT INTO project_secrets (project_id, number, sealed, retires_at)
    SELECT p.id, (SELECT COALESCE(max(s.number), 0) + 1 FROM project_secrets s WHERE s.project_id = p.id), p.secret, :retires_at
      FROM projects p
     WHERE p.id = :project_id
    RETURNING number
"""

PUT = "UPDATE projects SET secret = :sealed WHERE id = :project_id"

# Without an overlap every older one goes as well, also what an earlier rotation left: somebody may hold a secret that leaked.
FORGET_RETIRED = """
    DELETE FROM project_secrets
     WHERE project_id = :project_id AND (retires_at <= :now OR number <= :oldest OR CAST(:retires_at AS BIGINT) <= :now)
"""


@light(frozen=True, slots=True)
class ProjectSecret:
    """`retires_at` None: the one in force."""

    sealed: str
    retires_at: int | None


async def live(tx: Connection, project_id: str, *, now: int) -> list[ProjectSecret]:
    """What signs now, newest first; nothing when the project is gone."""
    rows: list[Any] = await tx.fetch(LIVE, {"project_id": project_id, "now": now})
    rows.sort(key=lambda row: (row[1] is not None, -row[2]))
    return [ProjectSecret(sealed, retires_at) for sealed, retires_at, _ in rows]


async def rotate(tx: Connection, project_id: str, sealed: str, *, now: int, retires_at: int, most: int) -> bool:
    """Put a new secret in force. The one before signs until `retires_at`, which ends all old ones when it is now; at most so many
    of them are kept. False: no such project."""
    await projects.turn(tx, project_id)  # of two rotations at once the second replaces what the first put there
    kept: list[Any] = await tx.fetch(KEEP, {"project_id": project_id, "retires_at": retires_at})
    if not kept:
        return False
    [(newest,)] = kept
    await tx.fetch(PUT, {"project_id": project_id, "sealed": sealed})
    ending = {"project_id": project_id, "now": now, "oldest": newest - most, "retires_at": retires_at}
    await tx.fetch(FORGET_RETIRED, ending)
    return True
