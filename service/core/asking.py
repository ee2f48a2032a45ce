"""Asking: answers that decide nothing, queries that fail, and the deadline that ends what nobody else ends.

Whoever can be asked is asked once more past the deadline before a task expires, so that a service which was down for
hours expires nothing that is well.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from service.core.adopting import release
from service.core.buying import ambiguous, may_resend, never_submitted
from service.core.ending import charge_of, ended
from service.core.events import EventType
from service.core.observation import Observation, Source
from service.core.patience import (
    QUERIES,
    asked_past_deadline,
    asks,
    calm,
    lasted,
    next_query,
    next_turn,
    slow_poll_at,
    span,
    streak,
)
from service.core.restoring import queue_again, unbought
from service.core.step import Draft, Note, Rules, Step, both, ignored, move, said
from service.core.times import SECOND
from storage.records import Charge, Failure, FailureCode, Streak, Task, TaskStatus, evolve

ABSENT_QUERIES: Final = 3  # "no such job" about a bound id …
ABSENT_SECONDS: Final = 600  # … over at least
UNREACHABLE_QUERIES: Final = 15  # further failing queries past the deadline …
UNREACHABLE_EVERY_SECONDS: Final = 60  # … one a minute


def askable(task: Task) -> bool:
    """Whether a query can bring anything: something of it may be at the provider, and is not settled for good."""
    if task.final_at is not None:
        return False
    return task.provider_task_id is not None or task.status is TaskStatus.UNCONFIRMED


def unknown(task: Task, seen: Observation, rules: Rules) -> Step:
    """A word or shape we do not know: never an end, it may be the very success that we wait for."""
    word = seen.reading.provider_status
    note = said("unknown_vocabulary", seen.reading)
    if word is None:
        return unanswered(task, seen, rules, note)
    why = f"the provider answers in words we do not know: {word}"
    if task.status is not TaskStatus.PROCESSING:
        return undecided(task, task, seen, rules, why)
    answered = evolve(calm(task), provider_status=word)
    return undecided(task, answered, seen, rules, why, None if word == task.provider_status else note)


def absent(task: Task, seen: Observation, rules: Rules) -> Step:
    """A well-formed answer without the job."""
    if task.adopted_at is not None:
        return _not_there(task, seen, rules)
    if not asks(task, seen):
        return keep_watching(task, seen, rules)
    if task.provider_task_id is not None and seen.source is Source.LOOK_UP:
        # Nothing is there under our id: that says nothing of the job we know, which is asked after by its own.
        return move(task, evolve(task, due_at=rules.now), rules)
    # Counted by when it was asked: an answer from within the settle window must not pass for one after it.
    counted = streak(task, Streak.ABSENT, min(seen.at, rules.now))
    unconfirmed = task.status is TaskStatus.UNCONFIRMED
    gone = not unconfirmed and lasted(counted, ABSENT_QUERIES, ABSENT_SECONDS, rules)
    if gone or asked_past_deadline(task, seen):
        return expire(task, rules, "the provider knows no such job")
    if unbought(counted, rules):
        return queue_again(counted, rules, was=task)
    at = next_turn(counted, rules) if unconfirmed else next_query(counted, rules)
    at = rules.now if may_resend(counted, rules) else at
    note = said("not_found", seen.reading) if unconfirmed or counted.streak_count == 1 else None
    return move(task, evolve(counted, due_at=at), rules, note)


def _not_there(task: Task, seen: Observation, rules: Rules) -> Step:
    """T18, by one answer: it is a person's word against the provider's, and nothing was ever heard of the job."""
    if seen.source is not Source.POLL or seen.at < (task.adopted_at or 0):
        return ignored(task)  # a look-up speaks of our id, and a question asked before of another job
    freed = release(task, rules, "the provider knows no such job")
    if freed.task.status is TaskStatus.UNCONFIRMED and asked_past_deadline(task, seen):
        return both(freed, expire(freed.task, rules, "the provider knows no such job"))
    return freed


def undecided(task: Task, answered: Task, seen: Observation, rules: Rules, why: str, note: Note | None = None) -> Step:
    """The provider was asked and answered, and we are no wiser. `answered`: the task with what could be learned."""
    if not asks(task, seen):
        return keep_watching(task, seen, rules)
    if asked_past_deadline(task, seen):
        return expire(answered, rules, why)
    return move(task, evolve(answered, due_at=next_query(answered, rules)), rules, note)


def unanswered(task: Task, seen: Observation, rules: Rules, note: Note) -> Step:
    """The query failed, which says nothing of the job. Only a deadline that passed while we kept failing ends the task."""
    if not asks(task, seen):
        return keep_watching(task, seen, rules)
    if not asked_past_deadline(task, seen):
        return move(task, evolve(task, due_at=next_query(task, rules)), rules, note)
    # The queries that follow a success word without an output may fail as well; one count bounds both.
    kind = Streak.NO_OUTPUT if task.streak is Streak.NO_OUTPUT else Streak.UNREACHABLE
    every = UNREACHABLE_EVERY_SECONDS * SECOND
    if task.streak is kind and task.streak_last_at is not None and rules.now < task.streak_last_at + every:
        # Pushes may make us ask more often; it is minutes that count, and only those in which we were up.
        return move(task, evolve(task, due_at=task.streak_last_at + every), rules, note)
    counted = streak(task, kind, rules.now)
    if counted.streak_count > UNREACHABLE_QUERIES:
        return expire(task, rules, "the provider cannot be asked")
    return move(task, evolve(counted, due_at=rules.now + every), rules, note)


def overdue(task: Task, seen: Observation, rules: Rules) -> Step:
    """The deadline has passed: T14, T16, and T11 where nobody can be asked any more."""
    if rules.now < task.deadline_at:
        return ignored(task)
    match task.status:
        case TaskStatus.QUEUED:
            return never_submitted(task, rules)
        case TaskStatus.SUBMITTING:
            lost_at = (task.submission_deadline_at or 0) + span(rules.settle_seconds)
            lost = not rules.configured or rules.now >= lost_at
            forgotten = replace(seen, reading=replace(seen.reading, detail="no answer to the submission was recorded"))
            return ambiguous(task, forgotten, rules) if lost else ignored(task)
        case TaskStatus.UNCONFIRMED | TaskStatus.PROCESSING:
            return _due_once_more(task, rules)
        case _:
            return ignored(task)


def _due_once_more(task: Task, rules: Rules) -> Step:
    if not rules.configured:
        return expire(task, rules, "its account is no longer configured, so nobody can be asked")
    if task.provider_task_id is None and not rules.look_up:
        return expire(task, rules, "the fate of the submission stayed unknown")
    if task.due_at is None or task.due_at > rules.now + 2 * UNREACHABLE_EVERY_SECONDS * SECOND:
        return move(task, evolve(task, due_at=rules.now), rules)
    return ignored(task)


def expire(task: Task, rules: Rules, why: str) -> Step:
    """T11, T16: give up, softly. The provider never said no, may still charge, and may still be heard."""
    failure = Failure(code=FailureCode.DEADLINE, message=f"no end by the deadline: {why}", retryable=True)
    charge = charge_of(task, None, Charge.POSSIBLE)
    end = ended(task, TaskStatus.EXPIRED, rules, final=False, failure=failure, charge=charge)
    return move(task, end, rules, Note(kind="expired", detail={"why": why}), Draft(type=EventType.TASK_EXPIRED))


def keep_watching(task: Task, seen: Observation, rules: Rules) -> Step:
    """A bound task that ended without finality is asked now and then, for a week."""
    given_up = task.finished_at is not None and task.final_at is None and task.provider_task_id is not None
    if not given_up or seen.source not in QUERIES:
        return ignored(task)
    return move(task, evolve(task, due_at=slow_poll_at(task, rules)), rules)
