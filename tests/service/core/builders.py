"""Tasks in every state, the messages they hear, and a life that is checked at every step."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from service.core.events import EventType
from service.core.lifecycle import SECOND, Draft, Note, Outcome, Rules, Step, advance
from service.core.observation import Actor, Claim, Observation, Reading, Source
from storage.records import OPEN_STATUSES, Charge, Failure, FailureCode, Output, Task, TaskStatus

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_790_000_000 * SECOND
DEADLINE = START + 2 * HOUR
SUBMIT_BY = START + 30 * SECOND
SETTLE = 120 * SECOND
JOB = "job-1"
ANNA = Actor(key_id="key_1", name="anna")
OUTPUT = Output(url="https://cdn.example.com/a.mp4")

QUEUED = Task(
    id="task_1",
    project_id="prj_1",
    account="main",
    provider="cloudsway",
    model="kling-3.0-turbo",
    status=TaskStatus.QUEUED,
    input="{}",
    due_at=START,
    deadline_at=DEADLINE,
    created_at=START,
    updated_at=START,
)
SUBMITTING = replace(
    QUEUED, status=TaskStatus.SUBMITTING, submissions=1, submission_deadline_at=SUBMIT_BY, due_at=None, version=1
)
UNCONFIRMED = replace(
    SUBMITTING,
    status=TaskStatus.UNCONFIRMED,
    charge=Charge.POSSIBLE,
    due_at=SUBMIT_BY + 5 * SECOND,
    sequence=1,
    version=2,
)
PERMITTED = replace(UNCONFIRMED, permitted_at=START + SECOND, due_at=SUBMIT_BY, version=3)
PROCESSING = replace(
    SUBMITTING,
    status=TaskStatus.PROCESSING,
    phase="queued_at_provider",
    provider_task_id=JOB,
    charge=Charge.ESTIMATED,
    submitted_at=START,
    due_at=START + MINUTE,
    sequence=1,
    version=2,
)
ADOPTED = replace(
    UNCONFIRMED,
    status=TaskStatus.PROCESSING,
    provider_task_id=JOB,
    adopted_at=START + SECOND,
    due_at=START + SECOND,
    version=3,
)
RUNNING = replace(PROCESSING, phase="running", provider_status="processing", sequence=2, version=3)
GIVEN_UP = Failure(code=FailureCode.DEADLINE, message="no end by the deadline", retryable=True)
EXPIRED = replace(
    RUNNING,
    status=TaskStatus.EXPIRED,
    phase=None,
    failure=GIVEN_UP,
    charge=Charge.POSSIBLE,
    finished_at=DEADLINE,
    due_at=DEADLINE + HOUR,
    sequence=3,
    version=4,
)
NO_OUTPUT = replace(EXPIRED, status=TaskStatus.FAILED, failure=replace(GIVEN_UP, code=FailureCode.NO_OUTPUT))
EXPIRED_UNBOUND = replace(EXPIRED, provider_task_id=None, submitted_at=None, provider_status=None, due_at=None)
ABANDONED = replace(
    EXPIRED_UNBOUND, status=TaskStatus.FAILED, failure=replace(GIVEN_UP, code=FailureCode.SUBMIT_ABANDONED)
)
SOFT_ENDS = (EXPIRED, NO_OUTPUT, EXPIRED_UNBOUND, ABANDONED)
SUCCEEDED = replace(
    RUNNING,
    status=TaskStatus.SUCCEEDED,
    phase=None,
    progress=100,
    outputs=(OUTPUT,),
    finished_at=START + HOUR,
    final_at=START + HOUR,
    due_at=None,
    sequence=3,
    version=4,
)
FAILED = replace(SUCCEEDED, status=TaskStatus.FAILED, outputs=(), failure=GIVEN_UP, charge=Charge.POSSIBLE)
REFUSED = replace(FAILED, provider_task_id=None, submitted_at=None, charge=Charge.NONE, sequence=1, version=2)
CANCELED = replace(REFUSED, status=TaskStatus.CANCELED, failure=None, submissions=0)
NEVER_SUBMITTED = replace(REFUSED, status=TaskStatus.EXPIRED, submissions=0)
HARD_ENDS = (SUCCEEDED, FAILED, REFUSED, CANCELED, NEVER_SUBMITTED)
ALL = (QUEUED, SUBMITTING, UNCONFIRMED, PERMITTED, ADOPTED, PROCESSING, RUNNING, *SOFT_ENDS, *HARD_ENDS)


def rules(now: int = START + MINUTE, **other: Any) -> Rules:
    return Rules(
        **(
            {"now": now, "jitter": 0.0, "pushes": True, "look_up": True, "resend": True, "expected_seconds": 60.0}
            | other
        )
    )


def see(
    claim: Claim,
    source: Source = Source.POLL,
    at: int = START + MINUTE,
    *,
    prompted_by: Claim | None = None,
    submission_deadline_at: int | None = None,
    **reading: Any,
) -> Observation:
    return Observation(
        task_id=QUEUED.id,
        source=source,
        reading=Reading(claim=claim, **reading),
        at=at,
        prompted_by=prompted_by,
        submission_deadline_at=submission_deadline_at,
    )


def intent(at: int = START, *, by: int = SUBMIT_BY, source: Source = Source.SUBMIT) -> Observation:
    return see(Claim.INTENT, source, at, submission_deadline_at=by)


def reply(claim: Claim, at: int = START + SECOND, **more: Any) -> Observation:
    return see(claim, Source.SUBMIT, at, **more)


def order(claim: Claim, at: int = START + MINUTE, job: str | None = None) -> Observation:
    """What a person says of a purchase whose fate is unknown."""
    return replace(see(claim, Source.OPERATOR, at, provider_task_id=job), by=ANNA)


def push(claim: Claim, at: int = START + MINUTE, **reading: Any) -> Observation:
    """A push that the account trusts: it names the job and echoes our id."""
    return see(claim, Source.CALLBACK, at, **({"provider_task_id": JOB, "external_id": QUEUED.id} | reading))


def poll(claim: Claim, at: int = START + MINUTE, **more: Any) -> Observation:
    return see(claim, Source.POLL, at, **more)


def look_up(claim: Claim, at: int = START + MINUTE, **more: Any) -> Observation:
    return see(claim, Source.LOOK_UP, at, **more)


@dataclass
class Life:
    """A task that hears one message after the other; what must hold of every step is checked at every step."""

    task: Task = QUEUED
    look_up: bool = True
    notes: list[Note] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def hear(self, seen: Observation, *, taken: bool = False, **other: Any) -> Step:
        """`seen`, recorded the moment it was made unless `now` says when."""
        known = rules(**({"now": seen.at, "look_up": self.look_up} | other))
        step = advance(self.task, seen, known, taken=taken)
        check(self.task, step, known)
        self.task = step.task
        self.notes += step.notes
        self.drafts += step.drafts
        self.outcomes.append(step.outcome)
        return step

    @property
    def told(self) -> list[EventType]:
        return [draft.type for draft in self.drafts]

    @property
    def conflicts(self) -> list[str]:
        return [draft.discriminator for draft in self.drafts if draft.type is EventType.TASK_CONFLICT]

    @property
    def hard(self) -> list[Draft]:
        return [draft for draft in self.drafts if draft.hard]


Q, S, U, P = TaskStatus.QUEUED, TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING
DONE, BAD, OFF, GONE = TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED

# The table, written a second time and by hand: from → where one transition may lead.
TABLE: dict[TaskStatus, set[TaskStatus]] = {
    Q: {S, P, OFF, GONE, BAD, U},
    S: {P, Q, BAD, U},
    U: {P, S, BAD, GONE, Q},
    P: {DONE, BAD, GONE, U},
    GONE: {DONE, BAD},
    BAD: {DONE, BAD},
    DONE: set(),
    OFF: set(),
}
SHOWS = {
    EventType.TASK_SUBMITTED: P,
    EventType.TASK_PROCESSING: P,
    EventType.TASK_SUCCEEDED: DONE,
    EventType.TASK_FAILED: BAD,
    EventType.TASK_CANCELED: OFF,
    EventType.TASK_EXPIRED: GONE,
    EventType.TASK_UNCONFIRMED: U,
}


# Of what has ended for good only the bill may grow, and its links be renewed.
STREAK = {"streak", "streak_count", "streak_since", "streak_last_at"}
FINAL_CHANGES = {"version", "sequence", "surplus", "outputs", *STREAK}


def check(before: Task, step: Step, known: Rules) -> None:
    """What holds of every step, whatever was heard."""
    after = step.task
    if step.outcome is Outcome.IGNORED:
        assert after is before
        assert not (step.notes or step.drafts)
        return
    assert after.version == before.version + 1
    assert after.sequence == before.sequence + len(step.drafts)
    for number, draft in enumerate(step.drafts, before.sequence + 1):
        assert draft.task is not None
        assert draft.task.sequence == number
        assert draft.task.version == after.version
        if draft.type is not EventType.TASK_CONFLICT:
            assert draft.task.status is SHOWS[draft.type]
    conflicts = any(draft.type is EventType.TASK_CONFLICT for draft in step.drafts)
    assert conflicts == (step.outcome is Outcome.CONFLICT)
    assert len(step.notes) >= len(step.drafts)
    if before.final:
        assert changed_fields(before, after) <= FINAL_CHANGES
    check_path(before, step)
    check_row(after, known)


def check_path(before: Task, step: Step) -> None:
    after = step.task
    path = [before.status, *(d.task.status for d in step.drafts if d.task is not None), after.status]
    for one, two in pairwise(path):
        assert one is two or two in TABLE[one], f"{one} → {two} is not in the table"
    hard = [draft for draft in step.drafts if draft.hard]
    assert len(hard) == (after.final and not before.final)
    ended = bool(hard) or (after.finished_at is not None and before.finished_at is None)
    assert after.late == (before.finished_at is not None if ended else before.late)
    if before.status is not after.status:
        assert step.notes


def check_row(task: Task, known: Rules) -> None:
    assert (task.finished_at is None) == (task.status in OPEN_STATUSES)
    assert task.finished_at is not None or task.final_at is None
    assert task.permitted_at is None or task.status is U
    assert task.adopted_at is None or (task.provider_task_id is not None and not task.final)
    assert (task.failure is not None) == (task.status in (BAD, GONE))
    assert bool(task.outputs) == (task.status is DONE)
    assert (task.streak is None) == (task.streak_count == 0) == (task.streak_since is None)
    if task.final or task.status is S:
        assert task.due_at is None
    elif task.status in OPEN_STATUSES:
        assert task.due_at is not None
        # Past the deadline a query is never further away than its minute, and a tenth of jitter.
        assert task.due_at <= max(task.deadline_at, known.now + 66 * SECOND)
        assert task.due_at <= task.deadline_at or known.now >= task.deadline_at
    elif task.provider_task_id is None:
        assert task.due_at is None
    if task.status in (Q, OFF) or (task.final and task.provider_task_id is None):
        assert task.charge is Charge.NONE
    if task.finished_at is not None and not task.final:
        assert task.charge in (Charge.POSSIBLE, Charge.CONFIRMED, Charge.NONE)


def changed_fields(before: Task, after: Task) -> set[str]:
    return {one.name for one in fields(Task) if getattr(before, one.name) != getattr(after, one.name)}
