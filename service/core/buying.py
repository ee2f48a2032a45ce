"""Buying: the intent, and what the provider answers when it is asked to take a task.

"Nothing was made" counts only as long as no submission is in doubt; whatever is not clearly one or the other is ambiguous.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from service.core.ending import ended
from service.core.events import EventType
from service.core.fallback import go_on
from service.core.holding import wish
from service.core.observation import Observation, Reading
from service.core.patience import calm, lasted, next_turn, resend_at, span, streak
from service.core.step import Draft, Note, Rules, Step, conflict, ignored, move, ordered, said
from service.core.times import SECOND
from storage.records import Charge, Failure, FailureCode, OnAmbiguous, Streak, Task, TaskStatus, evolve

LOOK_UPS_BEFORE_RESEND: Final = 3  # well-formed "nothing here" answers, the last one after the settle window
CREDENTIALS_SECONDS: Final = 900  # how long tasks wait for an account whose key or balance is refused …
CREDENTIALS_EVERY_SECONDS: Final = 300  # … and how often it is tried meanwhile


class Resend(StrEnum):
    """Why an unconfirmed purchase is sent once more."""

    ABSENT = "absent"  # the first one surely never arrived
    PERMISSION = "permission"  # a person accepted a possible second charge
    POLICY = "policy"  # the project accepted it beforehand


def intend(task: Task, seen: Observation, rules: Rules) -> Step:
    """T2 and T7. An intent without the deadline that guards its socket is none."""
    if task.status is TaskStatus.QUEUED and rules.now >= task.deadline_at:
        return never_submitted(task, rules)
    resend = why_resend(task, rules)
    if seen.submission_deadline_at is None or (task.status is not TaskStatus.QUEUED and resend is None):
        return ignored(task)
    changed = evolve(
        task,
        status=TaskStatus.SUBMITTING,
        submissions=task.submissions + 1,
        submission_deadline_at=seen.submission_deadline_at,
        resends=task.resends + (resend is not None),
        permitted_at=None,
        due_at=None,
    )
    detail: dict[str, object] = {"submission": changed.submissions}
    return move(task, changed, rules, Note(kind="intent", detail=detail | ({"resend": resend} if resend else {})))


def may_resend(task: Task, rules: Rules) -> bool:
    """Whether an unconfirmed purchase may be sent once more, now."""
    return why_resend(task, rules) is not None


def why_resend(task: Task, rules: Rules) -> Resend | None:
    """What allows an unconfirmed purchase to be sent once more. A permission is good for one submission, a policy for one a task."""
    if task.status is not TaskStatus.UNCONFIRMED or rules.now >= task.deadline_at:
        return None
    at = resend_at(task, rules)
    if at is not None and rules.now >= at:
        return Resend.POLICY if task.permitted_at is None else Resend.PERMISSION
    if task.resends or not (rules.look_up and surely_absent(task, rules)):
        return None
    if not task.submissions:
        return None  # in doubt only because the database is an older copy: it is queued again (core.restoring)
    if rules.resend:
        return Resend.ABSENT
    return Resend.POLICY if task.on_ambiguous is OnAmbiguous.RESUBMIT else None


def surely_absent(task: Task, rules: Rules) -> bool:
    """Whether look-ups have told all that they can.

    An empty look-up proves nothing by itself: the first request may still be on its way. Only several empty answers, the
    last one asked for after the settle window, with the guard at the socket and the same external id, leave no schedule
    in which two jobs are bought.
    """
    return (
        task.streak is Streak.ABSENT
        and task.streak_count >= LOOK_UPS_BEFORE_RESEND
        and task.submission_deadline_at is not None
        and task.streak_last_at is not None
        and task.streak_last_at >= task.submission_deadline_at + span(rules.settle_seconds)
    )


def refused(task: Task, seen: Observation, rules: Rules) -> Step:
    """T5, unless an earlier submission is in doubt: at this provider the refusal may even *be* its echo (our id, twice)."""
    if task.status is not TaskStatus.SUBMITTING or _of_an_earlier_submission(task, seen):
        return _too_late_to_refuse(task, seen)
    if task.resends:
        return ambiguous(task, seen, rules)
    failure = seen.reading.failure or Failure(
        code=FailureCode.PROVIDER_ERROR, message="the provider refused the task and gave no reason"
    )
    return _refusal(task, task, seen, rules, failure)


def deferred(task: Task, seen: Observation, rules: Rules) -> Step:
    """T4, or T15 once the account itself has been refused for too long. Queued tasks may be told of their account's refusal."""
    reading = seen.reading
    told = task.status is TaskStatus.QUEUED and reading.account_refused
    # What its lane tells of others' refusals answers no submission: the task may be on its way by now, and be bought.
    answered = task.status is TaskStatus.SUBMITTING and (
        reading.refused_since is None or seen.submission_id is not None
    )
    if not (answered or told) or _of_an_earlier_submission(task, seen):
        return _too_late_to_refuse(task, seen)
    if task.resends:
        return ambiguous(task, seen, rules)
    kind = Streak.CREDENTIALS if reading.account_refused else Streak.DEFERRED
    waited = streak(task, kind, rules.now)
    if kind is Streak.CREDENTIALS and (
        lasted(waited, 2, CREDENTIALS_SECONDS, rules) or _refused_long(task, reading, rules)
    ):
        failure = reading.failure or Failure(
            code=FailureCode.CREDENTIALS_REFUSED, message="the provider refuses this account", retryable=True
        )
        return _refusal(task, waited, seen, rules, failure)
    seconds = CREDENTIALS_EVERY_SECONDS if reading.account_refused else min(2 ** min(waited.streak_count, 6), 60)
    wait = max(span(seconds * (1 + rules.jitter / 4)), wish(reading))
    at = min(rules.now + wait, task.deadline_at)
    if reading.refused_since is not None:
        at = min(at, refused_until(task, reading.refused_since))
    changed = evolve(waited, status=TaskStatus.QUEUED, due_at=at)
    return move(task, changed, rules, said("deferred", reading, again_in_seconds=round(wait / SECOND, 1)))


