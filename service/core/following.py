"""What happens to a task next, when, and why. Pure: the same task and facts always get the same answer.

Said for people who wait. The lanes act on rows and not on this; but each answer here is what the rows make them do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from service.core.buying import Resend, refused_until, why_resend
from service.core.lifecycle import LATE_VERDICT_SECONDS, SECOND, Rules
from service.core.patience import resend_at
from service.core.times import iso
from storage.records import Streak, Task, TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What must be known beside the task: its account's contract, and the state of the account's lane.

    `probe_at`: the breaker is open and lets a probe through then. `refused_since`: the account's key or balance is refused.
    """

    now: int
    configured: bool = True
    pushes: bool = False
    look_up: bool = False
    resend: bool = False
    settle_seconds: float = 120.0
    held_until: int | None = None  # submits only
    held_reason: str | None = None
    refused_since: int | None = None
    queries_held_until: int | None = None
    queries_held_reason: str | None = None
    probe_at: int | None = None
    paused_at: int | None = None  # a person stopped the account's purchases
    rate: float | None = None  # requests a second
    most_open: int | None = None  # jobs at the provider at a time …
    open_jobs: int = 0  # … and how many there are; only known of a task that waits to be one


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """The next thing that happens by itself. `action`: of a task submit, settle, look_up, hold, poll, listen or expire; of a
    delivery attempt, wait, cancel or none. `at` None: only a person can make it happen.
    """

    action: str
    at: int | None
    reason: str


def next_step(task: Task, facts: Facts) -> Next | None:
    """What comes next; None when nothing can change the task any more."""
    if task.final_at is not None:
        return None
    if not facts.configured and task.finished_at is None:
        reason = f"The account {task.account} is no longer configured, so nobody can be asked. The deadline ends it."
        return Next(action="expire", at=task.deadline_at, reason=reason)
    match task.status:
        case TaskStatus.QUEUED:
            return _queued(task, facts)
        case TaskStatus.SUBMITTING:
            at = task.submission_deadline_at or task.deadline_at
            reason = f"{task.provider} is being asked to take it. Without an answer by then its fate is unknown."
            return Next(action="settle", at=at, reason=reason)
        case TaskStatus.UNCONFIRMED:
            return _unconfirmed(task, facts)
        case TaskStatus.PROCESSING:
            return _processing(task, facts)
        case TaskStatus.SUCCEEDED | TaskStatus.FAILED | TaskStatus.CANCELED | TaskStatus.EXPIRED:
            return _given_up(task, facts)
        case _:
            assert_never(task.status)


def _queued(task: Task, facts: Facts) -> Next:
    at = task.due_at if task.due_at is not None else facts.now
    if task.streak is Streak.CREDENTIALS:
        reason = (
            f"{task.provider} refuses the key or balance of account {task.account}. Nothing was bought; tried again."
        )
    elif task.streak is Streak.DEFERRED:
        reason = f"{task.provider} would not take it for now. Nothing was bought; tried again."
    else:
        reason = f"It waits for its turn at account {task.account}."
    if facts.paused_at is not None:
        return _paused(task, facts.paused_at, reason)
    full = facts.most_open is not None and facts.open_jobs >= facts.most_open
    if facts.held_until is not None and facts.held_until > at:
        at = facts.held_until
        reason = f"Account {task.account} buys nothing before: {facts.held_reason or 'the provider asked us to wait'}."
    if facts.refused_since is not None:
        reason += (
            f" Should it be refused until {iso(refused_until(task, facts.refused_since))}, the task fails unbought."
        )
    at, reason = _past_the_breaker(task, facts, at, reason)
    if at >= task.deadline_at:
        return Next(action="expire", at=task.deadline_at, reason=f"{reason} Its deadline comes first.")
    if full:
        reason += (
            f" {facts.open_jobs} jobs are open there, as many as may be (MAX_OPEN_TASKS): it is bought when one of them ends."
            f" Should none end until {iso(task.deadline_at)}, it expires unbought."
        )
        return Next(action="submit", at=None if at <= facts.now else at, reason=reason)
    return Next(action="submit", at=at, reason=_in_turn(facts, at, reason))


def _paused(task: Task, paused_at: int, reason: str) -> Next:
    said = f"Account {task.account} was paused by a person at {iso(paused_at)}, and buys nothing until it is resumed"
    how = f"POST /v1/accounts/{task.account}/resume"
    return Next(
        action="submit",
        at=None,
        reason=f"{reason} {said}: {how}. Should nobody do so until {iso(task.deadline_at)}, the deadline ends it.",
    )


