"""/v1/tasks: list, read, follow, cancel. How one is created stands in `creation`, how a purchase in doubt is settled in `resolve`."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from starlette.responses import Response

from service.api import story
from service.api.call import Call, absent, listed, reply
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.core.care import care_of, holds_of
from service.core.events import task_view
from service.core.following import Facts, Next, next_step
from service.core.observation import Actor, Claim, Observation, Reading, Source
from service.core.schedule import Breaker
from service.core.times import SECOND, iso
from storage import account_tasks, callbacks, lanes, listings, submissions, tasks
from storage.database import Connection
from storage.listings import TaskFilter
from storage.records import Lane, LaneKind, Submission, Task, TaskStatus

CURSOR = re.compile(r"task_[0-9A-Z]{26}")
FILTERS = ("limit", "after", "status", "provider", "account", "reference", "created_after", "created_before")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A task with what its view tells beside it."""

    task: Task
    submissions: tuple[Submission, ...] = ()
    lane: Lane | None = None
    open_jobs: int = 0  # at its account, where it waits to be one


async def page(call: Call) -> Response:
    """GET /v1/tasks: newest first."""
    query = Query(call.request, FILTERS, groups=("metadata.",))
    limit, after = query.limit(), query.cursor(CURSOR)
    wanted = TaskFilter(
        status=query.choice("status", [status.value for status in TaskStatus]),
        provider=query.text("provider"),
        account=query.text("account"),
        reference=query.text("reference"),
        metadata=orjson.dumps(query.group("metadata.")).decode(),
        created_after=query.instant("created_after"),
        created_before=query.instant("created_before"),
    )
    query.settle()
    start = after[0] if after else None
    found = await call.context.database.read(
        lambda tx: listings.task_page(tx, call.project_id, wanted, after=start, limit=limit + 1)
    )
    shown, more = found[:limit], len(found) > limit
    next = cursor(shown[-1].id) if more else None
    return listed(call, [_plain(task, call.context) for task in shown], has_more=more, next=next)


async def one(call: Call) -> Response:
    """GET /v1/tasks/{id}. `?wait=N` holds until it ends or, given If-None-Match, until it says something else."""
    query = Query(call.request, ("wait",))
    seconds = query.whole("wait", 0, call.context.limits.wait_seconds, 0)
    query.settle()
    known = ", ".join(call.request.headers.getlist("if-none-match")) or None
    seen = await follow(call, call.id("task"), seconds, known)
    body = orjson.dumps(view(seen, call.context))
    tag = _tag(body)
    headers = {"etag": tag, "cache-control": "private, no-cache", **come_back(seen, call.context)}
    if known is not None and _names(known, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media_type="application/json")


async def timeline(call: Call) -> Response:
    """GET /v1/tasks/{id}/timeline: everything that happened, oldest first, and what happens next."""
    Query(call.request, ()).settle()
    task_id = call.id("task")
    seen = await read(call, task_id)
    entries = await call.context.database.read(lambda tx: callbacks.timeline_of(tx, task_id))
    return reply(
        {
            "object": "timeline",
            "task": task_id,
            "status": seen.task.status,
            "data": story.tell_all(entries, seen.task),
            "next": story.next_view(following(seen, call.context)),
        }
    )


async def cancel(call: Call) -> Response:
    """POST /v1/tasks/{id}/cancel: only what was not bought yet can be taken back."""
    Query(call.request, ()).settle()
    context, task_id = call.context, call.id("task")
    task = (await read(call, task_id)).task
    if task.status is TaskStatus.QUEUED:
        wish = Observation(
            task_id=task_id,
            source=Source.OPERATOR,
            reading=Reading(claim=Claim.CANCEL),
            at=context.clock(),
            by=Actor(key_id=call.key.id, name=call.key.name),
        )
        recorded = await context.recorder.record(wish)
        task = recorded.task or task
        if task.status is TaskStatus.CANCELED and recorded.outcome == "changed":
            return reply(view(await read(call, task_id), context))
    raise Problem("cannot_cancel", _why_not(task))


