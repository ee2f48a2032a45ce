"""What `keys` and `projects` do on this machine's own database, stopped or serving. Each answers what the API would."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from service.api import keys as key_api
from service.api import projects as project_api
from service.api.allowance import prepare_allowance, store_allowance
from service.api.call import listing
from service.api.query import cursor, decoded
from service.api.rotation import OVERLAP_DEFAULT
from service.bootstrap.world import clock, mint
from service.core.keys import Keyring
from service.core.request import Fault, Invalid
from service.core.times import SECOND, iso
from service.pipeline.keys import LastAdmin, make_key, revoke_key
from service.pipeline.projects import (
    CURRENT,
    DEFAULT_PROJECT,
    InUse,
    TenantDesk,
    change_project,
    delete_project,
    fresh_project,
    fresh_secret,
    make_project,
    rotate_secret,
)
from storage import api_keys, projects
from storage.database import Connection, Database
from storage.errors import Duplicate, Missing
from storage.records import OnAmbiguous, Project

T = TypeVar("T")
Shown = dict[str, object]


class Refused(Exception):
    """Why it was not done, and what to do."""


class Tenants:
    """Projects and keys of an open store, on the word of whoever may use this machine's settings."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._desk = TenantDesk(database=database, keyring=keyring, clock=clock, mint=mint, entropy=secrets.token_bytes)

    # Keys

    async def make_key(self, *, name: str, scopes: Collection[str], project: str | None) -> Shown:
        """Raises ValueError, `Missing` or another `StorageError`, each with what to do."""
        desk = self._desk
        made = await make_key(
            desk.database, desk.keyring, name=name, scopes=scopes, project=project, clock=clock, mint=mint,
            entropy=desk.entropy,
        )  # fmt: skip
        return {**key_api.view(made.row), "key": made.key}

    async def keys(self, *, project: str | None, limit: int, after: str | None) -> Shown:
        start = _place(after)

        async def unit(tx: Connection) -> list[Shown]:
            whose = (await _found(tx, project)).id if project is not None else None
            return [key_api.view(one) for one in await api_keys.page(tx, whose, after=start, limit=limit + 1)]

        return _page(await self._database.read(unit), limit)

    async def revoke_key(self, key_id: str, *, last_admin: bool) -> Shown:
        """The key as it is then."""
        try:
            before = await revoke_key(self._desk, key_id, project_id=None, last_admin=last_admin)
        except LastAdmin:
            raise Refused(
                "this is the last key with the scope admin. Make another first, or say that it is meant: --last-admin"
            ) from None
        after = await self._database.read(lambda tx: api_keys.get(tx, key_id, None)) if before is not None else None
        if after is None:
            raise Refused(f"there is no key {key_id}. taskrelay keys list shows those there are")
        return key_api.view(after)

    # Projects

    async def make_project(self, body: Mapping[str, object]) -> Shown:
        wanted = _read(lambda: project_api.read_wanted(dict(body), needed=("name",)))
        made = fresh_project(self._desk, str(wanted.name), wanted.on_ambiguous or OnAmbiguous.HOLD)
        shown: list[Shown] = []

        async def also(tx: Connection, project: Project) -> None:
            await store_allowance(tx, project.id, wanted.allowance)
            shown[:] = [await project_api.shown_in(tx, project, project.created_at)]

        try:
            detail = {**project_api.policy(wanted), **wanted.allowance.detail}
            await make_project(self._desk, made, detail=detail, also=also)
        except Duplicate:
            raise Refused(project_api.taken(made.name).detail) from None
        return {**shown[0], "webhook_secret": self._desk.keyring.open(made.secret, "project-secret")}

    async def projects(self, *, limit: int, after: str | None) -> Shown:
        start, now = _place(after), clock()

        async def unit(tx: Connection) -> list[Shown]:
            found = await projects.page(tx, after=start, limit=limit + 1)
            return [await project_api.shown_in(tx, one, now) for one in found]

        return _page(await self._database.read(unit), limit)

    async def project(self, name: str) -> Shown:
        """By its name or id; `current`: the default one."""

        async def unit(tx: Connection) -> Shown:
            return await project_api.shown_in(tx, await _found(tx, name), clock())

        return await self._database.read(unit)

    async def change_project(self, name: str, body: Mapping[str, object]) -> Shown:
        wanted = _read(lambda: project_api.read_wanted(dict(body), needed=()))
        id, shown = await self._id(name), list[Shown]()

        async def also(tx: Connection, project: Project) -> None:
            await store_allowance(tx, project.id, wanted.allowance)
            shown[:] = [await project_api.shown_in(tx, project, clock())]

        await prepare_allowance(self._database, id, wanted.allowance, clock())
        try:
            done = await change_project(
                self._desk,
                id,
                name=wanted.name,
                on_ambiguous=wanted.on_ambiguous,
                acts=project_api.acts_of(wanted),
                also=also,
            )
        except Duplicate:
            raise Refused(project_api.taken(str(wanted.name)).detail) from None
        if not done:
            raise _gone(name)
        return shown[0]

    async def rotate_secret(self, name: str, *, overlap_seconds: int | None) -> Shown:
        """Lanes that are being worked read the new secret within seconds."""
        id, fresh, now, shown = await self._id(name), fresh_secret(self._desk), clock(), list[Shown]()
        overlap = OVERLAP_DEFAULT if overlap_seconds is None else overlap_seconds

        async def also(tx: Connection, project: Project) -> None:
            shown[:] = [await project_api.shown_in(tx, project, now)]

        if await rotate_secret(self._desk, id, fresh, overlap_seconds=overlap, also=also) is None:
            raise _gone(name)
        until = iso(now + overlap * SECOND)
        return {**shown[0], "webhook_secret": fresh, "old_secret_retires_at": until}

    async def delete_project(self, name: str) -> Shown:
        try:
            id = await self._id(name)
            if not await delete_project(self._desk, id, trail=None):
                raise _gone(name)
        except InUse as used:
            raise Refused(project_api.in_use(used.held)) from None
        return {"object": "project", "id": id, "deleted": True}

    async def _id(self, name: str) -> str:
        return (await self._database.read(lambda tx: _found(tx, name))).id


async def _found(tx: Connection, name: str) -> Project:
    found = await projects.by_name(tx, DEFAULT_PROJECT if name == CURRENT else name)
    if found is None:
        raise _gone(name)
    return found


def _gone(name: str) -> Missing:
    return Missing(f"there is no project {name!r}. taskrelay projects list shows those there are")


def _read(read: Callable[[], T]) -> T:
    try:
        return read()
    except Invalid as error:
        raise Refused("\n".join(_fault(fault) for fault in error.faults)) from None


def _fault(fault: Fault) -> str:
    return f"{fault.pointer}  {fault.detail}".strip()


def _place(after: str | None) -> str | None:
    """The id that a cursor stands for. Raises `Refused`."""
    if after is None:
        return None
    found = decoded(after)
    if found is None:
        raise Refused("--after is no cursor of this list. Give it as an earlier page ended with it")
    return found


def _page(rows: list[Shown], limit: int) -> Shown:
    more = len(rows) > limit
    return listing(rows[:limit], has_more=more, next=cursor(str(rows[limit - 1]["id"])) if more else None)
