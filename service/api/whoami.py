"""/v1/whoami: which key this is. What a no-code tool calls to test a connection."""

from __future__ import annotations

from starlette.responses import Response

from service.api.allowance import allowance_view
from service.api.call import Call, reply
from service.api.keys import view
from service.api.query import Query
from storage import projects
from storage.database import Connection


async def whoami(call: Call) -> Response:
    """GET /v1/whoami"""
    Query(call.request, ()).settle()
    now = call.context.clock()

    async def unit(tx: Connection) -> dict[str, object]:
        project = await projects.get(tx, call.project_id)
        bounds = await allowance_view(tx, call.project_id, now)
        return {"id": call.project_id, "name": project.name if project is not None else None, **bounds}

    project = await call.context.database.read(unit)
    return reply({**view(call.key, call.context.key_use), "project": project})
