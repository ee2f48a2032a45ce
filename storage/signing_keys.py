"""A project's key pairs of v1a: the one in force and those that a rotation left to expire. The private halves are sealed."""

from __future__ import annotations

from typing import Any

from storage import projects
from storage.database import Connection
from storage.records import SigningKey

LIVE = """
    SELECT id, project_id, public_key, sealed, created_at, expires_at FROM signing_keys
     WHERE project_id = :project_id AND (expires_at IS NULL OR expires_at > :now)
     ORDER BY expires_at IS NOT NULL, created_at DESC, id DESC
"""

INSERT = """
    INSERT INTO signing_keys (id, project_id, public_key, sealed, created_at, expires_at)
    VALUES (:id, :project_id, :public_key, :sealed, :created_at, :expires_at)
"""

# Without an overlap every older one ends as well, also what an earlier rotation left: somebody may hold a key that leaked.
EXPIRE = """
    UPDATE signing_keys SET expires_at = :expires_at
     WHERE project_id = :project_id AND (expires_at IS NULL OR (expires_at > :now AND CAST(:expires_at AS BIGINT) <= :now))
"""

FORGET = "DELETE FROM signing_keys WHERE project_id = :project_id AND expires_at IS NOT NULL AND expires_at <= :now"

FORGET_ONE = "DELETE FROM signing_keys WHERE id = :id"

SIGNED = """
    SELECT id FROM endpoints
     WHERE project_id = :project_id AND deleted_at IS NULL AND hidden = 0 AND signatures LIKE '%v1a%'
     ORDER BY id
"""


async def live(tx: Connection, project_id: str, *, now: int) -> list[SigningKey]:
    """What signs now, newest first."""
    rows: list[Any] = await tx.fetch(LIVE, {"project_id": project_id, "now": now})
    return [
        SigningKey(id=row[0], project_id=row[1], public_key=row[2], sealed=row[3], created_at=row[4], expires_at=row[5])
        for row in rows
    ]


async def need(tx: Connection, spare: SigningKey) -> None:
    """Have a key in force: the one there is, or this."""
    await projects.turn(tx, spare.project_id)
    found = await live(tx, spare.project_id, now=spare.created_at)
    if not any(one.expires_at is None for one in found):
        await insert(tx, spare)


async def rotate(tx: Connection, fresh: SigningKey, *, expires_at: int, most: int) -> list[SigningKey]:
    """Put a new key in force; returns all that sign now. The one before signs until `expires_at`; at most so many old ones are kept."""
    await projects.turn(tx, fresh.project_id)
    await tx.fetch(EXPIRE, {"project_id": fresh.project_id, "expires_at": expires_at, "now": fresh.created_at})
    await tx.fetch(FORGET, {"project_id": fresh.project_id, "now": fresh.created_at})
    await insert(tx, fresh)
    found = await live(tx, fresh.project_id, now=fresh.created_at)
    await tx.many(FORGET_ONE, [{"id": one.id} for one in found[most + 1 :]])
    return found[: most + 1]


async def insert(tx: Connection, key: SigningKey) -> None:
    """Raises `Duplicate` when the project has one in force."""
    await tx.fetch(
        INSERT,
        {
            "id": key.id,
            "project_id": key.project_id,
            "public_key": key.public_key,
            "sealed": key.sealed,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
        },
    )


async def signed_endpoints(tx: Connection, project_id: str) -> list[str]:
    """The project's endpoints whose events they sign."""
    return [str(id) for (id,) in await tx.fetch(SIGNED, {"project_id": project_id})]