def _unconfirmed(task: Task, facts: Facts) -> Next:
    rules = Rules(
        now=facts.now,
        jitter=0.0,
        pushes=facts.pushes,
        look_up=facts.look_up,
        expected_seconds=0.0,
        settle_seconds=facts.settle_seconds,
        resend=facts.resend,
    )
    why, at = why_resend(task, rules), resend_at(task, rules)
    if why is not None or at is not None:
        found = why or (Resend.POLICY if task.permitted_at is None else Resend.PERMISSION)
        return _sent_once_more(task, facts, found, max(at or 0, task.due_at or facts.now))
    unsure = f"{task.provider} did not answer in time. It may have taken the job and may charge for it"
    if not task.submissions:
        unsure = "The database is an older copy. It may have been bought since, and may be charged for"
    if not facts.look_up:
        reason = (
            f"{unsure}; it cannot be asked after a lost job. Held, never sent again on a guess; the deadline ends it."
        )
        return Next(action="hold", at=task.deadline_at, reason=f"{reason} {settle(task)}")
    at, reason = _past_trouble(
        task, facts, task.due_at if task.due_at is not None else task.deadline_at, f"{unsure}. It is looked for."
    )
    if at >= task.deadline_at:
        reason = f"{unsure}. The deadline ends it. {settle(task)}"
        return Next(action="expire", at=task.deadline_at, reason=reason)
    return Next(action="look_up", at=at, reason=_in_turn(facts, at, reason))


def _sent_once_more(task: Task, facts: Facts, why: Resend, at: int) -> Next:
    reasons = {
        Resend.ABSENT: f"{task.provider} has no such job, and the first request can no longer arrive: sent once more.",
        Resend.PERMISSION: "A possible second charge was accepted by hand: sent once more, and once only.",
        Resend.POLICY: "The project accepts a possible second charge (on_ambiguous: resubmit): sent once more, and once only.",
    }
    if facts.paused_at is not None:
        return _paused(task, facts.paused_at, reasons[why])
    at, reason = _past_the_breaker(task, facts, at, reasons[why])
    if at >= task.deadline_at:
        return Next(action="expire", at=task.deadline_at, reason=f"{reason} Its deadline comes first. {settle(task)}")
    return Next(action="submit", at=at, reason=reason)


def settle(task: Task) -> str:
    """What a person can do who does not want to wait."""
    said = "adopt (you know its job), resubmit (a possible second charge is accepted) or abandon"
    return f"To settle it now: POST /v1/tasks/{task.id}/resolve with {said}."


def _processing(task: Task, facts: Facts) -> Next:
    at, reason = _past_trouble(
        task, facts, task.due_at if task.due_at is not None else task.deadline_at, _why_ask(task, facts)
    )
    return Next(action="poll", at=at, reason=_in_turn(facts, at, reason))


def _why_ask(task: Task, facts: Facts) -> str:
    """Why the provider is asked after a bound task."""
    provider = task.provider
    if task.adopted_at is not None:
        return f"{task.provider_task_id} was named by hand as its job. {provider} is asked whether it is there."
    if facts.now >= task.deadline_at:
        return f"The deadline has passed. {provider} is asked once more before it expires."
    match task.streak:
        case Streak.LAG:
            return f"A push claimed an end that {provider} does not show yet. Asked again soon."
        case Streak.NO_OUTPUT:
            return (
                f"{provider} says it succeeded and gives no output yet. Asked again, {task.streak_count} times so far."
            )
        case Streak.ABSENT:
            return f"{provider} no longer finds the job. Asked again before that is believed."
        case Streak.UNREACHABLE:
            return f"{provider} cannot be reached. Asked again."
        case _:
            pass
    if facts.pushes:
        return f"{provider} has it and will push its end. Should the push get lost, it is asked then."
    return f"{provider} has it and sends no pushes. It is asked then."


def _given_up(task: Task, facts: Facts) -> Next | None:
    """An end that is not final: we gave up, the provider never said no."""
    finished_at = task.finished_at if task.finished_at is not None else task.updated_at
    until = finished_at + LATE_VERDICT_SECONDS * SECOND
    if facts.now > until:
        return None
    if task.provider_task_id is not None and task.due_at is not None and facts.configured:
        asked = "It is still asked now and then." if task.adopted_at is None else _why_ask(task, facts)
        at, reason = _past_trouble(task, facts, task.due_at, f"We gave up, {task.provider} never said no. {asked}")
        return Next(action="poll", at=at, reason=reason)
    reason = f"We gave up, {task.provider} never said no. A late answer or push still counts until then."
    if task.provider_task_id is None and facts.configured:
        reason += f" If you know its job: POST /v1/tasks/{task.id}/resolve with adopt."
    return Next(action="listen", at=until, reason=reason)


def _past_trouble(task: Task, facts: Facts, at: int, reason: str) -> tuple[int, str]:
    """When the provider may be asked after it."""
    if facts.queries_held_until is not None and facts.queries_held_until > at:
        at = facts.queries_held_until
        reason += f" Not before then: {facts.queries_held_reason or 'the provider asked us to wait'}."
    return _past_the_breaker(task, facts, at, reason)


def _in_turn(facts: Facts, at: int, reason: str) -> str:
    """What is due and not done yet stands in a queue: after a pause there may be many."""
    if at > facts.now or facts.rate is None:
        return reason
    return f"{reason} It is due now; its account is asked {facts.rate:g} times a second at most, one after another."


def _past_the_breaker(task: Task, facts: Facts, at: int, reason: str) -> tuple[int, str]:
    if facts.probe_at is None or facts.probe_at <= at:
        return at, reason
    return facts.probe_at, f"{reason} Not before then, because {task.provider} keeps failing (breaker open)."
