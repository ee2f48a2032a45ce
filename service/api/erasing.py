"""DELETE /v1/tasks/{id}: what the task was about is erased, its ledger stays."""

from __future__ import annotations

from starlette.responses import Response

from service.api.call import Call, absent
from service.api.problems import Problem
from service.api.query import Query
from service.pipeline.erase import CannotErase, erase


async def erase_task(call: Call) -> Response:
    """204, and again 204. 409 while it may still change or is still owed to somebody."""
    await erased(call)
    return Response(status_code=204)


async def erased(call: Call) -> str:
    """Erase the task in the path; its id. Raises `Problem`."""
    Query(call.request, ()).settle()
    task_id, act = call.id("task"), call.by("erase")
    try:
        found = await call.context.recorder.write(lambda tx, ledger: erase(tx, ledger, task_id, call.project_id, act))
    except CannotErase as error:
        raise Problem("cannot_erase", str(error)) from None
    if found is None:
        raise absent("task")
    return task_id
