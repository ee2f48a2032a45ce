"""What the database shows to be due of one account, read in one go; and when there will be something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from storage import account_tasks, callbacks, lanes, tasks
from storage.callbacks import Bell
from storage.database import Connection
from storage.records import Task, TaskStatus

READ = 200  # rows of a kind looked at in one round, where not so many can be worked on at once
ENDED_SOFTLY = (TaskStatus.EXPIRED, TaskStatus.FAILED)
DUE_STATUSES = (TaskStatus.QUEUED, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING, *ENDED_SOFTLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of each kind is worth reading. `closed`: statuses whose tasks cannot be worked on just now.

    `probe`: somebody to ask after is needed, due or not. `served`: the project that was last bought for.
    """

    purchases: int
    questions: int
    tasks_asked_after: int
    closed: tuple[TaskStatus, ...] = ()
    probe: bool = False
    served: str = ""


@dataclass(slots=True, kw_only=True)
class Round:
    """What is due, oldest first; purchases in turns of their projects. `overdue`: of those that cannot be worked on, whose
    deadline has passed. `care`: what people ordered of the account."""

    bells: list[Bell] = field(default_factory=list)
    rung: dict[str, Task] = field(default_factory=dict)
    queued: list[Task] = field(default_factory=list)
    unconfirmed: list[Task] = field(default_factory=list)
    bound: list[Task] = field(default_factory=list)
    overdue: list[Task] = field(default_factory=list)
    open_at_provider: int = 0
    next_due_at: int | None = None
    care: str | None = None


async def read(tx: Connection, account: str, limits: Limits, *, now: int) -> Round:
    """One look at an account's rows."""
    bells = await callbacks.unverified(tx, account, batch=READ)
    bound: list[Task] = []
    for status in (TaskStatus.PROCESSING, *ENDED_SOFTLY):  # what we gave up on comes last
        if (left := limits.tasks_asked_after - len(bound)) > 0:
            bound += await account_tasks.due(tx, account, status, now=now, batch=left)
    if limits.probe and not bound and (anyone := await account_tasks.one_bound(tx, account)) is not None:
        bound.append(anyone)
    following = [await account_tasks.next_due_after(tx, account, status, now=now) for status in DUE_STATUSES]
    return Round(
        bells=bells,
        rung=await tasks.read(tx, {bell.task_id for bell in bells}) if bells else {},
        queued=await _purchases(tx, account, limits, now=now),
        unconfirmed=await account_tasks.due(tx, account, TaskStatus.UNCONFIRMED, now=now, batch=limits.questions),
        bound=bound,
        overdue=await account_tasks.past_deadline(tx, account, limits.closed, now=now, batch=READ)
        if limits.closed
        else [],
        open_at_provider=await account_tasks.open_at_provider(tx, account),
        next_due_at=min((at for at in following if at is not None), default=None),
        care=await lanes.care(tx, account),
    )


async def _purchases(tx: Connection, account: str, limits: Limits, *, now: int) -> list[Task]:
    """A purchase of each project in turn, so that ten thousand of one delay another's by a turn; the one served last comes last."""
    most = limits.purchases
    projects = (
        await account_tasks.queued_projects(tx, account, now=now, after=limits.served, batch=most) if most else []
    )
    if not projects:
        return []
    share = max(-(-most // len(projects)), 2)  # two, because the first may not be startable just now
    return in_turn(await account_tasks.due_purchases(tx, account, projects, now=now, batch=share))


def in_turn(queues: Iterable[Sequence[Task]]) -> list[Task]:
    """The first of each, then the second of each, and so on."""
    return [task for task in chain.from_iterable(zip_longest(*queues)) if task is not None]


async def next_due(
    tx: Connection, account: str, not_before: Mapping[TaskStatus, int], bells_not_before: int
) -> int | None:
    """When the account's rows say there is work that may be done then."""
    times = [await callbacks.oldest_unverified(tx, account)]
    waits = [bells_not_before]
    for status in DUE_STATUSES:
        times.append(await account_tasks.next_due(tx, account, status))
        waits.append(not_before.get(status, 0))
    return min((max(at, wait) for at, wait in zip(times, waits, strict=True) if at is not None), default=None)
