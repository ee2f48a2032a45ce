"""/v1/tasks/{id}/resolve and /v1/tasks/resolve: a person settles purchases whose fate is unknown.

A word said here becomes an observation like any other: it goes through the recorder to the one reducer, which decides whether
it counts, and writes it to the task, the timeline and the audit in one transaction.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import Response

from service.api import tasks as shown
from service.api.body import read_json, read_members
from service.api.call import Call, reply
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.core import resolving
from service.core.observation import Actor, Claim, Observation, Reading, Source
from service.core.request import Fault, Invalid
from service.core.step import Outcome, Rules
from service.core.times import parse_iso
from service.providers.reading import askable
from storage import listings, tasks
from storage.listings import TaskFilter
from storage.records import Task, TaskStatus

ACTIONS: Final = {"adopt": Claim.ADOPT, "resubmit": Claim.RESUBMIT, "abandon": Claim.ABANDON}
OF_MANY: Final = ("resubmit", "abandon")  # one job belongs to one task
FILTERS: Final = ("status", "provider", "account", "created_after", "created_before")
CURSOR: Final = re.compile(r"task_[0-9A-Z]{26}")
BATCH: Final = 200
MOST: Final = 5_000  # tasks in one request
ACCEPT = (
    "Sending it again may buy it a second time, also past the project's budget. Send possible_double_charge: true to accept "
    "that, or choose adopt (you know its job) or abandon."
)
ONLY_WITH = "This belongs to {action} alone. Leave it out."


async def one(call: Call) -> Response:
    """POST /v1/tasks/{id}/resolve: adopt, resubmit or abandon."""
    Query(call.request, ()).settle()
    context, task_id = call.context, call.id("task")
    reading = _reading(await read_json(call.request, context.limits))
    before = (await shown.read(call, task_id)).task
    if reading.claim is not Claim.ADOPT or before.provider_task_id != reading.provider_task_id:
        recorded = await context.recorder.record(_word(task_id, reading, call))
        task = recorded.task or before
        if recorded.outcome is Outcome.IGNORED and (task.provider_task_id or "") != reading.provider_task_id:
            raise await _refusal(task, reading, call)
    return reply(shown.view(await shown.read(call, task_id), context))


async def many(call: Call) -> Response:
    """POST /v1/tasks/resolve: the same word about every purchase in doubt that a filter finds, batch by batch, oldest first."""
    query = Query(call.request, ("after",))
    start = query.cursor(CURSOR)
    query.settle()
    reading, wanted = _order(await read_json(call.request, call.context.limits))
    looked, count, after = 0, 0, start[0] if start else None
    more = True
    while more and looked < MOST:
        found = await _in_doubt(call, wanted, after)
        told = await call.context.recorder.record_all([_word(task_id, reading, call) for task_id in found])
        count += sum(one.outcome is not Outcome.IGNORED for one in told)
        looked, more, after = looked + len(found), len(found) == BATCH, found[-1] if found else after
    next = cursor(after) if more and after is not None else None
    return reply(
        {"object": "resolution", "action": reading.claim, "count": count, "has_more": next is not None, "next": next}
    )


async def _in_doubt(call: Call, wanted: TaskFilter, after: str | None) -> list[str]:
    return await call.context.database.read(
        lambda tx: listings.unconfirmed(tx, call.project_id, wanted, after=after, limit=BATCH)
    )


def _word(task_id: str, reading: Reading, call: Call) -> Observation:
    by = Actor(key_id=call.key.id, name=call.key.name)
    return Observation(task_id=task_id, source=Source.OPERATOR, reading=reading, at=call.context.clock(), by=by)


async def _refusal(task: Task, reading: Reading, call: Call) -> Problem:
    """Why the word did not count."""
    context, named = call.context, reading.provider_task_id
    if (why := resolving.why_not(task, reading.claim, _rules(task, context))) is not None:
        return Problem("cannot_resolve", why)
    owner = await context.database.read(lambda tx: tasks.bound(tx, [(task.account, named or "")]))
    if not owner:
        return Problem("cannot_resolve", "It changed in this very moment. Look at it, then decide again.")
    # A task of another project is not named to this one.
    [owner_id] = owner.values()
    mine = await context.database.read(lambda tx: tasks.get(tx, owner_id, call.project_id))
    whose = f"of {mine.id}" if mine is not None else "of another task"
    return Problem("job_taken", f"{named} is the job {whose}. Nothing was changed; check which job is this task's.")


def _rules(task: Task, context: Context) -> Rules:
    """As far as they decide what a person may say."""
    now, configured = context.clock(), task.account in context.accounts
    return Rules(
        now=now,
        jitter=0.0,
        pushes=False,
        look_up=False,
        expected_seconds=0.0,
        configured=configured,
    )


# Reading the body


def _reading(body: object) -> Reading:
    """The word about one task. Raises `Invalid` with every fault."""
    faults: list[Fault] = []
    given = read_members(body, ("action", "provider_task_id", "possible_double_charge"), faults)
    claim = _action(given, tuple(ACTIONS), faults)
    job = _job(given, faults) if claim is Claim.ADOPT else None
    _refuse_stray(given, "provider_task_id", "adopt", claim, faults)
    _accepted(given, claim, faults)
    if faults or claim is None:
        raise Invalid(faults)
    return Reading(claim=claim, provider_task_id=job)


def _order(body: object) -> tuple[Reading, TaskFilter]:
    """The word about many, and which those are. Raises `Invalid` with every fault."""
    faults: list[Fault] = []
    given = read_members(body, ("filter", "action", "possible_double_charge"), faults)
    claim = _action(given, OF_MANY, faults)
    _accepted(given, claim, faults)
    wanted = _filter(given.get("filter"), faults)
    if faults or claim is None:
        raise Invalid(faults)
    return Reading(claim=claim), wanted


def _action(given: dict[str, object], known: tuple[str, ...], faults: list[Fault]) -> Claim | None:
    action = given.get("action")
    if isinstance(action, str) and action in known:
        return ACTIONS[action]
    detail = f"This must be {', '.join(known[:-1])} or {known[-1]}."
    if action == "adopt":
        detail += " A job belongs to one task: POST /v1/tasks/{id}/resolve."
    faults.append(Fault(pointer="/action", detail=detail))
    return None


def _job(given: dict[str, object], faults: list[Fault]) -> str | None:
    job = given.get("provider_task_id")
    if isinstance(job, str) and askable(job):
        return job
    detail = "This must be the provider's id of the job, in quotes: 1 to 128 letters, digits, hyphens or underscores."
    faults.append(Fault(pointer="/provider_task_id", detail=detail))
    return None


def _accepted(given: dict[str, object], claim: Claim | None, faults: list[Fault]) -> None:
    """A second charge is accepted in so many words or not at all."""
    if claim is Claim.RESUBMIT and given.get("possible_double_charge") is not True:
        faults.append(Fault(pointer="/possible_double_charge", detail=ACCEPT))
    _refuse_stray(given, "possible_double_charge", "resubmit", claim, faults)


def _refuse_stray(given: dict[str, object], name: str, action: str, claim: Claim | None, faults: list[Fault]) -> None:
    if name in given and claim not in (None, ACTIONS[action]):
        faults.append(Fault(pointer=f"/{name}", detail=ONLY_WITH.format(action=action)))


def _filter(value: object, faults: list[Fault]) -> TaskFilter:
    """Which tasks are meant; an empty filter would mean all, which must be said."""
    found: list[Fault] = []
    given = read_members(value, FILTERS, found)
    if not found and not given:
        found.append(Fault(pointer="", detail='Say which. {"status": "unconfirmed"} is all of the project\'s.'))
    if given.get("status", TaskStatus.UNCONFIRMED.value) != TaskStatus.UNCONFIRMED.value:
        found.append(Fault(pointer="/status", detail="Only what is unconfirmed can be settled in bulk."))
    wanted = TaskFilter(
        provider=_name(given, "provider", found),
        account=_name(given, "account", found),
        created_after=_instant(given, "created_after", found),
        created_before=_instant(given, "created_before", found),
    )
    faults += [Fault(pointer=f"/filter{fault.pointer}", detail=fault.detail) for fault in found]
    return wanted


def _name(given: dict[str, object], name: str, faults: list[Fault]) -> str | None:
    value = given.get(name)
    if isinstance(value, str) and value.isprintable() and 1 <= len(value) <= 128:
        return value
    if name in given:
        faults.append(Fault(pointer=f"/{name}", detail="This must be a name of 1 to 128 characters, in quotes."))
    return None


def _instant(given: dict[str, object], name: str, faults: list[Fault]) -> int | None:
    value = given.get(name)
    at = parse_iso(value) if isinstance(value, str) else None
    if name in given and at is None:
        faults.append(Fault(pointer=f"/{name}", detail="This must be an instant such as 2026-11-20T21:10:00Z."))
    return at
