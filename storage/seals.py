"""Every column that is sealed: which keys sealed what, and replacing one sealed text by another.

A sealed text begins with `k1.` and the eight characters of its key's id (core/keys.py). A new sealed column is a new
member of `COLUMNS` and of `USE`: the start checks by them, resealing works by them, and a test holds both against the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from storage.database import Connection

USE = """
    SELECT substr(s.sealed, 1, 11), count(*)
      FROM (SELECT secret AS sealed FROM projects
            UNION ALL SELECT sealed FROM project_secrets
            UNION ALL SELECT sealed FROM endpoint_secrets
            UNION ALL SELECT headers FROM endpoints WHERE headers IS NOT NULL
            UNION ALL SELECT sealed FROM signing_keys
            UNION ALL SELECT sealed FROM answers WHERE sealed IS NOT NULL) s
     GROUP BY substr(s.sealed, 1, 11)
"""

STALE_PROJECTS = """
    SELECT id, 0, secret FROM projects
     WHERE id > :id AND substr(secret, 1, 11) <> :newest ORDER BY id LIMIT :batch
"""
STALE_PROJECT_SECRETS = """
    SELECT project_id, number, sealed FROM project_secrets
     WHERE (project_id, number) > (:id, :number) AND substr(sealed, 1, 11) <> :newest
     ORDER BY project_id, number LIMIT :batch
"""
STALE_ENDPOINT_SECRETS = """
    SELECT endpoint_id, number, sealed FROM endpoint_secrets
     WHERE (endpoint_id, number) > (:id, :number) AND substr(sealed, 1, 11) <> :newest
     ORDER BY endpoint_id, number LIMIT :batch
"""
STALE_HEADERS = """
    SELECT id, 0, headers FROM endpoints
     WHERE id > :id AND headers IS NOT NULL AND substr(headers, 1, 11) <> :newest ORDER BY id LIMIT :batch
"""
STALE_SIGNING_KEYS = """
    SELECT id, 0, sealed FROM signing_keys
     WHERE id > :id AND substr(sealed, 1, 11) <> :newest ORDER BY id LIMIT :batch
"""
STALE_ANSWERS = """
    SELECT id, 0, sealed FROM answers
     WHERE id > :id AND sealed IS NOT NULL AND substr(sealed, 1, 11) <> :newest ORDER BY id LIMIT :batch
"""

# Zero rows: it was changed meanwhile, by somebody who sealed it himself.
SET_PROJECT = "UPDATE projects SET secret = :fresh WHERE id = :id AND secret = :stale RETURNING id"
SET_PROJECT_SECRET = """
    UPDATE project_secrets SET sealed = :fresh
     WHERE project_id = :id AND number = :number AND sealed = :stale RETURNING project_id
"""
SET_ENDPOINT_SECRET = """
    UPDATE endpoint_secrets SET sealed = :fresh
     WHERE endpoint_id = :id AND number = :number AND sealed = :stale RETURNING endpoint_id
"""
SET_HEADERS = "UPDATE endpoints SET headers = :fresh WHERE id = :id AND headers = :stale RETURNING id"
SET_SIGNING_KEY = "UPDATE signing_keys SET sealed = :fresh WHERE id = :id AND sealed = :stale RETURNING id"
SET_ANSWER = "UPDATE answers SET sealed = :fresh WHERE id = :id AND sealed = :stale RETURNING id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A sealed column. `purpose`: what its texts are sealed for (core/keys.py)."""

    name: str
    purpose: str
    stale: LiteralString
    put: LiteralString


COLUMNS = (
    Column(name="projects.secret", purpose="project-secret", stale=STALE_PROJECTS, put=SET_PROJECT),
    Column(
        name="project_secrets.sealed",
        purpose="project-secret",
        stale=STALE_PROJECT_SECRETS,
        put=SET_PROJECT_SECRET,
    ),
    Column(
        name="endpoint_secrets.sealed",
        purpose="endpoint-secret",
        stale=STALE_ENDPOINT_SECRETS,
        put=SET_ENDPOINT_SECRET,
    ),
    Column(name="endpoints.headers", purpose="endpoint-headers", stale=STALE_HEADERS, put=SET_HEADERS),
    Column(name="signing_keys.sealed", purpose="signing-key", stale=STALE_SIGNING_KEYS, put=SET_SIGNING_KEY),
    Column(name="answers.sealed", purpose="kept-answer", stale=STALE_ANSWERS, put=SET_ANSWER),
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed text and where it stands."""

    id: str
    number: int
    text: str


START = Sealed("", 0, "")


async def use(tx: Connection) -> dict[str, int]:
    """How many texts each key has sealed, by the first eleven characters of such a text."""
    rows: list[Any] = await tx.fetch(USE)
    return {str(prefix): int(count) for prefix, count in rows}


async def stale(tx: Connection, column: Column, *, newest: str, after: Sealed, batch: int) -> list[Sealed]:
    """The next of a column that begin otherwise than `newest`, in the order of their rows."""
    params = {"newest": newest, "id": after.id, "number": after.number, "batch": batch}
    rows: list[Any] = await tx.fetch(column.stale, params)
    return [Sealed(*row) for row in rows]


async def replace(tx: Connection, column: Column, pairs: Sequence[tuple[Sealed, str]]) -> int:
    """Put fresh texts in place of those that still stand there. Returns how many did."""
    rows = [{"id": old.id, "number": old.number, "stale": old.text, "fresh": fresh} for old, fresh in pairs]
    return len(await tx.each(column.put, rows))
