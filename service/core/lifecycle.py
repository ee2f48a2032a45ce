"""The one reducer of task state: `advance(task, observation)` decides, nothing else does.

                    ┌────────── deferred ──────────┐
                    ▼                              │
    (created) ─▶ queued ── intent ─▶ submitting ───┼── accepted ─▶ processing ─▶ succeeded │ failed      final
                  │  │                   │         │                   ▲  │
        cancel ◀──┘  └─▶ expired         ├ refused ┴▶ failed           │  └─ deadline ─▶ expired           not final
                                         └ ambiguous ─▶ unconfirmed ───┘
                                                          └─ deadline ─▶ expired                           not final

A final end never changes; what contradicts it is a conflict, recorded and told. An end that is not final (we gave up, the provider never
said no) may still become a provider's verdict, told with `late`. Everything not listed is a no-op, never an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, assert_never

from service.core import schedule
from service.core.events import EventType
from service.core.observation import Claim, Observation, Reading, Source
from storage.records import OPEN_STATUSES, Charge, Failure, FailureCode, Streak, Task, TaskStatus

SECOND = 1_000_000
LATE_VERDICT_SECONDS = 30 * 86_400  # how long a verdict may still arrive after an end that is not final
SLOW_POLL_SECONDS = 3_600  # after we gave up on a bound task …
SLOW_POLL_FOR_SECONDS = 7 * 86_400  # … for this long
NO_OUTPUT_QUERIES, NO_OUTPUT_SECONDS = 10, 600  # a success word without a URL: further queries, over at least
ABSENT_QUERIES, ABSENT_SECONDS = 3, 600  # "no such job" about a bound id
UNREACHABLE_QUERIES, UNREACHABLE_EVERY_SECONDS = 15, 60  # failing queries past the deadline, while we are up
CREDENTIALS_SECONDS = 900  # how long queued tasks wait for an account whose key or balance is refused
CREDENTIALS_EVERY_SECONDS = 300
LOOK_UPS_BEFORE_RESEND = 3  # well-formed "nothing here" answers, the last one after the settle window


class Outcome(StrEnum):
    """What came of an observation."""

    CHANGED = "changed"  # the task says something new
    SCHEDULED = "scheduled"  # only the next look moved
    IGNORED = "ignored"  # nothing to do with the task as it is now
    CONFLICT = "conflict"  # contradicts what is settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the reducer must know beside the task: the time, a number drawn by chance, and the account's contract and settings."""

    now: int
    jitter: float  # 0 … 1
    pushes: bool  # the provider will push for this task
    look_up: bool  # the provider finds a job by our id
    expected_seconds: float
    settle_seconds: float = 120.0
    configured: bool = True  # the account still exists; nobody can be asked otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A line of the timeline, not yet stored."""

    kind: str
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event to be rendered. `discriminator` tells two facts of one type apart; equal facts get equal ids."""

    type: EventType
    discriminator: str = ""
    hard: bool = False
    task: Task | None = None  # as the event shows it, filled in with the step


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an observation changes. `task` is the one given when nothing does."""

    task: Task
    outcome: Outcome
    notes: tuple[Note, ...] = ()
    drafts: tuple[Draft, ...] = ()


def advance(task: Task, seen: Observation, rules: Rules, *, taken: bool = False) -> Step:
    """Fold one verified observation into its task. `taken`: the provider id it names belongs to another task."""
    reading = seen.reading
    if taken:
        return _conflict(task, seen, "binding", f"{reading.provider_task_id} belongs to another task")
    match seen.claim:
        case Claim.INTENT:
            return _intend(task, seen, rules)
        case Claim.ACCEPTED | Claim.WAITING | Claim.RUNNING | Claim.SUCCEEDED | Claim.FAILED:
            return _about_a_job(task, seen, rules)
        case Claim.REFUSED:
            return _refused(task, reading, rules)
        case Claim.DEFERRED:
            return _deferred(task, reading, rules)
        case Claim.AMBIGUOUS:
            return _ambiguous(task, reading, rules)
        case Claim.UNKNOWN:
            return _unknown(task, seen, rules)
        case Claim.ABSENT:
            return _absent(task, seen, rules)
        case Claim.UNREACHABLE:
            return _unreachable(task, reading, rules)
        case Claim.OVERDUE:
            return _overdue(task, rules)
        case Claim.CANCEL:
            return _cancel(task, rules)
        case _:
            assert_never(seen.claim)


