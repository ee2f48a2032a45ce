"""/v1/projects: make, list, read, change and delete projects. With `admin` all of them, else the caller's own, which is `current` too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from service.api.allowance import Wish, allowance_view, prepare_allowance, read_allowance, store_allowance
from service.api.body import read_json, read_members
from service.api.call import ID, Call, absent, listed, reply
from service.api.keys import desk, seen_by
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.core.request import Fault, Invalid, shown
from service.core.times import iso
from service.pipeline.projects import (
    CURRENT,
    InUse,
    change_project,
    delete_project,
    fresh_project,
    make_project,
    refuse_name,
)
from storage import projects
from storage.database import Connection
from storage.errors import Duplicate
from storage.projects import Held
from storage.records import OnAmbiguous, Project

CURSOR = re.compile(r"prj_[0-9A-Z]{26}")
ACCEPT = (
    "Sending it again may buy it a second time, for every task made from now on whose purchase is in doubt, also past the budget. "
    "Send possible_double_charge: true to accept that."
)
MEMBERS = ("name", "on_ambiguous", "possible_double_charge", "budget", "max_open_tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a body wants of a project. None: it says nothing of it."""

    name: str | None
    on_ambiguous: OnAmbiguous | None
    allowance: Wish


async def create(call: Call) -> Response:
    """POST /v1/projects: 201, with the secret that signs per-task URLs this once."""
    Query(call.request, ()).settle()
    context, orders = call.context, desk(call)
    body = await read_json(call.request, context.limits)
    await call.stated(body)
    wanted = read_wanted(body, needed=("name",))
    made = fresh_project(orders, str(wanted.name), wanted.on_ambiguous or OnAmbiguous.HOLD)
    secret = context.keyring.open(made.secret, "project-secret")
    answers: list[Response] = []

    async def also(tx: Connection, project: Project) -> None:
        location = f"{context.base}/v1/projects/{project.id}"
        await store_allowance(tx, project.id, wanted.allowance)
        told = {**await shown_in(tx, project, project.created_at), "webhook_secret": secret}
        answers[:] = [reply(told, 201, {"location": location})]
        await call.keep(tx, answers[0], secret=True)

    try:
        detail = {**policy(wanted), **wanted.allowance.detail}
        await make_project(orders, made, detail=detail, also=also)
    except Duplicate:
        raise taken(made.name) from None
    return answers[0]


async def page(call: Call) -> Response:
    """GET /v1/projects: newest first."""
    query = Query(call.request, ("limit", "after"))
    limit, after = query.limit(), query.cursor(CURSOR)
    query.settle()
    whose, start, now = seen_by(call), after[0] if after else None, call.context.clock()

    async def unit(tx: Connection) -> tuple[list[dict[str, object]], str | None]:
        if whose is None:
            found = await projects.page(tx, after=start, limit=limit + 1)
        else:
            own = await projects.get(tx, whose)
            found = [own] if own is not None and (start is None or own.id < start) else []
        views = [await shown_in(tx, one, now) for one in found[:limit]]
        return views, cursor(found[limit - 1].id) if len(found) > limit else None

    views, next = await call.context.database.read(unit)
    return listed(call, views, has_more=next is not None, next=next)


async def one(call: Call) -> Response:
    """GET /v1/projects/{id}"""
    Query(call.request, ()).settle()
    project_id, now = named(call), call.context.clock()

    async def unit(tx: Connection) -> dict[str, object] | None:
        found = await projects.get(tx, project_id)
        return await shown_in(tx, found, now) if found is not None else None

    found = await call.context.database.read(unit)
    if found is None:
        raise absent("prj")
    return reply(found)


async def change(call: Call) -> Response:
    """PATCH /v1/projects/{id}: the members that are there; the rest stays. A policy holds for tasks made from now on."""
    Query(call.request, ()).settle()
    project_id, now = named(call), call.context.clock()
    wanted = read_wanted(await read_json(call.request, call.context.limits), needed=())

    views: list[dict[str, object]] = []

    async def also(tx: Connection, project: Project) -> None:
        await store_allowance(tx, project_id, wanted.allowance)
        views[:] = [await shown_in(tx, project, now)]

    await prepare_allowance(call.context.database, project_id, wanted.allowance, now)
    try:
        changed = await change_project(
            desk(call), project_id, name=wanted.name, on_ambiguous=wanted.on_ambiguous, acts=acts_of(wanted), also=also
        )
    except Duplicate:
        raise taken(str(wanted.name)) from None
    if not changed:
        raise absent("prj")
    return reply(views[0])


