"""What the database shows to be due of one account, read in one go; and when there will be something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage import callbacks, tasks
from storage.database import Connection
from storage.records import Task, TaskStatus

READ = 200  # rows of a kind looked at in one round, where not so many can be worked on at once
ENDED_SOFTLY = (TaskStatus.EXPIRED, TaskStatus.FAILED)
DUE_STATUSES = (TaskStatus.QUEUED, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING, *ENDED_SOFTLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of each kind is worth reading. `closed`: statuses whose tasks cannot be worked on just now.

    `probe`: somebody to ask after is needed, due or not.
    """

    purchases: int
    questions: int
    tasks_asked_after: int
    closed: tuple[TaskStatus, ...] = ()
    probe: bool = False


@dataclass(slots=True, kw_only=True)
class Round:
    """What is due, oldest first. `overdue`: of those that cannot be worked on, whose deadline has passed."""

    bells: list[tuple[str, str, str, int]] = field(default_factory=list)
    rung: dict[str, Task] = field(default_factory=dict)
    queued: list[Task] = field(default_factory=list)
    unconfirmed: list[Task] = field(default_factory=list)
    bound: list[Task] = field(default_factory=list)
    overdue: list[Task] = field(default_factory=list)
    open_at_provider: int = 0
    next_due_at: int | None = None


async def read(tx: Connection, account: str, limits: Limits, *, now: int) -> Round:
    """One look at an account's rows."""
    bells = await callbacks.unverified(tx, account, batch=READ)
    bound: list[Task] = []
    for status in (TaskStatus.PROCESSING, *ENDED_SOFTLY):  # what we gave up on comes last
        if (left := limits.tasks_asked_after - len(bound)) > 0:
            bound += await tasks.due(tx, account, status, now=now, batch=left)
    if limits.probe and not bound and (anyone := await tasks.one_bound(tx, account)) is not None:
        bound.append(anyone)
    following = [await tasks.next_due_after(tx, account, status, now=now) for status in DUE_STATUSES]
    return Round(
        bells=bells,
        rung=await tasks.read(tx, {bell[0] for bell in bells}) if bells else {},
        queued=await tasks.due(tx, account, TaskStatus.QUEUED, now=now, batch=limits.purchases),
        unconfirmed=await tasks.due(tx, account, TaskStatus.UNCONFIRMED, now=now, batch=limits.questions),
        bound=bound,
        overdue=await tasks.past_deadline(tx, account, limits.closed, now=now, batch=READ) if limits.closed else [],
        open_at_provider=await tasks.open_at_provider(tx, account),
        next_due_at=min((at for at in following if at is not None), default=None),
    )


async def next_due(
    tx: Connection, account: str, not_before: Mapping[TaskStatus, int], bells_not_before: int
) -> int | None:
    """When the account's rows say there is work that may be done then."""
    times = [await callbacks.oldest_unverified(tx, account)]
    waits = [bells_not_before]
    for status in DUE_STATUSES:
        times.append(await tasks.next_due(tx, account, status))
        waits.append(not_before.get(status, 0))
    return min((max(at, wait) for at, wait in zip(times, waits, strict=True) if at is not None), default=None)
