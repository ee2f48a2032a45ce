"""Tenants, their keys, and the installation itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from storage.database import Connection
from storage.records import ApiKey, OnAmbiguous, Project

INSTALLATION = "SELECT id FROM installation"

# Changes nothing and still has to reach the disk. Replicas that are asked at the same time must not wait for each other's row.
# On PostgreSQL no row is locked, because every replica proves it all the time: the message is what is committed. A transaction that may
# only read lets it pass, but not a change, and one of no row at all is refused too.
TOUCH = """
    /*sqlite:*/ UPDATE installation SET touches = touches + 1
    /*postgres: WITH refused AS (UPDATE installation SET touches = touches WHERE false)
    SELECT pg_logical_emit_message(true, 'taskrelay', 'touch') */
"""

INSERT = """
    INSERT INTO projects (id, name, secret, on_ambiguous, created_at)
    VALUES (:id, :name, :secret, :on_ambiguous, :created_at)
"""

BY_NAME = "SELECT id, name, secret, on_ambiguous, created_at FROM projects WHERE name = :name OR id = :name"

GET = "SELECT id, name, secret, on_ambiguous, created_at FROM projects WHERE id = :id"

# Who counts what a project has before adding to it takes turns. Not FOR UPDATE, for which every new task of it would wait.
TURN = "SELECT id FROM projects WHERE id = :id /*postgres: FOR NO KEY UPDATE */"

SET_POLICY = "UPDATE projects SET on_ambiguous = :on_ambiguous WHERE id = :id"

ALL = "SELECT id, name, secret, on_ambiguous, created_at FROM projects ORDER BY id"

INSERT_KEY = """
    INSERT INTO api_keys (id, project_id, name, digest, scopes, created_at)
    VALUES (:id, :project_id, :name, :digest, :scopes, :created_at)
"""

KEY_BY_DIGEST = """
    SELECT id, project_id, name, digest, scopes, created_at, last_used_at, revoked_at FROM api_keys
     WHERE digest = :digest AND revoked_at IS NULL
"""

COUNT_KEYS = "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL"


async def installation(tx: Connection) -> str:
    """The database's own id: random, and kept through backup and restore."""
    [(found,)] = await tx.fetch(INSTALLATION)
    return str(found)


async def touch(tx: Connection) -> None:
    """Prove that the database takes a write."""
    await tx.fetch(TOUCH)


async def insert(tx: Connection, project: Project) -> None:
    """Raises `Duplicate` when the name is taken."""
    await tx.fetch(
        INSERT,
        {
            "id": project.id,
            "name": project.name,
            "secret": project.secret,
            "on_ambiguous": project.on_ambiguous.value,
            "created_at": project.created_at,
        },
    )


async def by_name(tx: Connection, name: str) -> Project | None:
    """A project by its name or id."""
    rows = await tx.fetch(BY_NAME, {"name": name})
    return _project(rows[0]) if rows else None


async def get(tx: Connection, project_id: str) -> Project | None:
    rows = await tx.fetch(GET, {"id": project_id})
    return _project(rows[0]) if rows else None


async def turn(tx: Connection, project_id: str) -> None:
    """Wait for whoever else adds to what the project has few of; then what is read is what there is."""
    await tx.fetch(TURN, {"id": project_id})


async def set_policy(tx: Connection, project_id: str, on_ambiguous: OnAmbiguous) -> None:
    """Of tasks made from now on."""
    await tx.fetch(SET_POLICY, {"id": project_id, "on_ambiguous": on_ambiguous.value})


async def every(tx: Connection) -> list[Project]:
    return [_project(row) for row in await tx.fetch(ALL)]


async def insert_key(tx: Connection, key: ApiKey) -> None:
    await tx.fetch(
        INSERT_KEY,
        {
            "id": key.id,
            "project_id": key.project_id,
            "name": key.name,
            "digest": key.digest,
            "scopes": _join(key.scopes),
            "created_at": key.created_at,
        },
    )


async def key_by_digest(tx: Connection, digest: bytes) -> ApiKey | None:
    """A key that has not been revoked."""
    rows: list[Any] = await tx.fetch(KEY_BY_DIGEST, {"digest": digest})
    if not rows:
        return None
    row = rows[0]
    return ApiKey(
        id=row[0],
        project_id=row[1],
        name=row[2],
        digest=row[3],
        scopes=frozenset(scope for scope in row[4].split(",") if scope),
        created_at=row[5],
        last_used_at=row[6],
        revoked_at=row[7],
    )


async def count_keys(tx: Connection) -> int:
    [(found,)] = await tx.fetch(COUNT_KEYS)
    return int(found)  # type: ignore[call-overload, no-any-return]


def _join(scopes: Iterable[str]) -> str:
    return ",".join(sorted(scopes))


def _project(row: Any) -> Project:
    return Project(id=row[0], name=row[1], secret=row[2], on_ambiguous=OnAmbiguous(row[3]), created_at=row[4])
