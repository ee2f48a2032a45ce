"""How a task ends, and what that may have cost."""

from __future__ import annotations

from typing import Any

from service.core import money
from service.core.observation import Reading
from service.core.patience import calm, slow_poll_at
from service.core.step import Rules
from storage.records import Charge, Failure, Output, Task, TaskStatus, evolve


def ended(
    task: Task,
    status: TaskStatus,
    rules: Rules,
    *,
    final: bool,
    charge: Charge,
    failure: Failure | None = None,
    reading: Reading | None = None,
    outputs: tuple[Output, ...] | None = None,
    progress: int | None = None,
) -> Task:
    """The task at an end. One that is not final keeps its job under watch; one after such an end is late."""
    end = evolve(
        calm(task),
        status=status,
        phase=None,
        failure=failure,
        outputs=task.outputs if outputs is None else outputs,
        progress=task.progress if progress is None else progress,
        permitted_at=None,
        charge=charge,
        late=task.finished_at is not None,
        final_at=rules.now if final else None,
        finished_at=rules.now,
        due_at=None,
        **({} if reading is None else _told(task, reading)),
    )
    watched = not final and task.provider_task_id is not None
    return evolve(end, due_at=slow_poll_at(end, rules)) if watched else end


def charge_of(task: Task, reading: Reading | None, otherwise: Charge) -> Charge:
    """What an end means for the bill: an amount that the provider stated is certain, at the end or before it."""
    if reading is not None and reading.charged is not None:
        try:
            return Charge.CONFIRMED if money.amount(reading.charged) > 0 else Charge.NONE
        except money.BadAmount:
            return otherwise
    return Charge.CONFIRMED if task.charge is Charge.CONFIRMED else otherwise


def paid(task: Task, reading: Reading) -> Task:
    """An open task with what the message says it cost. Zero is no amount yet."""
    if reading.charged is None or charge_of(task, reading, Charge.NONE) is not Charge.CONFIRMED:
        return task
    return evolve(with_cost(task, reading), charge=Charge.CONFIRMED)


def with_cost(task: Task, reading: Reading) -> Task:
    return task if reading.charged is None else evolve(task, **_cost(task, reading))


def _told(task: Task, reading: Reading) -> dict[str, Any]:
    """What an end takes over from the message that brought it."""
    told = {"provider_status": reading.provider_status or task.provider_status}
    return told if reading.charged is None else told | _cost(task, reading)


def _cost(task: Task, reading: Reading) -> dict[str, Any]:
    unit = reading.cost_unit or task.cost_unit
    told: dict[str, Any] = {"cost_charged": reading.charged, "cost_unit": unit}
    if task.cost_unit not in (None, unit):
        # Estimate and price speak of the contract's own unit, this amount of another: the timeline keeps both.
        told |= {"cost_estimated": None, "unit_price": None}
    return told
