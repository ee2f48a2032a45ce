"""The links to outputs: how long each lasts, when its provider is asked for another, and when there is none any more.

A link dies before the task is forgotten, so whoever follows ours is sent to the one that is good now. The answer changes
nothing else: a task that has ended stays as it ended, and no event tells of a new link.

The artefact itself is never fetched: a link is dead once the instant is past that its provider, or the link itself, states.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Final

from service.core.observation import Claim, Observation
from service.core.patience import QUERIES, calm, lasted, streak
from service.core.step import Note, Outcome, Rules, Step, both, conflict, ignored, move
from service.core.times import SECOND, iso
from storage.records import Streak, Task, TaskStatus, evolve

# Where nothing states a life. Of all pages about hosts of this model, the shortest life that one states is 24 hours (EvoLink).
ASSUMED_LIFE_SECONDS: Final = 86_400
REPEATED_SECONDS: Final = 600  # a dead link that its provider repeats, asked for another, is passed on for so long
# "There is none": one odd answer is no proof. Where the stated time is over, this only confirms what was announced; where
# nothing was, it takes what it takes to believe that a job is gone.
GONE_ANSWERS: Final = 3
GONE_SECONDS: Final = 60
GONE_UNANNOUNCED_SECONDS: Final = 600
AGAIN_SECONDS: Final = 30  # after an answer that brought no link, or none at all …
AGAIN_UNANNOUNCED_SECONDS: Final = 300  # … and where the old one may still be good


class Standing(StrEnum):
    """What can be said of the link to a task's output."""

    NONE = "none"  # there is no output, or it was erased
    LIVE = "live"
    DOUBTFUL = "doubtful"  # nobody said until when it is good, and that is long ago
    DEAD = "dead"
    GONE = "gone"  # the provider has no output any more


def standing(task: Task, now: int) -> Standing:
    """Of the first output, which is the one that our link leads to."""
    if not task.outputs:
        return Standing.NONE
    first = task.outputs[0]
    if first.gone_at is not None:
        return Standing.GONE
    told_at = first.told_at or task.finished_at or task.updated_at
    if first.expires_at is None:
        return Standing.DOUBTFUL if now >= told_at + ASSUMED_LIFE_SECONDS * SECOND else Standing.LIVE
    good_until = first.expires_at if first.expires_at > told_at else told_at + REPEATED_SECONDS * SECOND
    return Standing.DEAD if now >= good_until else Standing.LIVE


def ask_at(task: Task, now: int) -> int:
    """From when its provider may be asked for a link once more, as far as answers so far say."""
    if task.streak is None or task.streak_last_at is None:
        return now
    return task.streak_last_at + again_after(standing(task, now))


def again_after(known: Standing) -> int:
    """How long nobody asks again after a question that brought no link."""
    return (AGAIN_SECONDS if known is Standing.DEAD else AGAIN_UNANNOUNCED_SECONDS) * SECOND


def renewable(task: Task) -> bool:
    """Whether asking can bring a link: it is settled that there was an output, and it is still ours to tell."""
    return (
        task.status is TaskStatus.SUCCEEDED
        and task.final_at is not None
        and task.provider_task_id is not None
        and task.erased_at is None
        and bool(task.outputs)
    )


def about_a_link(task: Task, seen: Observation) -> bool:
    """Whether this answers a question that a reader of the link made us ask, and speaks of the task's own job."""
    if seen.prompted_by is not Claim.WANTED or seen.source not in QUERIES:
        return False
    return renewable(task) and seen.reading.provider_task_id in (None, task.provider_task_id)


def answered(task: Task, seen: Observation, rules: Rules) -> Step:
    """The provider was asked for a link."""
    match seen.claim:
        case Claim.SUCCEEDED if seen.reading.outputs:
            return _renewed(task, seen, rules)
        case Claim.SUCCEEDED | Claim.ABSENT:
            return _missing(task, rules, "not_found" if seen.claim is Claim.ABSENT else "no_output")
        case Claim.FAILED:
            why = f"the provider now says {seen.claim}, this task is {task.status}"
            told = conflict(task, "verdict", seen.claim, why) if task.streak is None else ignored(task)
            return both(told, _missing(told.task, rules, "failed"))
        case _:
            return ignored(task)  # it says nothing of the output


def _renewed(task: Task, seen: Observation, rules: Rules) -> Step:
    outputs = tuple(replace(one, told_at=rules.now) for one in seen.reading.outputs)
    was, now = task.outputs[0], outputs[0]
    note = None
    if (was.url, was.expires_at, was.gone_at) != (now.url, now.expires_at, None):
        until = {} if now.expires_at is None else {"expires_at": iso(now.expires_at)}
        note = Note(kind="output_renewed", detail=until)
    return _heard(task, evolve(calm(task), outputs=outputs), rules, note)


def _missing(task: Task, rules: Rules, answer: str) -> Step:
    """An answer without an output: counted, and believed once there were enough of them over long enough."""
    announced = standing(task, rules.now) is Standing.DEAD
    counted = streak(task, Streak.NO_OUTPUT, rules.now)
    if lasted(counted, GONE_ANSWERS, GONE_SECONDS if announced else GONE_UNANNOUNCED_SECONDS, rules):
        gone = tuple(replace(one, gone_at=one.gone_at or rules.now) for one in task.outputs)
        note = Note(kind="output_gone", detail={"answer": answer, "answers": counted.streak_count})
        return _heard(task, evolve(calm(task), outputs=gone), rules, note)
    first = Note(kind="output_missing", detail={"answer": answer}) if counted.streak_count == 1 else None
    return _heard(task, counted, rules, first)


def _heard(task: Task, changed: Task, rules: Rules, note: Note | None) -> Step:
    """Whoever waits for the link is woken, whatever the answer was."""
    return replace(move(task, changed, rules, note), outcome=Outcome.CHANGED)
