"""Replay: a task's history through the reducer gives its row and its events again.

So the history is the truth and the row its summary; a reducer that is changed shows here whether it still tells the same of
what has already happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Final

from service.core.events import EventType, event_id
from service.core.history import OVERWRITTEN, Heard
from service.core.lifecycle import advance
from service.core.step import Draft, Step
from storage.records import Task, TaskStatus, evolve, light

# What stays as a client asked for it.
GIVEN: Final = (
    "id", "project_id", "metadata", "reference", "webhook_endpoint_id", "webhook_url", "webhook_events", "traceparent",
    "on_ambiguous", "deadline_at", "created_at", "booked",
)  # fmt: skip
# What is not replayed: when to look next, and how many looks there were that changed nothing else.
UNTOLD: Final = ("due_at", "version")


@light(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A life lived again. `idle`: versions of observations that the reducer makes nothing of any more."""

    task: Task
    steps: tuple[Step, ...]
    idle: tuple[int, ...] = ()


@light(frozen=True, slots=True, kw_only=True)
class Told:
    """One event of a task, and the task as it shows it."""

    id: str
    type: EventType
    sequence: int
    hard: bool
    at: int
    task: Task


def made(task: Task, history: Sequence[Heard]) -> Task:
    """A task as it was made, from its row and all that was overwritten since."""
    first = {name: getattr(task, name) for name in OVERWRITTEN}
    for one in reversed(history):
        first.update(one.before)
    given = {name: getattr(task, name) for name in GIVEN}
    return Task(**given, **first, status=TaskStatus.QUEUED, due_at=task.created_at, updated_at=task.created_at)


def replay(task: Task, history: Iterable[Heard]) -> Replayed:
    """Fold a history, in its order, into the task as it was made."""
    steps: list[Step] = []
    idle: list[int] = []
    for one in history:
        # Versions in between went by with looks that changed nothing else.
        task = evolve(task, version=one.version - 1)
        step = advance(task, one.seen, one.rules, taken=one.taken)
        if step.task is task:
            idle.append(one.version)
        steps.append(step)
        task = step.task
    return Replayed(task=task, steps=tuple(steps), idle=tuple(idle))


def told(life: Replayed, history: Sequence[Heard], key: bytes) -> list[Told]:
    """The events of a life, each fact once: a contradiction that is heard again is not told again."""
    facts: dict[str, Told] = {}
    for one, step in zip(history, life.steps, strict=True):
        for draft in step.drafts:
            fact = _told(draft, one.rules.now, key)
            facts.setdefault(fact.id, fact)
    return list(facts.values())


def differences(task: Task, life: Replayed) -> Iterator[tuple[str, object, object]]:
    """(field, as stored, as replayed) for every field in which the two differ."""
    for one in fields(Task):
        stored, again = getattr(task, one.name), getattr(life.task, one.name)
        if one.name not in UNTOLD and stored != again:
            yield one.name, stored, again
    if task.version < life.task.version:
        yield "version", task.version, life.task.version
    for version in life.idle:
        yield "history", f"the observation of version {version} changed it", "it changes nothing"


def _told(draft: Draft, at: int, key: bytes) -> Told:
    task = draft.task
    assert task is not None
    return Told(
        id=event_id(key, task.id, draft.type, draft.discriminator),
        type=draft.type,
        sequence=task.sequence,
        hard=draft.hard,
        at=at,
        task=task,
    )
