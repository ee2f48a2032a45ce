"""Who is calling, and what their key may do."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from service.api.context import Context
from service.api.problems import Problem
from service.api.wrong_keys import address_of
from service.pipeline.keys import FORM, digest
from storage import api_keys
from storage.records import ApiKey

HOW = (
    'No key that is known here came with this. Send "Authorization: Bearer <key>". '
    "Make one: taskrelay keys create --name me --scope tasks"
)

TOO_MANY = "Too many wrong keys came from your address within a minute. A good one works all the same."

Scopes = frozenset[str]

# Any of a row's scopes is enough; `admin` may do everything. The first word is the one a refusal asks for.
ANYBODY: tuple[str, ...] = ("read", "tasks", "endpoints")
READ: tuple[str, ...] = ("read",)
READ_TASKS: tuple[str, ...] = ("read", "tasks")
READ_ENDPOINTS: tuple[str, ...] = ("read", "endpoints")
WRITE_TASKS: tuple[str, ...] = ("tasks",)
WRITE_ENDPOINTS: tuple[str, ...] = ("endpoints",)
ADMIN: tuple[str, ...] = ("admin",)


async def identify(scope: MutableMapping[str, Any], context: Context) -> ApiKey:
    """The key a request carries. One answer for every way of not having one; another for who comes with wrong ones again and again."""
    address, wrong = address_of(scope.get("client")), context.wrong_keys
    key = bearer(scope["headers"])
    if key is None:
        found = None
    elif wrong.over(address, context.clock()):
        async with wrong.one_by_one:
            found = await _known(key, context)
    else:
        found = await _known(key, context)
    if found is not None:
        context.key_use.note(found.id, context.clock())
        return found
    if any(name == b"authorization" for name, _ in scope["headers"]):
        wait = wrong.note(address, context.clock())
        if wait:
            raise Problem(
                "too_many_wrong_keys", f"{TOO_MANY} Try again in {wait} s.", headers={"retry-after": str(wait)}
            )
    raise Problem("unauthorized", HOW, headers={"www-authenticate": "Bearer"})


async def _known(key: bytes, context: Context) -> ApiKey | None:
    """The key in force that this is: a hash and one look by it, whether it was never made, is revoked or is good."""
    wanted = digest(key)
    return await context.database.read(lambda tx: api_keys.by_digest(tx, wanted))


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
