"""API keys: of each the digest, what it may do, when it was used last and when it was revoked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import ApiKey

ROWS = "api_keys"  # what units lock that change keys, for their order in a group (storage/database.py)
BEHIND_ALL = "zz"  # no id begins with z

COLUMNS: LiteralString = "id, project_id, name, digest, prefix, scopes, created_at, last_used_at, revoked_at"

INSERT = """
    INSERT INTO api_keys (id, project_id, name, digest, prefix, scopes, created_at)
    VALUES (:id, :project_id, :name, :digest, :prefix, :scopes, :created_at)
"""

BY_DIGEST = select(COLUMNS, "FROM api_keys WHERE digest = :digest AND revoked_at IS NULL")

GET = select(COLUMNS, "FROM api_keys WHERE id = :id")
GET_OF_PROJECT = select(COLUMNS, "FROM api_keys WHERE id = :id AND project_id = :project_id")

PAGE = select(COLUMNS, "FROM api_keys WHERE id < :after ORDER BY id DESC LIMIT :batch")
PAGE_OF_PROJECT = select(
    COLUMNS, "FROM api_keys WHERE project_id = :project_id AND id < :after ORDER BY id DESC LIMIT :batch"
)

COUNT = "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL"

REVOKE = "UPDATE api_keys SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING id"

# In the order of their ids, as everything that locks several of them: of two who each revoke the other's, one comes second and sees it.
LOCK_ADMINS = """
    SELECT id FROM api_keys
     WHERE revoked_at IS NULL AND ',' || scopes || ',' LIKE '%,admin,%'
     ORDER BY id /*postgres: FOR UPDATE */
"""

NOTE_USE = "UPDATE api_keys SET last_used_at = :at WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :at) RETURNING id"


async def insert(tx: Connection, key: ApiKey) -> None:
    """Raises `Missing` when its project is gone."""
    await tx.fetch(
        INSERT,
        {
            "id": key.id,
            "project_id": key.project_id,
            "name": key.name,
            "digest": key.digest,
            "prefix": key.prefix,
            "scopes": ",".join(sorted(key.scopes)),
            "created_at": key.created_at,
        },
    )


async def by_digest(tx: Connection, digest: bytes) -> ApiKey | None:
    """A key that has not been revoked."""
    return _first(await tx.fetch(BY_DIGEST, {"digest": digest}))


async def get(tx: Connection, key_id: str, project_id: str | None) -> ApiKey | None:
    """A key, revoked or not. `project_id` None: whosoever it is."""
    if project_id is None:
        return _first(await tx.fetch(GET, {"id": key_id}))
    return _first(await tx.fetch(GET_OF_PROJECT, {"id": key_id, "project_id": project_id}))


async def page(tx: Connection, project_id: str | None, *, after: str | None, limit: int) -> list[ApiKey]:
    """Keys before the id `after`, newest first, revoked ones too. `project_id` None: of all projects."""
    params: dict[str, object] = {"after": after or BEHIND_ALL, "batch": limit}
    if project_id is None:
        return [_key(row) for row in await tx.fetch(PAGE, params)]
    return [_key(row) for row in await tx.fetch(PAGE_OF_PROJECT, {**params, "project_id": project_id})]


async def count(tx: Connection) -> int:
    """Those in force."""
    [(found,)] = await tx.fetch(COUNT)
    return int(found)  # type: ignore[call-overload, no-any-return]


async def revoke(tx: Connection, key_id: str, *, now: int) -> bool:
    """Returns whether it was in force until now."""
    return bool(await tx.fetch(REVOKE, {"id": key_id, "now": now}))


async def lock_admins(tx: Connection) -> list[str]:
    """The keys in force that may do everything; nobody revokes one of them until the end of the transaction."""
    return [str(id) for (id,) in await tx.fetch(LOCK_ADMINS)]


async def note_use(tx: Connection, used: Mapping[str, int]) -> int:
    """Keep when keys were used last. Another replica may have seen a later use. Returns how many were changed."""
    return len(await tx.each(NOTE_USE, [{"id": id, "at": used[id]} for id in sorted(used)]))


def _first(rows: Iterable[Any]) -> ApiKey | None:
    return next((_key(row) for row in rows), None)


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row[0],
        project_id=row[1],
        name=row[2],
        digest=row[3],
        prefix=row[4],
        scopes=frozenset(scope for scope in row[5].split(",") if scope),
        created_at=row[6],
        last_used_at=row[7],
        revoked_at=row[8],
    )