def rings(task: Task, reading: Reading) -> bool:
    """Whether a push that nobody vouches for is worth a query: it claims something ahead of us, or cannot be read."""
    if task.final_at is not None or (task.finished_at is not None and task.provider_task_id is None):
        return False
    if reading.claim in (Claim.WAITING, Claim.ACCEPTED):
        return task.status in (TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED)
    if reading.claim is Claim.RUNNING:
        return task.status is not TaskStatus.PROCESSING or task.phase != "running"
    return True


def may_resend(task: Task, rules: Rules) -> bool:
    """Whether an unconfirmed purchase may be sent once more.

    An empty look-up proves nothing by itself: the first request may still be on its way. Only several empty answers, the last one after the
    settle window, with the guard at the socket and the same external id, leave no schedule in which two jobs are bought.
    """
    return (
        task.status is TaskStatus.UNCONFIRMED
        and rules.look_up
        and task.resends == 0
        and task.streak is Streak.ABSENT
        and task.streak_count >= LOOK_UPS_BEFORE_RESEND
        and task.submission_deadline_at is not None
        and task.streak_last_at is not None
        and task.streak_last_at >= task.submission_deadline_at + int(rules.settle_seconds * SECOND)
        and rules.now < task.deadline_at
    )


# Buying


def _intend(task: Task, seen: Observation, rules: Rules) -> Step:
    resend = may_resend(task, rules)
    if not (task.status is TaskStatus.QUEUED or resend):
        return Step(task=task, outcome=Outcome.IGNORED)
    if rules.now >= task.deadline_at:
        return _overdue(task, rules)
    changed = replace(
        task,
        status=TaskStatus.SUBMITTING,
        submissions=task.submissions + 1,
        submission_deadline_at=seen.submission_deadline_at,
        resends=task.resends + resend,
        due_at=None,
    )
    return _changed(
        task, changed, rules, Note(kind="intent", detail={"submission": changed.submissions, "resend": resend})
    )


def _refused(task: Task, reading: Reading, rules: Rules) -> Step:
    if task.status is TaskStatus.SUBMITTING and task.resends:
        # An earlier submission may exist: at this provider the refusal may even *be* its echo (a duplicate of our id).
        return _ambiguous(task, replace(reading, detail=reading.detail or "refused after an unknown submission"), rules)
    if task.status not in (TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED) or task.resends:
        return Step(task=task, outcome=Outcome.IGNORED)
    failure = reading.failure or Failure(code=FailureCode.PROVIDER_ERROR, message="the provider refused the task")
    changed = _ended(task, TaskStatus.FAILED, rules, final=True, failure=failure, charge=Charge.NONE)
    return _changed(task, changed, rules, _told("refused", reading), Draft(type=EventType.TASK_FAILED, hard=True))


def _deferred(task: Task, reading: Reading, rules: Rules) -> Step:
    if task.status is not TaskStatus.SUBMITTING:
        return Step(task=task, outcome=Outcome.IGNORED)
    if task.resends:
        return _ambiguous(task, reading, rules)
    kind = Streak.CREDENTIALS if reading.account_refused else Streak.DEFERRED
    waited = _streak(task, kind, rules)
    if kind is Streak.CREDENTIALS and _lasted(waited, 2, CREDENTIALS_SECONDS, rules):
        failure = reading.failure or Failure(
            code=FailureCode.CREDENTIALS_REFUSED, message="the provider refuses this account"
        )
        changed = _ended(task, TaskStatus.FAILED, rules, final=True, failure=failure, charge=Charge.NONE)
        return _changed(task, changed, rules, _told("refused", reading), Draft(type=EventType.TASK_FAILED, hard=True))
    seconds = CREDENTIALS_EVERY_SECONDS if kind is Streak.CREDENTIALS else min(2.0**waited.streak_count, 60.0)
    seconds = max(seconds * (1 + rules.jitter / 4), reading.retry_after_seconds or 0.0)
    changed = replace(
        waited, status=TaskStatus.QUEUED, due_at=_before_deadline(task, rules.now + int(seconds * SECOND))
    )
    return _changed(task, changed, rules, _told("deferred", reading, again_in_seconds=round(seconds, 1)))


