"""POST /v1/tasks/{id}/reconcile: its provider is asked now, over the account's lane and within its rate, as after a push.

It rings; the query decides. What it brings is recorded like any other answer, and here only waited for.
"""

from __future__ import annotations

from starlette.responses import Response

from service.api.call import Call, reply
from service.api.creation import preferred_wait
from service.api.problems import Problem
from service.api.query import Query
from service.api.tasks import Seen, come_back, read, view
from service.core import asking
from service.core.observation import Actor, Claim, Observation, Reading, Source
from storage import callbacks
from storage.records import Task, TaskStatus


async def reconcile(call: Call) -> Response:
    """200 when an answer came within the time that was to be waited, else 202: it comes, and changes the task when it does."""
    query = Query(call.request, ("wait",))
    most = call.context.limits.wait_seconds
    stated = query.whole("wait", 0, most, 0)
    query.settle()
    preferred = preferred_wait(call.request, most)
    task_id, seconds = call.id("task"), stated or preferred or 0
    before = await read(call, task_id)
    if (why := why_not(call, before.task)) is not None:
        raise Problem("cannot_reconcile", why)
    await _ring(call, before.task)
    seen = await _answered(call, before, seconds) if seconds else before
    answered = seen.task.version != before.task.version
    headers = come_back(seen, call.context)
    if answered and not stated:
        headers["preference-applied"] = f"wait={preferred}"
    return reply(view(seen, call.context), 200 if answered else 202, headers)


async def _ring(call: Call, task: Task) -> None:
    """One bell of a task is enough: whoever asks while it rings hears the same answer."""
    if await call.context.database.read(lambda tx: callbacks.rings(tx, task.account, task.id)):
        return
    wish = Observation(
        task_id=task.id,
        source=Source.OPERATOR,
        reading=Reading(claim=Claim.ASKED),
        at=call.context.clock(),
        by=Actor(key_id=call.key.id, name=call.key.name),
        verified=False,
    )
    await call.context.recorder.record(wish)


async def _answered(call: Call, before: Seen, seconds: float) -> Seen:
    """The task after the answer, or as it is when the time is up. Every answer is written with the task, if only when to ask next."""
    task = before.task
    return await call.context.watch.until(
        task.id, lambda: read(call, task.id), lambda seen: seen.task.version != task.version, seconds=seconds
    )


def why_not(call: Call, task: Task) -> str | None:
    """Why nobody can be asked after it; None when somebody can."""
    account = call.context.accounts.get(task.account)
    if task.final_at is not None:
        return f"It has ended for good: it is {task.status}, and nothing can change that."
    if account is None:
        return f"Its account {task.account} is no longer configured here, so nobody can be asked."
    if task.status is TaskStatus.QUEUED:
        return "It is not bought yet, so its provider does not know it."
    if task.status is TaskStatus.SUBMITTING:
        return f"{task.provider} is being asked to take it just now; its answer is on the way."
    if not asking.askable(task):
        return f"{task.provider} named no job for it, so there is none to ask after."
    if task.provider_task_id is None and not account.look_up:
        return f"{task.provider} cannot be asked for a job whose id we do not know. POST /v1/tasks/{task.id}/resolve settles it."
    return None
