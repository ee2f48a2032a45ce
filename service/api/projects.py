"""/v1/projects: the caller's own project, so far only its secret."""

from __future__ import annotations

from starlette.responses import Response

from service.api.call import Call, reply
from service.api.problems import Problem
from service.api.query import Query
from storage import projects


async def secret(call: Call) -> Response:
    """GET /v1/projects/current/secret: what signs the events that go to a task's own `webhook_url`."""
    Query(call.request, ()).settle()
    project = await call.context.database.read(lambda tx: projects.get(tx, call.project_id))
    if project is None:
        raise Problem("not_found", "The project of this key is gone.")
    opened = call.context.keyring.open(project.secret, "project-secret")
    return reply({"object": "project_secret", "project": project.id, "secret": opened})