def _ambiguous(task: Task, reading: Reading, rules: Rules) -> Step:
    if task.status is not TaskStatus.SUBMITTING:
        return Step(task=task, outcome=Outcome.IGNORED)
    changed = replace(
        task,
        status=TaskStatus.UNCONFIRMED,
        charge=Charge.POSSIBLE,
        streak=None,
        streak_count=0,
        streak_since=None,
        streak_last_at=None,
        due_at=_next_look_up(replace(task, streak_count=0), rules),
    )
    told = () if task.resends else (Draft(type=EventType.TASK_UNCONFIRMED),)
    return _changed(task, changed, rules, _told("ambiguous", reading), *told)


def _next_look_up(task: Task, rules: Rules) -> int:
    """When to look for an unconfirmed purchase again; without look-up nothing can be learned before the deadline."""
    if not rules.look_up:
        return task.deadline_at
    at = schedule.resolver_at(
        task.streak_count,
        deadline_at=task.submission_deadline_at or rules.now,
        settle_seconds=rules.settle_seconds,
        now=rules.now,
    )
    return _before_deadline(task, at)


# Verdicts about a provider's job


def _about_a_job(task: Task, seen: Observation, rules: Rules) -> Step:
    reading = seen.reading
    found = reading.provider_task_id
    if task.provider_task_id is not None and found is not None and found != task.provider_task_id:
        if seen.source in (Source.SUBMIT, Source.LOOK_UP):
            return _conflict(task, seen, "surplus", f"a second job {found} was bought beside {task.provider_task_id}")
        return _conflict(task, seen, "mismatch", f"it speaks of {found}, this task is {task.provider_task_id}")
    if task.final_at is not None:
        return _after_the_end(task, seen)
    if task.provider_task_id is not None:
        return _verdict(task, seen, rules)
    bound = _bind(task, reading, rules)
    if bound is None:
        return Step(task=task, outcome=Outcome.IGNORED)
    told = (Draft(type=EventType.TASK_SUBMITTED),) if bound.status is TaskStatus.PROCESSING else ()
    note = Note(kind="bound", detail={"provider_task_id": reading.provider_task_id, "was": task.status.value})
    first = _changed(task, bound, rules, note, *told)
    second = _verdict(first.task, seen, rules)
    # What one message says is one step: the binding and the verdict share a version.
    return Step(
        task=replace(second.task, version=first.task.version),
        outcome=Outcome.CHANGED,
        notes=first.notes + second.notes,
        drafts=first.drafts + second.drafts,
    )


def _bind(task: Task, reading: Reading, rules: Rules) -> Task | None:
    """The task bound to the job the reading names, or None when there is nothing to bind or no reason to."""
    if reading.provider_task_id is None or task.status not in (
        TaskStatus.SUBMITTING,
        TaskStatus.UNCONFIRMED,
        TaskStatus.EXPIRED,
        TaskStatus.FAILED,
    ):
        return None
    bound = replace(
        task,
        provider_task_id=reading.provider_task_id,
        submitted_at=task.submitted_at or rules.now,
        charge=Charge.ESTIMATED,
        streak=None,
        streak_count=0,
        streak_since=None,
        streak_last_at=None,
        due_at=rules.now,
    )
    if task.status in OPEN_STATUSES:
        bound = replace(bound, status=TaskStatus.PROCESSING, phase="queued_at_provider")
    return bound