def _refused_long(task: Task, reading: Reading, rules: Rules) -> bool:
    """Whether its account has been refused for too long, be it for other tasks: a task waits from then, or from its making."""
    return reading.refused_since is not None and rules.now >= refused_until(task, reading.refused_since)


def refused_until(task: Task, refused_since: int) -> int:
    """When a queued task is given up whose account's key or balance is refused."""
    return max(refused_since, task.created_at) + CREDENTIALS_SECONDS * SECOND


def _refusal(task: Task, answered: Task, seen: Observation, rules: Rules, failure: Failure) -> Step:
    """Nothing was made: T17 where somebody else may be asked, else the end."""
    if (elsewhere := go_on(task, seen, rules, failure)) is not None:
        return elsewhere
    end = ended(answered, TaskStatus.FAILED, rules, final=True, failure=failure, charge=Charge.NONE)
    return move(task, end, rules, said("refused", seen.reading), Draft(type=EventType.TASK_FAILED, hard=True))


def _too_late_to_refuse(task: Task, seen: Observation) -> Step:
    """It says that nothing was made, and the task has a job or may have one. After a resend such a word proves nothing."""
    in_doubt = task.provider_task_id is not None or task.charge is Charge.POSSIBLE
    if not in_doubt or task.resends or _of_an_earlier_submission(task, seen):
        return ignored(task)
    return conflict(task, "submission", seen.claim, f"the submission came back {seen.claim}; the task is {task.status}")


def ambiguous(task: Task, seen: Observation, rules: Rules) -> Step:
    """T6. Told once: a second submission in doubt leaves the task as unconfirmed as it was."""
    if task.status is not TaskStatus.SUBMITTING or _of_an_earlier_submission(task, seen):
        return ignored(task)
    unsure = evolve(calm(task), status=TaskStatus.UNCONFIRMED, charge=Charge.POSSIBLE)
    changed = evolve(unsure, due_at=next_turn(unsure, rules))
    draft = None if task.resends else Draft(type=EventType.TASK_UNCONFIRMED)
    return move(task, changed, rules, said("ambiguous", seen.reading), draft)


def _of_an_earlier_submission(task: Task, seen: Observation) -> bool:
    """A reply that states its submission's deadline, and it is not the latest one's, says nothing of the latest."""
    return seen.submission_deadline_at not in (None, task.submission_deadline_at)


def never_submitted(task: Task, rules: Rules) -> Step:
    """T14. Nothing was bought, so this is final."""
    failure = Failure(
        code=FailureCode.NOT_SUBMITTED, message="the deadline passed before it was submitted", retryable=True
    )
    end = ended(task, TaskStatus.EXPIRED, rules, final=True, failure=failure, charge=Charge.NONE)
    return move(task, end, rules, Note(kind="expired"), Draft(type=EventType.TASK_EXPIRED, hard=True))


def cancel(task: Task, seen: Observation, rules: Rules) -> Step:
    """T13. Only what was not bought can be canceled."""
    if task.status is not TaskStatus.QUEUED:
        return ignored(task)
    end = ended(task, TaskStatus.CANCELED, rules, final=True, charge=Charge.NONE)
    return move(task, end, rules, ordered("canceled", seen), Draft(type=EventType.TASK_CANCELED, hard=True))
