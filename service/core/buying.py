"""Buying: the intent, and what the provider answers when it is asked to take a task.

"Nothing was made" counts only as long as no submission is in doubt; whatever is not clearly one or the other is ambiguous.
"""

from __future__ import annotations

from typing import Final

from service.core.ending import ended
from service.core.events import EventType
from service.core.fallback import go_on
from service.core.observation import Observation, Source
from service.core.patience import calm, lasted, next_look_up, span, streak
from service.core.step import Draft, Note, Rules, Step, conflict, ignored, move, said
from service.core.times import SECOND
from storage.records import Charge, Failure, FailureCode, Streak, Task, TaskStatus, evolve

LOOK_UPS_BEFORE_RESEND: Final = 3  # well-formed "nothing here" answers, the last one after the settle window
CREDENTIALS_SECONDS: Final = 900  # how long tasks wait for an account whose key or balance is refused …
CREDENTIALS_EVERY_SECONDS: Final = 300  # … and how often it is tried meanwhile


def intend(task: Task, seen: Observation, rules: Rules) -> Step:
    """T2 and T7. An intent without the deadline that guards its socket is none."""
    if task.status is TaskStatus.QUEUED and rules.now >= task.deadline_at:
        return never_submitted(task, rules)
    resend = may_resend(task, rules, acknowledged=seen.source is Source.OPERATOR)
    if seen.submission_deadline_at is None or not (task.status is TaskStatus.QUEUED or resend):
        return ignored(task)
    changed = evolve(
        task,
        status=TaskStatus.SUBMITTING,
        submissions=task.submissions + 1,
        submission_deadline_at=seen.submission_deadline_at,
        resends=task.resends + resend,
        due_at=None,
    )
    note = Note(kind="intent", detail={"submission": changed.submissions, "resend": resend})
    return move(task, changed, rules, note)


def may_resend(task: Task, rules: Rules, *, acknowledged: bool = False) -> bool:
    """Whether an unconfirmed purchase may be sent once more. `acknowledged`: somebody accepts a possible second charge.

    An empty look-up proves nothing by itself: the first request may still be on its way. Only several empty answers, the
    last one asked for after the settle window, with the guard at the socket and the same external id, leave no schedule
    in which two jobs are bought.
    """
    if task.status is not TaskStatus.UNCONFIRMED or rules.now >= task.deadline_at:
        return False
    if acknowledged:
        return True
    return (
        rules.look_up
        and rules.resend
        and task.resends == 0
        and task.streak is Streak.ABSENT
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
    if not (task.status is TaskStatus.SUBMITTING or told) or _of_an_earlier_submission(task, seen):
        return _too_late_to_refuse(task, seen)
    if task.resends:
        return ambiguous(task, seen, rules)
    kind = Streak.CREDENTIALS if reading.account_refused else Streak.DEFERRED
    waited = streak(task, kind, rules.now)
    if kind is Streak.CREDENTIALS and lasted(waited, 2, CREDENTIALS_SECONDS, rules):
        failure = reading.failure or Failure(
            code=FailureCode.CREDENTIALS_REFUSED, message="the provider refuses this account", retryable=True
        )
        return _refusal(task, waited, seen, rules, failure)
    seconds = CREDENTIALS_EVERY_SECONDS if reading.account_refused else min(2 ** min(waited.streak_count, 6), 60)
    wait = max(span(seconds * (1 + rules.jitter / 4)), span(reading.retry_after_seconds or 0.0))
    changed = evolve(waited, status=TaskStatus.QUEUED, due_at=min(rules.now + wait, task.deadline_at))
    return move(task, changed, rules, said("deferred", reading, again_in_seconds=round(wait / SECOND, 1)))


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
    changed = evolve(unsure, due_at=min(next_look_up(unsure, rules), task.deadline_at))
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


def abandon(task: Task, rules: Rules) -> Step:
    """T8. A person gives up on it; the provider may still have it and charge for it."""
    if task.status is not TaskStatus.UNCONFIRMED:
        return ignored(task)
    failure = Failure(
        code=FailureCode.SUBMIT_ABANDONED, message="given up: whether it was bought stayed unknown", retryable=True
    )
    end = ended(task, TaskStatus.FAILED, rules, final=False, failure=failure, charge=Charge.POSSIBLE)
    return move(task, end, rules, Note(kind="abandoned"), Draft(type=EventType.TASK_FAILED))


def cancel(task: Task, rules: Rules) -> Step:
    """T13. Only what was not bought can be canceled."""
    if task.status is not TaskStatus.QUEUED:
        return ignored(task)
    end = ended(task, TaskStatus.CANCELED, rules, final=True, charge=Charge.NONE)
    return move(task, end, rules, Note(kind="canceled"), Draft(type=EventType.TASK_CANCELED, hard=True))