def _verdict(task: Task, seen: Observation, rules: Rules) -> Step:
    match seen.claim:
        case Claim.SUCCEEDED:
            return _succeeded(task, seen, rules) if seen.reading.outputs else _no_output(task, seen, rules)
        case Claim.FAILED:
            return _failed(task, seen, rules)
        case _:
            return _running(task, seen, rules)


def _running(task: Task, seen: Observation, rules: Rules) -> Step:
    reading = seen.reading
    if task.status is not TaskStatus.PROCESSING:
        return _keep_watching(task, rules)
    if rules.now >= task.deadline_at and seen.source in (Source.POLL, Source.LOOK_UP):
        return _expire(task, rules, f"the provider still says {reading.provider_status or reading.claim}")
    started = reading.claim is Claim.RUNNING and task.phase != "running"
    regressed = reading.claim is not Claim.RUNNING and task.phase == "running"
    changed = replace(
        task,
        phase="running" if started else task.phase,
        provider_status=task.provider_status if regressed else reading.provider_status or task.provider_status,
        progress=max(reading.progress, task.progress or 0) if reading.progress is not None else task.progress,
    )
    lagging = seen.prompted_by in (Claim.SUCCEEDED, Claim.FAILED) or task.streak is Streak.LAG
    changed = _lagging(changed, rules) if lagging else _calm(changed)
    if changed.streak is not Streak.LAG:
        changed = replace(changed, due_at=_next_poll(task, rules))
    if not started:
        return _scheduled(task, changed, rules)
    return _changed(task, changed, rules, _told("running", reading), Draft(type=EventType.TASK_PROCESSING))


def _succeeded(task: Task, seen: Observation, rules: Rules) -> Step:
    reading = seen.reading
    if not _verdict_counts(task, rules):
        return Step(task=task, outcome=Outcome.IGNORED)
    changed = replace(
        _ended(task, TaskStatus.SUCCEEDED, rules, final=True, charge=_charged(reading, Charge.ESTIMATED)),
        outputs=reading.outputs,
        provider_status=reading.provider_status or task.provider_status,
        progress=100,
        cost_charged=reading.charged or task.cost_charged,
        cost_unit=reading.cost_unit or task.cost_unit,
    )
    return _changed(task, changed, rules, _told("succeeded", reading), Draft(type=EventType.TASK_SUCCEEDED, hard=True))


def _failed(task: Task, seen: Observation, rules: Rules) -> Step:
    reading = seen.reading
    if not _verdict_counts(task, rules):
        return Step(task=task, outcome=Outcome.IGNORED)
    failure = reading.failure or Failure(code=FailureCode.PROVIDER_ERROR, message="the provider reports a failure")
    charge = Charge.REFUNDED if reading.refunded else _charged(reading, Charge.POSSIBLE)
    changed = replace(
        _ended(task, TaskStatus.FAILED, rules, final=True, failure=failure, charge=charge),
        provider_status=reading.provider_status or task.provider_status,
        cost_charged=reading.charged or task.cost_charged,
        cost_unit=reading.cost_unit or task.cost_unit,
    )
    draft = Draft(type=EventType.TASK_FAILED, discriminator="late" if changed.late else "", hard=True)
    return _changed(task, changed, rules, _told("failed", reading), draft)


def _no_output(task: Task, seen: Observation, rules: Rules) -> Step:
    """A success word without a usable URL waits, bounded: the file may follow the word."""
    if task.status is not TaskStatus.PROCESSING:
        return _keep_watching(task, rules)
    waited = replace(_streak(task, Streak.NO_OUTPUT, rules), provider_status=seen.reading.provider_status)
    if _lasted(waited, NO_OUTPUT_QUERIES + 1, NO_OUTPUT_SECONDS, rules):
        failure = Failure(
            code=FailureCode.NO_OUTPUT, message="the provider says it succeeded and gives no output", retryable=True
        )
        changed = _ended(task, TaskStatus.FAILED, rules, final=False, failure=failure, charge=Charge.POSSIBLE)
        return _changed(task, changed, rules, _told("no_output", seen.reading), Draft(type=EventType.TASK_FAILED))
    gap = NO_OUTPUT_SECONDS / NO_OUTPUT_QUERIES
    changed = replace(waited, due_at=rules.now + int(gap * (1 + rules.jitter / 10) * SECOND))
    notes = (_told("no_output", seen.reading),) if waited.streak_count == 1 else ()
    return _scheduled(task, changed, rules, *notes)


