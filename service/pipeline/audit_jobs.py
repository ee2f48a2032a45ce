"""The audit's second half: every end was told, every open task has a time, and every job that is known of belongs to a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import orjson

from service.core.times import iso
from service.pipeline.audit_part import Part
from service.providers.base import Provider, Push
from storage import stocktake, tasks
from storage.database import Connection
from storage.records import TaskStatus
from storage.stocktake import Counted, Named, Unowned

BATCH = 500
TIMED = (TaskStatus.QUEUED, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING)  # a submission under way has its deadline

Job = tuple[str, str]  # account, the provider's id


async def page(tx: Connection, project_id: str, *, after: str, since: int) -> tuple[Part, int, str]:
    """The tasks behind an id. Returns what came of them, how many were looked at, and the last one's id."""
    looked_at = await stocktake.tasks(tx, project_id, after=after, batch=BATCH)
    if not looked_at:
        return Part(), 0, after
    found = [task for task in looked_at if task.finished_at is None or task.updated_at >= since]
    ids = [task.id for task in found]
    ends, named = await stocktake.ends(tx, ids), await stocktake.named(tx, ids)
    loose = list(unbound(found, named))
    owners = await tasks.bound(tx, [(one.account, one.provider_task_id) for one in loose]) if loose else {}
    return judge(found, ends, loose, owners), len(looked_at), looked_at[-1].id


def judge(
    found: Sequence[Counted], ends: Mapping[str, Sequence[str]], loose: Sequence[Named], owners: Mapping[Job, str]
) -> Part:
    """`loose`: jobs that replies named and their own task does not have. `owners`: whose those are instead."""
    part = Part()
    for task in found:
        part.counts["tasks"] += 1
        part.counts["ended" if task.finished_at is not None else "open"] += 1
        part.counts["bound"] += task.provider_task_id is not None
        part.counts["surplus"] += len(surplus_of(task))
        _told(task, ends.get(task.id, ()), part)
    for one in loose:
        if (one.account, one.provider_task_id) in owners:
            continue  # counted with the task that has it; the contradiction was told as task.conflict
        part.counts["adrift"] += 1
        text = f"{one.account} named {one.provider_task_id} for {one.task_id}, which does not have it"
        names = {"task": one.task_id, "submission": one.submission_id, "provider_task_id": one.provider_task_id}
        part.accuse("job_without_task", text, **names)
    part.counts["jobs"] = part.counts["bound"] + part.counts["surplus"] + part.counts["adrift"]
    return part


def surplus_of(task: Counted) -> set[Job]:
    return {(one["account"], one["provider_task_id"]) for one in orjson.loads(task.surplus)}


def unbound(found: Sequence[Counted], named: Sequence[Named]) -> Iterator[Named]:
    """Of the jobs that replies named, those that are neither their task's own nor on its bill."""
    known = {
        task.id: {(task.account, task.provider_task_id), *surplus_of(task)} if task.surplus != "[]" else task
        for task in found
    }
    for one in named:
        has = known[one.task_id]
        if isinstance(has, Counted):
            has = {(has.account, has.provider_task_id)}
        if (one.account, one.provider_task_id) not in has:
            yield one


def _told(task: Counted, ends: Sequence[str], part: Part) -> None:
    if task.finished_at is None:
        if ends:
            text = f"{task.id} is {task.status}, and {ends[-1]} was told"
            part.accuse("end_told_too_soon", text, task=task.id)
        if task.due_at is None and task.status in TIMED:
            part.accuse("task_without_time", f"{task.id} is {task.status} without a time", task=task.id)
    elif not ends:
        text = f"{task.id} is {task.status} since {iso(task.finished_at)}, and no event tells it"
        part.accuse("end_untold", text, task=task.id)
    elif ends[-1] != f"task.{task.status}":
        text = f"{task.id} is {task.status}, and what was told last is {ends[-1]}"
        part.accuse("end_told_otherwise", text, task=task.id)


async def orphans(
    tx: Connection, providers: Mapping[str, Provider], *, after: str, since: int
) -> tuple[Part, int, str]:
    """Pushes for submissions that are not there: a job that was paid for, and no task."""
    part = Part()
    found = await stocktake.unowned(tx, after=after, since=since, batch=BATCH)
    for one in found:
        part.counts["orphans"] += 1
        job = job_of(one, providers)
        what = f"{one.provider} pushed for {one.submission_id}" + (f", job {job}" if job else "")
        text = (
            f"{what}, at {iso(one.received_at)}: there is no such submission (an older database, or one that was cut)"
        )
        names = {"callback": one.id, "submission": one.submission_id, "provider": one.provider}
        part.accuse("orphan", text, **names, **({"provider_task_id": job} if job else {}))
    return part, len(found), found[-1].id if found else after


def job_of(one: Unowned, providers: Mapping[str, Provider]) -> str | None:
    """The job that a kept push names, as far as it can be read."""
    provider = providers.get(one.provider)
    return provider.read(Push(headers={}, body=one.raw)).provider_task_id if provider is not None else None
