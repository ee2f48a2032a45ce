"""/v1/projects: the caller's own project, its policy and its secret."""

from __future__ import annotations

import orjson
from starlette.responses import Response

from service.api.body import read_json, read_members
from service.api.call import Call, reply
from service.api.problems import Problem
from service.api.query import Query
from service.core.request import Fault, Invalid
from service.core.times import iso
from storage import audit, projects
from storage.database import Connection
from storage.records import AuditEntry, OnAmbiguous, Project

ACCEPT = (
    "Sending it again may buy it a second time, for every task made from now on whose purchase is in doubt. "
    "Send possible_double_charge: true to accept that."
)


async def current(call: Call) -> Response:
    """GET /v1/projects/current"""
    Query(call.request, ()).settle()
    return reply(_view(await _project(call)))


async def change(call: Call) -> Response:
    """PATCH /v1/projects/current: what happens to purchases of unknown fate, of tasks made from now on."""
    Query(call.request, ()).settle()
    context = call.context
    policy = _policy(await read_json(call.request, context.limits))
    detail: dict[str, object] = {"on_ambiguous": policy}
    if policy is OnAmbiguous.RESUBMIT:
        detail["possible_double_charge"] = True
    entry = AuditEntry(
        id=context.mint("aud"),
        project_id=call.project_id,
        task_id=None,
        key_id=call.key.id,
        action="on_ambiguous",
        detail=orjson.dumps(detail).decode(),
        at=context.clock(),
    )

    async def unit(tx: Connection) -> None:
        await projects.set_policy(tx, call.project_id, policy)
        await audit.insert(tx, [entry])

    await context.database.write(unit)
    return reply(_view(await _project(call)))


async def secret(call: Call) -> Response:
    """GET /v1/projects/current/secret: what signs the events that go to a task's own `webhook_url`."""
    Query(call.request, ()).settle()
    project = await _project(call)
    opened = call.context.keyring.open(project.secret, "project-secret")
    return reply({"object": "project_secret", "project": project.id, "secret": opened})


async def _project(call: Call) -> Project:
    project = await call.context.database.read(lambda tx: projects.get(tx, call.project_id))
    if project is None:
        raise Problem("not_found", "The project of this key is gone.")
    return project


def _policy(body: object) -> OnAmbiguous:
    """What a body wants. Raises `Invalid` with every fault."""
    faults: list[Fault] = []
    given = read_members(body, ("on_ambiguous", "possible_double_charge"), faults)
    wanted, accepted = given.get("on_ambiguous"), given.get("possible_double_charge")
    if wanted not in list(OnAmbiguous):
        faults.append(Fault(pointer="/on_ambiguous", detail="This must be hold or resubmit."))
    if wanted == OnAmbiguous.RESUBMIT and accepted is not True:
        faults.append(Fault(pointer="/possible_double_charge", detail=ACCEPT))
    if wanted == OnAmbiguous.HOLD and "possible_double_charge" in given:
        faults.append(Fault(pointer="/possible_double_charge", detail="This belongs to resubmit alone. Leave it out."))
    if faults:
        raise Invalid(faults)
    return OnAmbiguous(str(wanted))


def _view(project: Project) -> dict[str, object]:
    return {
        "object": "project",
        "id": project.id,
        "name": project.name,
        "on_ambiguous": project.on_ambiguous,
        "created_at": iso(project.created_at),
    }
