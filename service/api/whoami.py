"""/v1/whoami: which key this is. What a no-code tool calls to test a connection."""

from __future__ import annotations

from starlette.responses import Response

from service.api.call import Call, reply
from service.api.query import Query
from storage import projects


async def whoami(call: Call) -> Response:
    """GET /v1/whoami"""
    Query(call.request, ()).settle()
    project = await call.context.database.read(lambda tx: projects.get(tx, call.project_id))
    return reply(
        {
            "object": "key",
            "id": call.key.id,
            "name": call.key.name,
            "project": {"id": call.project_id, "name": project.name if project is not None else None},
            "scopes": sorted(call.key.scopes),
        }
    )
