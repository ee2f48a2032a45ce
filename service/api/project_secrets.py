"""/v1/projects/{id}/secret and /rotate: what signs the events that go to a task's own `webhook_url`."""

from __future__ import annotations

from starlette.responses import Response

from service.api.body import read_members, read_optional
from service.api.call import Call, absent, reply
from service.api.keys import desk
from service.api.projects import named, shown_in
from service.api.query import Query
from service.api.rotation import overlap_of
from service.core.events import iso_or_none
from service.core.request import Fault, Invalid
from service.core.times import SECOND, iso
from service.pipeline.orders import PROJECT_SECRET
from service.pipeline.projects import fresh_secret, rotate_secret
from storage import project_secrets
from storage.database import Connection
from storage.records import LaneKind, Project


async def secret(call: Call) -> Response:
    """GET /v1/projects/{id}/secret: what signs now, and until when older ones sign beside it."""
    Query(call.request, ()).settle()
    project_id, now = named(call), call.context.clock()
    live = await call.context.database.read(lambda tx: project_secrets.live(tx, project_id, now=now))
    if not live:
        raise absent("prj")
    return reply(
        {
            "object": "project_secret",
            "project": project_id,
            "secret": call.context.keyring.open(live[0].sealed, PROJECT_SECRET),
            "retiring": [{"retires_at": iso_or_none(one.retires_at)} for one in live[1:]],
        }
    )


async def rotate(call: Call) -> Response:
    """POST /v1/projects/{id}/rotate: the project with its new secret; the old one signs too for a while."""
    Query(call.request, ()).settle()
    context, orders, project_id = call.context, desk(call), named(call)
    faults: list[Fault] = []
    body = await read_optional(call.request, context.limits)
    await call.stated(body)
    overlap = overlap_of(read_members(body, ("overlap_seconds",), faults), faults)
    if faults:
        raise Invalid(faults)
    fresh, now = fresh_secret(orders), context.clock()
    retires_at = now + overlap * SECOND
    answers: list[Response] = []

    async def also(tx: Connection, project: Project) -> None:
        told = {**await shown_in(tx, project, now), "webhook_secret": fresh, "old_secret_retires_at": iso(retires_at)}
        answers[:] = [reply(told)]
        await call.keep(tx, answers[0], secret=True)

    signed = await rotate_secret(orders, project_id, fresh, overlap_seconds=overlap, also=also)
    if signed is None:
        raise absent("prj")
    for endpoint in signed:
        context.ring((LaneKind.ENDPOINT, endpoint), now)  # its lane reads its secrets again
    return answers[0]
