"""A task's history: each observation that changed it for good, with all that decided, so that its life can be lived again.

An answer that only moves the next look (a poll of a job that is still running) is no part of it: nothing that is decided
later depends on when a task is looked at next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import orjson

from service.core import fallback
from service.core.observation import Actor, Claim, Observation, Source, load
from service.core.step import Rules, Step
from storage.records import ObservationRow, Task, light

# What of `Rules` decides, and what only says when to look next.
DECIDING: Final = ("look_up", "resend", "settle_seconds", "configured")
SCHEDULING: Final = ("jitter", "pushes", "expected_seconds", "curve")
FLEETING: Final = ("due_at", "updated_at", "version")  # of a task: they change without anything having happened
# What a task was made with and may lose: to the account that it goes on to, to a price in another unit.
OVERWRITTEN: Final = (
    "account", "provider", "model", "input", "provider_options", "fallbacks", "cost_unit", "cost_estimated", "unit_price",
)  # fmt: skip
# Of an observation: what has no column of its own, and how it is read back. `at` is added where it differs from the instant
# of recording.
UNSEEN: Final[Mapping[str, Callable[[Any], object]]] = {
    "prompted_by": Claim,
    "submission_deadline_at": int,
    "by": lambda said: Actor(**said),
}

_lasting = attrgetter(*(one.name for one in fields(Task) if one.name not in FLEETING))
_overwritten = attrgetter(*OVERWRITTEN)


@light(frozen=True, slots=True, kw_only=True)
class Heard:
    """One observation as it was folded. `version`: of the task after it, so no two of a task share one.

    `rules` as far as they decide; `before`: what the step overwrote of what the task was made with.
    """

    seen: Observation
    version: int
    rules: Rules
    taken: bool = False
    before: Mapping[str, str | None]


def changes_for_good(task: Task, step: Step) -> bool:
    """Whether an observation that led to this step belongs to the history of its task."""
    if step.task is task:
        return False
    return bool(step.notes or step.drafts) or _lasting(task) != _lasting(step.task)


def context(task: Task, seen: Observation, rules: Rules, step: Step, *, taken: bool) -> str:
    """What decided beside the columns of an observation, and what the step overwrote, as it is kept."""
    told: dict[str, object] = {
        "look_up": rules.look_up,
        "resend": rules.resend,
        "settle_seconds": rules.settle_seconds,
    }
    if not rules.configured:
        told["configured"] = False
    if taken:
        told["taken"] = True
    if seen.at != rules.now:
        told["at"] = seen.at
    for name in UNSEEN:
        if (value := getattr(seen, name)) is not None:
            told[name] = value
    if task.fallbacks != "[]" and seen.source is Source.SUBMIT:
        named = {one.account for one in fallback.load(task.fallbacks)}
        told["usable"] = sorted(one for one in named if rules.usable is None or one in rules.usable)
    was, now = _overwritten(task), _overwritten(step.task)
    if was != now:
        told["was"] = {name: a for name, a, b in zip(OVERWRITTEN, was, now, strict=True) if a != b}
    return orjson.dumps(told).decode()


def heard(row: ObservationRow) -> Heard:
    """What a kept observation said, and how it was folded. Raises ValueError for one that changed nothing."""
    if row.version is None or row.context is None:
        raise ValueError(f"{row.id} is not part of the history of {row.task_id}")
    told: dict[str, Any] = orjson.loads(row.context)
    unseen: dict[str, Any] = {name: read(told[name]) for name, read in UNSEEN.items() if name in told}
    seen = Observation(
        task_id=row.task_id,
        source=Source(row.source),
        reading=load(row.content),
        at=told.get("at", row.seen_at),
        submission_id=row.submission_id,
        account=row.account,
        **unseen,
    )
    return Heard(
        seen=seen,
        version=row.version,
        rules=_rules(told, row.seen_at),
        taken=told.get("taken", False),
        before=told.get("was", {}),
    )


def _rules(told: Mapping[str, Any], now: int) -> Rules:
    return Rules(
        now=now,
        jitter=0.0,
        pushes=False,
        expected_seconds=0.0,
        look_up=told["look_up"],
        resend=told["resend"],
        settle_seconds=told["settle_seconds"],
        configured=told.get("configured", True),
        usable=frozenset(told.get("usable", ())),
    )