def _after_the_end(task: Task, seen: Observation) -> Step:
    if task.provider_task_id is None and seen.reading.provider_task_id is not None:
        return _conflict(task, seen, "surplus", f"a job {seen.reading.provider_task_id} exists for an ended task")
    contradicts = (seen.claim is Claim.SUCCEEDED and task.status is not TaskStatus.SUCCEEDED) or (
        seen.claim is Claim.FAILED and task.status is TaskStatus.SUCCEEDED
    )
    if contradicts:
        return _conflict(task, seen, "verdict", f"the provider now says {seen.claim}, this task is {task.status}")
    return Step(task=task, outcome=Outcome.IGNORED)


def _verdict_counts(task: Task, rules: Rules) -> bool:
    """An open, bound task takes any verdict; one that ended without finality takes it for 30 days."""
    if task.status is TaskStatus.PROCESSING:
        return True
    return task.finished_at is not None and rules.now <= task.finished_at + LATE_VERDICT_SECONDS * SECOND


# Answers that decide nothing


def _unknown(task: Task, seen: Observation, rules: Rules) -> Step:
    """A word or shape we do not know. Never an end; kept, counted, and asked again."""
    reading = seen.reading
    if task.status is not TaskStatus.PROCESSING:
        return _keep_watching(task, rules)
    if rules.now >= task.deadline_at:
        return _expire(task, rules, f"the provider answers in words we do not know: {reading.provider_status}")
    changed = replace(
        task, provider_status=reading.provider_status or task.provider_status, due_at=_next_poll(task, rules)
    )
    if changed.provider_status == task.provider_status:
        return _scheduled(task, changed, rules)
    return _scheduled(task, changed, rules, _told("unknown_vocabulary", reading))


def _absent(task: Task, seen: Observation, rules: Rules) -> Step:
    """A well-formed answer without the job."""
    if task.status is TaskStatus.UNCONFIRMED:
        if rules.now >= task.deadline_at:
            return _expire(task, rules, "the provider knows no such job")
        counted = _streak(task, Streak.ABSENT, rules)
        at = rules.now if may_resend(counted, rules) else _next_look_up(counted, rules)
        return _scheduled(task, replace(counted, due_at=at), rules, _told("not_found", seen.reading))
    if task.status is not TaskStatus.PROCESSING:
        return _keep_watching(task, rules)
    counted = _streak(task, Streak.ABSENT, rules)
    if rules.now >= task.deadline_at or _lasted(counted, ABSENT_QUERIES, ABSENT_SECONDS, rules):
        return _expire(task, rules, "the provider no longer knows this job")
    notes = (_told("not_found", seen.reading),) if counted.streak_count == 1 else ()
    return _scheduled(task, replace(counted, due_at=_next_poll(task, rules)), rules, *notes)


def _unreachable(task: Task, reading: Reading, rules: Rules) -> Step:
    """The query failed, which says nothing of the job. Only a deadline that passed while we kept failing ends it."""
    if task.status is TaskStatus.UNCONFIRMED:
        if rules.now >= task.deadline_at:
            return _overdue(task, rules)
        again = max(_next_look_up(task, rules), rules.now + 5 * SECOND)
        return _scheduled(
            task, replace(task, due_at=_before_deadline(task, again)), rules, _told("query_failed", reading)
        )
    if task.status is not TaskStatus.PROCESSING:
        return _keep_watching(task, rules)
    if rules.now < task.deadline_at:
        return _scheduled(task, replace(task, due_at=_next_poll(task, rules)), rules, _told("query_failed", reading))
    counted = _streak(task, Streak.UNREACHABLE, rules)
    if counted.streak_count > UNREACHABLE_QUERIES:
        return _expire(task, rules, "the provider cannot be asked")
    changed = replace(counted, due_at=rules.now + UNREACHABLE_EVERY_SECONDS * SECOND)
    return _scheduled(task, changed, rules, _told("query_failed", reading))