def _why_not(task: Task) -> str:
    if task.finished_at is not None:
        return f"This task has ended: it is {task.status}."
    if task.status is TaskStatus.PROCESSING:
        return f"{task.provider} has this job and offers no cancel; it runs to its end and is charged."
    return f"It is being bought from {task.provider}, which cannot be taken back; it may run to its end and be charged."


# Reading and following


async def read(call: Call, task_id: str) -> Seen:
    async def unit(tx: Connection) -> Seen | None:
        task = await tasks.get(tx, task_id, call.project_id)
        if task is None:
            return None
        bought = tuple(await submissions.of_task(tx, task_id))
        lane = await lanes.get(tx, LaneKind.ACCOUNT, task.account) if task.final_at is None else None
        open_jobs = await account_tasks.open_at_provider(tx, task.account) if task.status is TaskStatus.QUEUED else 0
        return Seen(task=task, submissions=bought, lane=lane, open_jobs=open_jobs)

    seen = await call.context.database.read(unit)
    if seen is None:
        raise absent("task")
    return seen


async def follow(call: Call, task_id: str, seconds: float, known: str | None) -> Seen:
    """The task now, or when there is news within the time."""

    def enough(seen: Seen) -> bool:
        if seen.task.finished_at is not None:
            return True
        return known is not None and not _names(known, _tag(orjson.dumps(view(seen, call.context))))

    return await call.context.watch.until(task_id, lambda: read(call, task_id), enough, seconds=seconds)


# Showing


def _plain(task: Task, context: Context) -> dict[str, object]:
    output_url = context.output_url(task.id) if task.outputs else None
    shown = task_view(task, public_url=context.base, output_url=output_url)
    return shown if task.erased_at is None else {**shown, "erased_at": iso(task.erased_at)}


def view(seen: Seen, context: Context) -> dict[str, object]:
    """The whole task: as events show it, with evidence and what comes next."""
    shown = _plain(seen.task, context)
    shown["evidence"] = [_evidence(submission) for submission in seen.submissions]
    shown["next"] = story.next_view(following(seen, context))
    return shown


def _evidence(submission: Submission) -> Mapping[str, object]:
    return {
        "submission": submission.id,
        "number": submission.number,
        "account": submission.account,
        "status": submission.status,
        "provider_task_id": submission.provider_task_id,
        "detail": submission.detail,
        "created_at": iso(submission.created_at),
        "deadline_at": iso(submission.deadline_at),
        "settled_at": iso(submission.settled_at) if submission.settled_at is not None else None,
    }


def following(seen: Seen, context: Context) -> Next | None:
    """What happens to the task next."""
    task, lane = seen.task, seen.lane
    account = context.accounts.get(task.account)
    if account is None:
        return next_step(task, Facts(now=context.clock(), configured=False))
    holds = holds_of(lane)
    facts = Facts(
        now=context.clock(),
        pushes=account.pushes,
        look_up=account.look_up,
        resend=account.provider.traits.resend,
        settle_seconds=account.settle_seconds,
        held_until=holds.submits.until or None,
        held_reason=holds.submits.reason,
        refused_since=holds.submits.refused_since,
        queries_held_until=holds.queries.until or None,
        queries_held_reason=holds.queries.reason,
        probe_at=Breaker.load(lane.breaker).next_probe_at if lane is not None else None,
        paused_at=care_of(lane).paused_at,
        rate=account.rate,
        most_open=account.max_open_tasks,
        open_jobs=seen.open_jobs,
    )
    return next_step(task, facts)


def come_back(seen: Seen, context: Context) -> dict[str, str]:
    """When it is worth asking again after a task that goes on."""
    if seen.task.finished_at is not None:
        return {}
    coming = following(seen, context)
    at = coming.at if coming is not None else None
    seconds = math.ceil((at - context.clock()) / SECOND) if at is not None else 1
    return {"retry-after": str(min(max(seconds, 1), 60))}


def _tag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=15).hexdigest()}"'


def _names(known: str, tag: str) -> bool:
    """Whether an If-None-Match names the tag (weakly, RFC 9110 §13.1.2)."""
    return known.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in known.split(",")]
