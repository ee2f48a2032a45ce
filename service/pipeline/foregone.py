"""What is told of tasks without asking anybody: a deadline that passed, an account that is refused, a provider that cannot be asked.

All of it is recorded as observations like any other; the reducer decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from service.core.buying import refused_until
from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.due import Round
from service.pipeline.health import Health, Kind
from storage.records import Failure, FailureCode, Lane, Task, TaskStatus

OVERDUE = Reading(claim=Claim.OVERDUE)


def adrift(submissions: Iterable[tuple[str, str]], lane: Lane, *, now: int) -> Iterator[Observation]:
    """Of each (task, submission) that a dead owner of the lane left on its way: it may or may not have been bought."""
    reading = Reading(claim=Claim.AMBIGUOUS, detail="the process ended while it was submitting")
    for task_id, submission_id in submissions:
        yield Observation(
            task_id=task_id,
            source=Source.SUBMIT,
            reading=reading,
            at=now,
            submission_id=submission_id,
            account=lane.key,
            lane=lane,
        )


def tell(found: Round, health: Health, lane: Lane, *, look_up: bool, now: int) -> Iterator[Observation]:
    """Of what is due in a lane, everything that needs no request. `look_up`: a purchase of unknown fate can be looked for."""
    for task in {task.id: task for task in (*found.overdue, *found.queued, *found.unconfirmed)}.values():
        match task.status:
            case TaskStatus.QUEUED:
                reading, source = _of_queued(task, health, now), Source.SUBMIT
            case TaskStatus.UNCONFIRMED:
                reading, source = _of_unconfirmed(task, health, look_up, now), Source.LOOK_UP
            case _:
                reading, source = _unanswered(task, health, now), Source.POLL
        if reading is not None:
            source = Source.DEADLINE if reading is OVERDUE else source
            yield Observation(task_id=task.id, source=source, reading=reading, at=now, account=lane.key, lane=lane)


def _of_queued(task: Task, health: Health, now: int) -> Reading | None:
    if now >= task.deadline_at:
        return OVERDUE
    hold = health.hold(Kind.SUBMIT)
    # Only while the refusal is fresh: once the hold is over, one task tries the account first.
    if hold.refused_since is None or not hold.held(now) or now < refused_until(task, hold.refused_since):
        return None
    failure = Failure(
        code=hold.code or FailureCode.CREDENTIALS_REFUSED,
        message=hold.reason or "the provider refuses this account",
        retryable=True,
    )
    return Reading(claim=Claim.DEFERRED, failure=failure, account_refused=True, refused_since=hold.refused_since)


def _of_unconfirmed(task: Task, health: Health, look_up: bool, now: int) -> Reading | None:
    if not look_up:
        return OVERDUE if now >= task.deadline_at else None
    return _unanswered(task, health, now)


def _unanswered(task: Task, health: Health, now: int) -> Reading | None:
    """To a task past its deadline a query that may not be made is one that fails: it must not wait for ever for its turn."""
    if now < task.deadline_at or health.shut_until(Kind.QUERY) is None:
        return None
    return Reading(claim=Claim.UNREACHABLE, detail=health.why(Kind.QUERY))