def _overdue(task: Task, rules: Rules) -> Step:
    """The deadline has passed. A bound task is asked once more before it may expire."""
    if rules.now < task.deadline_at:
        return Step(task=task, outcome=Outcome.IGNORED)
    if task.status is TaskStatus.QUEUED:
        failure = Failure(
            code=FailureCode.NOT_SUBMITTED, message="the deadline passed before it was submitted", retryable=True
        )
        changed = _ended(task, TaskStatus.EXPIRED, rules, final=True, failure=failure, charge=Charge.NONE)
        return _changed(task, changed, rules, Note(kind="expired"), Draft(type=EventType.TASK_EXPIRED, hard=True))
    if task.status is TaskStatus.UNCONFIRMED:
        return _expire(task, rules, "the fate of the submission stayed unknown")
    if task.status is TaskStatus.PROCESSING and not rules.configured:
        return _expire(task, rules, "its account is no longer configured, so nobody can be asked")
    if task.status is TaskStatus.SUBMITTING and not rules.configured:
        return _expire(task, rules, "its account is no longer configured and the submission's fate is unknown")
    if task.status is TaskStatus.PROCESSING and (task.due_at is None or task.due_at > rules.now):
        return _scheduled(task, replace(task, due_at=rules.now), rules)
    return Step(task=task, outcome=Outcome.IGNORED)


def _cancel(task: Task, rules: Rules) -> Step:
    if task.status is not TaskStatus.QUEUED:
        return Step(task=task, outcome=Outcome.IGNORED)
    changed = _ended(task, TaskStatus.CANCELED, rules, final=True, charge=Charge.NONE)
    return _changed(task, changed, rules, Note(kind="canceled"), Draft(type=EventType.TASK_CANCELED, hard=True))


def _expire(task: Task, rules: Rules, why: str) -> Step:
    """Give up, softly: the provider never said no, may still charge, and may still be heard."""
    failure = Failure(code=FailureCode.DEADLINE, message=f"no end by the deadline: {why}", retryable=True)
    changed = _ended(task, TaskStatus.EXPIRED, rules, final=False, failure=failure, charge=Charge.POSSIBLE)
    return _changed(task, changed, rules, Note(kind="expired", detail={"why": why}), Draft(type=EventType.TASK_EXPIRED))


def _keep_watching(task: Task, rules: Rules) -> Step:
    """A bound task that ended without finality is asked now and then, for a week."""
    if task.final_at is not None or task.finished_at is None or task.provider_task_id is None:
        return Step(task=task, outcome=Outcome.IGNORED)
    until = task.finished_at + SLOW_POLL_FOR_SECONDS * SECOND
    at = rules.now + SLOW_POLL_SECONDS * SECOND
    return _scheduled(task, replace(task, due_at=at if at <= until else None), rules)


# Shared arithmetic


def _ended(
    task: Task, status: TaskStatus, rules: Rules, *, final: bool, charge: Charge, failure: Failure | None = None
) -> Task:
    watch = not final and task.provider_task_id is not None
    return replace(
        task,
        status=status,
        phase=None,
        failure=failure,
        charge=charge,
        late=task.finished_at is not None,
        final_at=rules.now if final else None,
        finished_at=rules.now,
        due_at=rules.now + SLOW_POLL_SECONDS * SECOND if watch else None,
        streak=None,
        streak_count=0,
        streak_since=None,
        streak_last_at=None,
    )


