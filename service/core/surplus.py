"""Jobs that were bought beside a task's own: they are never bound and never relayed, and what they cost is never hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from service.core import money
from service.core.observation import Reading
from storage.records import Charge, Surplus, Task, evolve

KEPT: Final = 20  # of one task; further ones are still told of


def counted(task: Task, found: str, account: str, now: int, reading: Reading | None = None) -> Task:
    """The task with one more job on its bill. `reading`: a message about that very job, which may state what it costs."""
    known = next((one for one in task.surplus if (one.provider_task_id, one.account) == (found, account)), None)
    here = account == task.account  # what another account's job costs was forgotten when the task went on
    job = known or Surplus(
        provider_task_id=found,
        account=account,
        found_at=now,
        unit=task.cost_unit if here else None,
        estimated=task.cost_estimated if here else None,
        unit_price=task.unit_price if here else None,
    )
    if reading is not None and reading.charged is not None and _amount(reading.charged):
        unit = reading.cost_unit or job.unit
        if unit != job.unit:  # the estimate and the price speak of another unit
            job = replace(job, unit=unit, estimated=None, unit_price=None)
        job = replace(job, charged=reading.charged)
    if job is known or (known is None and len(task.surplus) >= KEPT):
        return task
    others = tuple(one for one in task.surplus if one is not known)
    return evolve(task, surplus=(*others, job))


def without(task: Task, found: str, account: str) -> Task:
    """The task once this job is its own."""
    left = tuple(one for one in task.surplus if (one.provider_task_id, one.account) != (found, account))
    return task if len(left) == len(task.surplus) else evolve(task, surplus=left)


def charge_told(task: Task) -> Charge:
    """What the task may have cost in all: whoever has bought a job too many has not got away for nothing."""
    hides = task.charge in (Charge.NONE, Charge.REFUNDED)
    return Charge.POSSIBLE if task.surplus and hides else task.charge


def _amount(text: str) -> bool:
    try:
        money.amount(text)
    except money.BadAmount:
        return False
    return True
