"""What one observation changes in a task, and what is told of it. `core.lifecycle` decides; here it is written down."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import field
from enum import StrEnum

from service.core import money
from service.core.durations import Curve
from service.core.events import EventType
from service.core.observation import Observation, Reading
from storage.records import Task, evolve, light


class Outcome(StrEnum):
    """What came of an observation."""

    CHANGED = "changed"  # the task says something new
    SCHEDULED = "scheduled"  # only the next look moved
    IGNORED = "ignored"  # nothing to do with the task as it is now
    CONFLICT = "conflict"  # contradicts what is settled; whatever else the message says may still have changed the task


@light(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the reducer must know beside the task: the time, a number drawn by chance, and the account's contract and settings."""

    now: int
    jitter: float  # 0 … 1
    pushes: bool  # the provider will push for this task
    look_up: bool  # a lost job can be looked for
    expected_seconds: float
    curve: Callable[[Task], Curve] | None = None  # how long such jobs take, once learned
    settle_seconds: float = 120.0
    # Every submission carries one id of ours that the provider knows: a lost one may be made again.
    resend: bool = False
    configured: bool = True  # the account still exists; nobody can be asked otherwise
    usable: Container[str] | None = None  # accounts that a task may fail over to; None: any


@light(frozen=True, slots=True, kw_only=True)
class Note:
    """A line of the timeline, not yet stored."""

    kind: str
    detail: Mapping[str, object] = field(default_factory=dict)


@light(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event to be rendered. `discriminator` tells two facts of one type apart; equal facts get equal ids."""

    type: EventType
    discriminator: str = ""
    hard: bool = False
    task: Task | None = None  # as the event shows it, filled in with the step


@light(frozen=True, slots=True, kw_only=True)
class Step:
    """What an observation changes. `task` is the very one given when nothing does."""

    task: Task
    outcome: Outcome
    notes: tuple[Note, ...] = ()
    drafts: tuple[Draft, ...] = ()


def ignored(task: Task) -> Step:
    return Step(task=task, outcome=Outcome.IGNORED)


def move(task: Task, changed: Task, rules: Rules, note: Note | None = None, draft: Draft | None = None) -> Step:
    """The step from `task` to `changed`: one version, and one number in the sequence when an event tells of it."""
    if note is None and draft is None and changed == task:
        return ignored(task)
    news = draft is not None or _shown(task) != _shown(changed)
    after = evolve(
        changed,
        version=task.version + 1,
        sequence=task.sequence + (draft is not None),
        updated_at=rules.now if news else task.updated_at,
    )
    return Step(
        task=after,
        outcome=Outcome.CHANGED if news else Outcome.SCHEDULED,
        notes=(() if note is None else (note,)) + _charged_otherwise(task, after),
        drafts=() if draft is None else (_showing(draft, after),),
    )


def conflict(task: Task, kind: str, about: str, why: str) -> Step:
    """A contradiction: the task stays as it is; recorded, and told to those who asked for such events.

    `kind` and `about` name the fact: however often it is heard, its event has one id.
    """
    after = evolve(task, version=task.version + 1, sequence=task.sequence + 1)
    note = Note(kind="conflict", detail={"conflict": kind, "why": why})
    draft = Draft(type=EventType.TASK_CONFLICT, discriminator=f"{kind}:{about}", task=after)
    return Step(task=after, outcome=Outcome.CONFLICT, notes=(note,), drafts=(draft,))


def both(first: Step, second: Step) -> Step:
    """Two steps that one message makes, `second` starting where `first` ended: they share a version."""
    if first.outcome is Outcome.IGNORED:
        return second
    if second.outcome is Outcome.IGNORED:
        return first
    version = first.task.version
    return Step(
        task=evolve(second.task, version=version),
        outcome=next(one for one in _WEIGHT if one in (first.outcome, second.outcome)),
        notes=first.notes + second.notes,
        drafts=first.drafts + tuple(_at_version(draft, version) for draft in second.drafts),
    )


def said(kind: str, reading: Reading, **more: object) -> Note:
    """A note with what the provider said, leaving out what it did not."""
    detail: dict[str, object] = {
        "provider_task_id": reading.provider_task_id,
        "provider_status": reading.provider_status,
        "message": reading.failure.message if reading.failure is not None else None,
        "detail": reading.detail,
        **more,
    }
    return Note(kind=kind, detail={name: value for name, value in detail.items() if value is not None})


def ordered(kind: str, seen: Observation, **more: object) -> Note:
    """A note of what a person ordered, with who it was."""
    by = {} if seen.by is None else {"by": seen.by.name, "key": seen.by.key_id}
    return Note(kind=kind, detail={**more, **by})


def _charged_otherwise(task: Task, after: Task) -> tuple[Note, ...]:
    """A note with both amounts, when the provider charges another than was expected until now."""
    expected = task.cost_charged if task.cost_charged is not None else task.cost_estimated
    if after.cost_charged == task.cost_charged or after.cost_charged is None or expected is None:
        return ()
    if task.cost_unit == after.cost_unit and money.equal(expected, after.cost_charged):
        return ()
    detail = {
        "charged": after.cost_charged,
        "unit": after.cost_unit,
        "expected": expected,
        "expected_unit": task.cost_unit,
    }
    return (Note(kind="charged", detail=detail),)


_WEIGHT = (Outcome.CONFLICT, Outcome.CHANGED, Outcome.SCHEDULED)


def _at_version(draft: Draft, version: int) -> Draft:
    return _showing(draft, evolve(draft.task, version=version)) if draft.task is not None else draft


def _showing(draft: Draft, task: Task) -> Draft:
    return Draft(type=draft.type, discriminator=draft.discriminator, hard=draft.hard, task=task)


def _shown(task: Task) -> tuple[object, ...]:
    """What a reader of the task sees change between two events."""
    return (
        task.status,
        task.phase,
        task.provider_status,
        task.provider_task_id,
        task.progress,
        task.charge,
        task.cost_charged,
    )
