"""/v1/keys: make, list, read and revoke API keys. Of each the beginning is shown, and all of it once."""

from __future__ import annotations

import re

from starlette.responses import Response

from service.api.body import read_json, read_members
from service.api.call import Call, absent, listed, reply
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.core.events import iso_or_none
from service.core.request import Fault, Invalid, shown
from service.core.times import iso
from service.pipeline.key_use import KeyUse
from service.pipeline.keys import SCOPES, LastAdmin, MadeKey, make_key, revoke_key
from service.pipeline.projects import TenantDesk
from storage import api_keys, projects
from storage.database import Connection
from storage.errors import Missing
from storage.records import ApiKey

CURSOR = re.compile(r"key_[0-9A-Z]{26}")
LAST = (
    "This is the last key with the scope admin: without one nobody makes keys and projects over HTTP any more. Make another first. "
    "Or, if that is meant, ask again with ?last_admin=true; then taskrelay keys create on the service's own machine makes one."
)
OTHERS = 'A key revokes itself; for another this needs the scope "admin". Or on the service\'s own machine: taskrelay keys revoke '


async def create(call: Call) -> Response:
    """POST /v1/keys: 201, with the key this once. Of the caller's project unless another is named."""
    Query(call.request, ()).settle()
    context = call.context
    body = await read_json(call.request, context.limits)
    await call.stated(body)
    name, scopes, project = _wanted(body)
    made_answer: list[Response] = []

    async def also(tx: Connection, made: MadeKey) -> None:
        location = f"{context.base}/v1/keys/{made.id}"
        answer = reply({**view(made.row, context.key_use), "key": made.key}, 201, {"location": location})
        await call.keep(tx, answer, secret=True)
        made_answer[:] = [answer]

    try:
        await make_key(
            call.database,
            context.keyring,
            name=name,
            scopes=scopes,
            project=project or call.project_id,
            clock=context.clock,
            mint=context.mint,
            entropy=context.entropy,
            by=call.key.id,
            also=also,
        )
    except Missing:
        raise Invalid([await _no_project(call, project)]) from None
    return made_answer[0]


async def page(call: Call) -> Response:
    """GET /v1/keys: newest first, revoked ones too. With `admin` of all projects or of one, else of the caller's own."""
    query = Query(call.request, ("limit", "after", "project"))
    limit, after, project = query.limit(), query.cursor(CURSOR), query.text("project")
    query.settle()
    whose, start = seen_by(call), after[0] if after else None

    async def unit(tx: Connection) -> list[ApiKey]:
        wanted = whose
        if project is not None:
            named = await projects.by_name(tx, project)
            if named is None or whose not in (None, named.id):
                return []
            wanted = named.id
        return await api_keys.page(tx, wanted, after=start, limit=limit + 1)

    found = await call.context.database.read(unit)
    kept, more = found[:limit], len(found) > limit
    views = [view(one, call.context.key_use) for one in kept]
    return listed(call, views, has_more=more, next=cursor(kept[-1].id) if more else None)


async def one(call: Call) -> Response:
    """GET /v1/keys/{id}"""
    Query(call.request, ()).settle()
    key_id = call.id("key")
    found = await call.context.database.read(lambda tx: api_keys.get(tx, key_id, seen_by(call)))
    if found is None:
        raise absent("key")
    return reply(view(found, call.context.key_use))


async def revoke(call: Call) -> Response:
    """DELETE /v1/keys/{id}: good no more from the next request on, on every replica. 204, and 204 again."""
    query = Query(call.request, ("last_admin",))
    last_admin = query.choice("last_admin", ("true", "false")) == "true"
    query.settle()
    context, key_id = call.context, call.id("key")
    if "admin" not in call.key.scopes and key_id != call.key.id:
        found = await context.database.read(lambda tx: api_keys.get(tx, key_id, call.project_id))
        raise Problem("missing_scope", OTHERS + key_id) if found is not None else absent("key")
    try:
        gone = await revoke_key(desk(call), key_id, project_id=seen_by(call), last_admin=last_admin)
    except LastAdmin:
        raise Problem("last_admin_key", LAST) from None
    if gone is None:
        raise absent("key")
    return Response(status_code=204)


def desk(call: Call) -> TenantDesk:
    """What the caller's orders about keys and projects take."""
    context = call.context
    return TenantDesk(
        database=call.database,
        keyring=context.keyring,
        clock=context.clock,
        mint=context.mint,
        entropy=context.entropy,
        by=call.key.id,
    )


def seen_by(call: Call) -> str | None:
    """The one project whose keys the caller may see; None: all of them."""
    return None if "admin" in call.key.scopes else call.project_id


def view(key: ApiKey, use: KeyUse | None = None) -> dict[str, object]:
    """A key as the API and the command show it. `prefix`: what it begins with."""
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "project": key.project_id,
        "scopes": sorted(key.scopes),
        "created_at": iso(key.created_at),
        "last_used_at": iso_or_none(use.last(key) if use is not None else key.last_used_at),
        "revoked_at": iso_or_none(key.revoked_at),
    }


def _wanted(body: object) -> tuple[str, list[str], str | None]:
    """Name, scopes and project of a body. Raises `Invalid` with every fault."""
    faults: list[Fault] = []
    given = read_members(body, ("name", "scopes", "project"), faults)
    name, scopes, project = given.get("name"), given.get("scopes"), given.get("project")
    if not isinstance(name, str) or not 1 <= len(name) <= 128 or not name.isprintable():
        faults.append(Fault(pointer="/name", detail="A key's name is 1 to 128 printable characters."))
    if not isinstance(scopes, list) or not scopes or len(scopes) > len(SCOPES):
        faults.append(Fault(pointer="/scopes", detail=f"This must be a list of scopes: {', '.join(SCOPES)}."))
        scopes = []
    for number, scope in enumerate(scopes):
        if scope not in SCOPES:
            told = shown(scope) if isinstance(scope, str) else "this"
            detail = f'There is no scope "{told}"; there is {", ".join(SCOPES)}.'
            faults.append(Fault(pointer=f"/scopes/{number}", detail=detail))
    if project is not None and (not isinstance(project, str) or not 1 <= len(project) <= 128):
        faults.append(Fault(pointer="/project", detail="This must be a project's id or name. Without it: your own."))
    if faults:
        raise Invalid(faults)
    return str(name), [str(scope) for scope in scopes], project if isinstance(project, str) else None


async def _no_project(call: Call, project: str | None) -> Fault:
    known = await call.context.database.read(lambda tx: projects.page(tx, after=None, limit=20))
    detail = f'There is no project "{shown(project or "")}". There is {", ".join(shown(one.name) for one in known)}.'
    return Fault(pointer="/project", detail=detail)
