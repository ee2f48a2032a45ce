"""API keys: made once, shown once, kept as a digest, revoked for good. Used by the command line and the API alike."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from service.core.keys import Keyring
from service.pipeline import audit_trail
from service.pipeline.audit_trail import Act
from service.pipeline.projects import DEFAULT_PROJECT, TenantDesk, fresh_project
from storage import api_keys, projects
from storage.database import Connection, Database, behind
from storage.errors import Duplicate, Missing
from storage.records import ApiKey

SCOPES = ("tasks", "endpoints", "read", "admin")
PREFIX = "trk_"
PREFIX_SHOWN = len(PREFIX) + 8  # 144 bits stay unknown
SECRET_BYTES = 24
FORM = re.compile(rb"trk_[A-Za-z0-9_-]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A key as its owner gets to see it, this once."""

    id: str
    key: str
    name: str
    project_id: str
    scopes: frozenset[str]
    row: ApiKey

    def __repr__(self) -> str:
        return f"MadeKey({self.id})"


Also = Callable[[Connection, MadeKey], Awaitable[None]]


class LastAdmin(Exception):
    """The key is the last one that may do everything, and nobody said that this is meant."""


async def make_key(
    database: Database,
    keyring: Keyring,
    *,
    name: str,
    scopes: Collection[str],
    project: str | None = None,
    clock: Callable[[], int],
    mint: Callable[[str], str],
    entropy: Callable[[int], bytes],
    by: str | None = None,
    also: Also | None = None,
) -> MadeKey:
    """Make a key of a project (by name or id; None: the default one, which is made when it is not there yet).

    `also` runs last in the same unit. Raises ValueError for a bad name or scope and `Missing` for an unknown project, each with
    what to do.
    """
    refuse_key(name, scopes)
    desk = TenantDesk(database=database, keyring=keyring, clock=clock, mint=mint, entropy=entropy, by=by)
    text = fresh_text(entropy)
    key_id, now, default = mint("key"), clock(), fresh_project(desk, DEFAULT_PROJECT)

    async def unit(tx: Connection) -> MadeKey:
        owner = await projects.by_name(tx, project or DEFAULT_PROJECT)
        if owner is None and project not in (None, DEFAULT_PROJECT):
            known = ", ".join(one.name for one in await projects.page(tx, after=None, limit=20)) or "none yet"
            raise Missing(f"there is no project {project!r}; there is: {known}")
        if owner is None:
            owner = default
            await projects.insert(tx, owner)
        made = made_key(key_id, text, owner.id, name=name, scopes=scopes, now=now)
        await insert(tx, desk, made)
        if also is not None:
            await also(tx, made)
        return made

    try:
        return await database.write(unit)
    except Duplicate:  # another process made the default project in the same moment
        return await database.write(unit)


async def first_key(desk: TenantDesk, text: str) -> MadeKey | None:
    """Make the default project with a key that may do everything, in a database that has no project. None: it has one.

    Of replicas that start at once one makes it: the project's name is given once.
    """
    project, key_id = fresh_project(desk, DEFAULT_PROJECT), desk.mint("key")
    made = made_key(key_id, text, project.id, name="admin", scopes=("admin",), now=project.created_at)

    async def unit(tx: Connection) -> MadeKey | None:
        if await projects.page(tx, after=None, limit=1):
            return None
        await projects.insert(tx, project)
        await insert(tx, desk, made)
        return made

    try:
        return await desk.database.write(unit)
    except Duplicate:
        return None


def fresh_text(entropy: Callable[[int], bytes]) -> str:
    """A key that nobody has."""
    return PREFIX + base64.urlsafe_b64encode(entropy(SECRET_BYTES)).decode("ascii")


def made_key(id: str, text: str, project_id: str, *, name: str, scopes: Collection[str], now: int) -> MadeKey:
    """The key with what is kept of it."""
    granted = frozenset(scopes)
    row = ApiKey(
        id=id,
        project_id=project_id,
        name=name,
        digest=digest(text.encode()),
        prefix=text[:PREFIX_SHOWN],
        scopes=granted,
        created_at=now,
    )
    return MadeKey(id=id, key=text, name=name, project_id=project_id, scopes=granted, row=row)


async def insert(tx: Connection, desk: TenantDesk, made: MadeKey) -> None:
    """Store a key, and that it was made."""
    await api_keys.insert(tx, made.row)
    detail = {"key": made.id, "name": made.name, "scopes": sorted(made.scopes)}
    await _note(tx, desk, "key.create", made.row, made.row.created_at, detail)


async def revoke_key(desk: TenantDesk, key_id: str, *, project_id: str | None, last_admin: bool) -> ApiKey | None:
    """Revoke a key for good; of a revoked one nothing changes. Returns it as it was, None when there is none.

    `project_id`: whose keys may be revoked; None: everybody's. Raises `LastAdmin` unless `last_admin` says that it may be.
    """
    now = desk.clock()

    async def unit(tx: Connection) -> ApiKey | None:
        found = await api_keys.get(tx, key_id, project_id)
        if found is None or found.revoked_at is not None:
            return found
        if "admin" in found.scopes and await api_keys.lock_admins(tx) == [key_id] and not last_admin:
            raise LastAdmin
        if await api_keys.revoke(tx, key_id, now=now):
            await _note(tx, desk, "key.revoke", found, now, {"key": key_id, "name": found.name})
        return found

    return await desk.database.write(behind(unit, api_keys.ROWS))


async def _note(
    tx: Connection, desk: TenantDesk, action: str, key: ApiKey, now: int, detail: Mapping[str, object]
) -> None:
    """In the trail of the key's own project, whoever ordered it."""
    act = Act(action=action, key_id=desk.by, detail={**detail, **desk.orderer})
    await audit_trail.note(tx, act, project_id=key.project_id, now=now, mint=desk.mint)


def digest(key: bytes) -> bytes:
    """What is kept of a key. A plain hash will do: 192 random bits cannot be guessed however fast one tries."""
    return hashlib.sha256(key).digest()


def refuse_key(name: str, scopes: Collection[str]) -> None:
    """Raises ValueError with what is wrong."""
    if not 1 <= len(name) <= 128 or not name.isprintable():
        raise ValueError("a key's name is 1 to 128 printable characters")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise ValueError(f"there is no scope {', '.join(unknown)}; there is {', '.join(SCOPES)}")
    if not scopes:
        raise ValueError(f"a key needs at least one scope: {', '.join(SCOPES)}")
