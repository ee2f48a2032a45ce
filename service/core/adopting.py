"""Adopting: a person names the job of a purchase whose fate is unknown.

Their word binds the job and makes us ask after it at once; it is believed when the provider shows the job. A job that the
provider does not know is taken off again, or a slip of the pen would cost the task the job that it really has.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.events import EventType
from service.core.observation import Observation
from service.core.patience import calm, late, next_turn
from service.core.step import Draft, Note, Outcome, Rules, Step, ignored, move, ordered
from service.core.surplus import without
from storage.records import Task, TaskStatus, evolve


def adoptable(task: Task, rules: Rules) -> bool:
    """Whether a person may say which job it is: nobody knows one, and the provider's verdict would still count."""
    if task.provider_task_id is not None or task.final_at is not None:
        return False
    soft_end = task.status in (TaskStatus.EXPIRED, TaskStatus.FAILED) and not late(task, rules)
    return task.status is TaskStatus.UNCONFIRMED or soft_end


def adopt(task: Task, seen: Observation, rules: Rules) -> Step:
    """T3 by a person's word. What they tell subscribers of is told when the provider confirms it."""
    named = seen.reading.provider_task_id
    if named is None or not rules.configured or not adoptable(task, rules):
        return ignored(task)
    changed = evolve(
        without(calm(task), named, task.account),
        status=TaskStatus.PROCESSING if task.status is TaskStatus.UNCONFIRMED else task.status,
        provider_task_id=named,
        adopted_at=rules.now,
        permitted_at=None,
        due_at=rules.now,
    )
    return move(task, changed, rules, ordered("adopted", seen, provider_task_id=named))


def release(task: Task, rules: Rules, why: str) -> Step:
    """T18: the job that a person named is not the task's, which stands where it stood before."""
    free = evolve(calm(task), provider_task_id=None, adopted_at=None, phase=None, due_at=None)
    if task.status is TaskStatus.PROCESSING:
        free = evolve(free, status=TaskStatus.UNCONFIRMED)
        free = evolve(free, due_at=next_turn(free, rules))
    note = Note(kind="released", detail={"provider_task_id": task.provider_task_id, "why": why})
    draft = Draft(type=EventType.TASK_CONFLICT, discriminator=f"adoption:{task.provider_task_id}")
    return replace(move(task, free, rules, note, draft), outcome=Outcome.CONFLICT)