async def delete(call: Call) -> Response:
    """DELETE /v1/projects/{id}: 204, of one that holds nothing but revoked keys and settings. A second time it is not there: 404."""
    Query(call.request, ()).settle()
    try:
        gone = await delete_project(desk(call), named(call), trail=call.project_id)
    except InUse as used:
        raise Problem("project_in_use", in_use(used.held)) from None
    if not gone:
        raise absent("prj")
    return Response(status_code=204)


def named(call: Call) -> str:
    """The project that the path names. Another's is not there for a key without `admin`, and costs no look."""
    stated = str(call.request.path_params["id"])
    if stated == CURRENT:
        return call.project_id
    if not ID.fullmatch(stated) or not stated.startswith("prj_") or seen_by(call) not in (None, stated):
        raise absent("prj")
    return stated


def read_wanted(body: object, needed: tuple[str, ...]) -> Wanted:
    """What a body wants. Raises `Invalid` with every fault."""
    faults: list[Fault] = []
    given = read_members(body, MEMBERS, faults)
    if "name" in given or "name" in needed:
        wrong = refuse_name(given.get("name"))
        if wrong is not None:
            faults.append(Fault(pointer="/name", detail=wrong))
    on_ambiguous = _policy(given, faults)
    allowance = read_allowance(given, faults)
    if faults:
        raise Invalid(faults)
    name = str(given["name"]) if "name" in given else None
    return Wanted(name=name, on_ambiguous=on_ambiguous, allowance=allowance)


def _policy(given: Mapping[str, object], faults: list[Fault]) -> OnAmbiguous | None:
    wanted, accepted = given.get("on_ambiguous"), given.get("possible_double_charge")
    if "on_ambiguous" not in given:
        if "possible_double_charge" in given:
            faults.append(Fault(pointer="/on_ambiguous", detail="possible_double_charge belongs to this one."))
        return None
    if wanted not in list(OnAmbiguous):
        faults.append(Fault(pointer="/on_ambiguous", detail="This must be hold or resubmit."))
        return None
    if wanted == OnAmbiguous.RESUBMIT and accepted is not True:
        faults.append(Fault(pointer="/possible_double_charge", detail=ACCEPT))
    if wanted == OnAmbiguous.HOLD and "possible_double_charge" in given:
        faults.append(Fault(pointer="/possible_double_charge", detail="This belongs to resubmit alone. Leave it out."))
    return OnAmbiguous(str(wanted))


def policy(wanted: Wanted) -> dict[str, object]:
    """What the trail says of a policy, with what was accepted for it."""
    if wanted.on_ambiguous is None:
        return {}
    accepted = {"possible_double_charge": True} if wanted.on_ambiguous is OnAmbiguous.RESUBMIT else {}
    return {"on_ambiguous": wanted.on_ambiguous, **accepted}


def acts_of(wanted: Wanted) -> list[tuple[str, Mapping[str, object]]]:
    """What the trail says of a change."""
    acts: list[tuple[str, Mapping[str, object]]] = []
    if wanted.name is not None or wanted.allowance:
        renamed = {"name": wanted.name} if wanted.name is not None else {}
        acts.append(("project.change", {**renamed, **wanted.allowance.detail}))
    if wanted.on_ambiguous is not None:
        acts.append(("on_ambiguous", policy(wanted)))
    return acts


def taken(name: str) -> Problem:
    return Problem("project_name_taken", f'There is a project "{shown(name)}" already. Choose another name.')


def in_use(held: Held) -> str:
    """What stands in the way, and what to do about each."""
    things = {
        f"keys in force ({held.keys}): revoke them": held.keys,
        f"endpoints ({held.endpoints}): delete them": held.endpoints,
        "tasks, events or deliveries: retention takes them away in time": held.tasks or held.events or held.deliveries,
    }
    told = "; ".join(text for text, count in things.items() if count) or "something that came in just now: look again"
    return f"The project still has {told}. Where nobody is to use it any more, revoking its keys is enough."


async def shown_in(tx: Connection, project: Project, now: int) -> dict[str, object]:
    """A project as the API and the command show it."""
    return {
        "object": "project",
        "id": project.id,
        "name": project.name,
        "on_ambiguous": project.on_ambiguous,
        **await allowance_view(tx, project.id, now),
        "created_at": iso(project.created_at),
    }