def _charged(reading: Reading, otherwise: Charge) -> Charge:
    """What a verdict says about money: a reported amount is certain, none is not."""
    if reading.charged is None:
        return otherwise
    try:
        return Charge.CONFIRMED if Decimal(reading.charged) > 0 else Charge.NONE
    except InvalidOperation:
        return otherwise


def _next_poll(task: Task, rules: Rules) -> int:
    at = schedule.next_poll_at(
        rules.now,
        submitted_at=task.submitted_at or task.created_at,
        expected_seconds=rules.expected_seconds,
        pushes=rules.pushes,
        jitter=rules.jitter,
    )
    return _before_deadline(task, at)


def _before_deadline(task: Task, at: int) -> int:
    """No plan reaches past the deadline: at the deadline the task is looked at in any case."""
    return at if task.finished_at is not None else min(at, task.deadline_at)


def _lagging(task: Task, rules: Rules) -> Task:
    """A push claims an end that the query does not show yet: ask again soon, a few times."""
    counted = _streak(task, Streak.LAG, rules)
    at = schedule.lag_poll_at(counted.streak_count - 1, rules.now)
    return replace(counted, due_at=_before_deadline(task, at)) if at is not None else _calm(task)


def _streak(task: Task, kind: Streak, rules: Rules) -> Task:
    """Count one more answer of the same inconclusive kind."""
    again = task.streak is kind
    return replace(
        task,
        streak=kind,
        streak_count=task.streak_count + 1 if again else 1,
        streak_since=task.streak_since if again else rules.now,
        streak_last_at=rules.now,
    )


def _lasted(task: Task, count: int, seconds: float, rules: Rules) -> bool:
    since = task.streak_since if task.streak_since is not None else rules.now
    return task.streak_count >= count and rules.now - since >= int(seconds * SECOND)


def _calm(task: Task) -> Task:
    if task.streak is None:
        return task
    return replace(task, streak=None, streak_count=0, streak_since=None, streak_last_at=None)


def _told(kind: str, reading: Reading, **more: object) -> Note:
    """A note with what the provider said, leaving out what it did not."""
    said: dict[str, Any] = {
        "provider_task_id": reading.provider_task_id,
        "provider_status": reading.provider_status,
        "message": reading.failure.message if reading.failure is not None else None,
        "detail": reading.detail,
        **more,
    }
    return Note(kind=kind, detail={name: value for name, value in said.items() if value is not None})


def _changed(task: Task, changed: Task, rules: Rules, note: Note, *drafts: Draft) -> Step:
    after = replace(changed, version=task.version + 1, sequence=task.sequence + len(drafts), updated_at=rules.now)
    return Step(task=after, outcome=Outcome.CHANGED, notes=(note,), drafts=_numbered(after, task.sequence, drafts))


def _numbered(after: Task, sequence: int, drafts: tuple[Draft, ...]) -> tuple[Draft, ...]:
    """Each event shows the task as the step left it, under its own number."""
    if len(drafts) == 1:
        return (replace(drafts[0], task=after),)
    return tuple(
        replace(draft, task=replace(after, sequence=sequence + number)) for number, draft in enumerate(drafts, 1)
    )


def _scheduled(task: Task, changed: Task, rules: Rules, *notes: Note) -> Step:
    """Only when to look next, or how often we have, is new."""
    return Step(task=replace(changed, version=task.version + 1), outcome=Outcome.SCHEDULED, notes=notes)


def _conflict(task: Task, seen: Observation, kind: str, why: str) -> Step:
    """Contradictions change nothing but are recorded and told, to those who asked for them."""
    note = Note(kind="conflict", detail={"conflict": kind, "why": why})
    draft = Draft(
        type=EventType.TASK_CONFLICT, discriminator=f"{kind}:{seen.claim}:{seen.reading.provider_task_id or ''}"
    )
    after = replace(task, version=task.version + 1, sequence=task.sequence + 1)
    return Step(task=after, outcome=Outcome.CONFLICT, notes=(note,), drafts=_numbered(after, task.sequence, (draft,)))
