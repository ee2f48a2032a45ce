"""Who is calling, and what their key may do."""

from __future__ import annotations

from collections.abc import Iterable

from service.api.problems import Problem
from service.pipeline.keys import FORM, digest
from storage import projects
from storage.database import Database
from storage.records import ApiKey

HOW = (
    'No key that is known here came with this. Send "Authorization: Bearer <key>". '
    "Make one: taskrelay keys create --name me --scope tasks"
)

Scopes = frozenset[str]

# Any of a row's scopes is enough; `admin` may do everything. The first word is the one a refusal asks for.
ANYBODY: tuple[str, ...] = ("read", "tasks", "endpoints")
READ: tuple[str, ...] = ("read",)
READ_TASKS: tuple[str, ...] = ("read", "tasks")
READ_ENDPOINTS: tuple[str, ...] = ("read", "endpoints")
WRITE_TASKS: tuple[str, ...] = ("tasks",)
WRITE_ENDPOINTS: tuple[str, ...] = ("endpoints",)
ADMIN: tuple[str, ...] = ("admin",)


async def identify(headers: Iterable[tuple[bytes, bytes]], database: Database) -> ApiKey:
    """The key a request carries. One answer for every way of not having one."""
    key = bearer(headers)
    found = await database.read(lambda tx: projects.key_by_digest(tx, digest(key))) if key is not None else None
    if found is None:
        raise Problem("unauthorized", HOW, headers={"www-authenticate": "Bearer"})
    return found


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The key in the one Authorization header, judged as bytes: header text may be anything, and form comes before hashing."""
    stated = [value for name, value in headers if name == b"authorization"]
    if len(stated) != 1 or stated[0][:7].lower() != b"bearer ":
        return None
    key = stated[0][7:].strip(b" ")
    return key if FORM.fullmatch(key) else None


def demand(key: ApiKey, scopes: tuple[str, ...]) -> None:
    """Refuse a key that has none of the scopes."""
    if "admin" in key.scopes or not key.scopes.isdisjoint(scopes):
        return
    has = ", ".join(sorted(key.scopes))
    detail = f'This needs the scope "{scopes[0]}"; this key has {has}. '
    detail += f"Make one that has it: taskrelay keys create --name me --scope {scopes[0]}"
    raise Problem("missing_scope", detail)
