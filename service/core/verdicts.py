"""Verdicts: what a message says about a provider's job, and which task that job belongs to.

What contradicts is never resolved by guessing: the task keeps what it knows, the contradiction is recorded and told.
"""

from __future__ import annotations

from typing import Final

from service.core.adopting import release
from service.core.asking import expire, keep_watching, unanswered, undecided
from service.core.buying import ambiguous
from service.core.ending import charge_of, ended, paid
from service.core.events import EventType
from service.core.observation import Claim, Observation, Reading, Source
from service.core.patience import (
    END_CLAIMS,
    QUERIES,
    asked_again,
    asked_past_deadline,
    calm,
    lasted,
    late,
    next_query,
    slow_poll_at,
    span,
    streak,
)
from service.core.step import Draft, Note, Rules, Step, both, conflict, ignored, move, said
from service.core.surplus import counted, without
from storage.records import OPEN_STATUSES, Charge, Failure, FailureCode, Streak, Task, TaskStatus, evolve

NO_OUTPUT_QUERIES: Final = 10  # after a success word without a URL: further queries …
NO_OUTPUT_SECONDS: Final = 600  # … over at least
SURPLUS_TOLD: Final = 20

MAY_BIND: Final = frozenset(
    {TaskStatus.QUEUED, TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED, TaskStatus.EXPIRED, TaskStatus.FAILED}
)
MAY_END: Final = frozenset({TaskStatus.PROCESSING, TaskStatus.EXPIRED, TaskStatus.FAILED})


def about_a_job(task: Task, seen: Observation, rules: Rules) -> Step:
    """First whose job it is, then what became of it. One message may bind a task and end it: one step, one version."""
    reading = seen.reading
    if task.provider_task_id is not None and reading.provider_task_id not in (None, task.provider_task_id):
        return _another_job(task, seen, rules)
    if task.final_at is not None:
        return _after_the_end(task, seen, rules)
    if late(task, rules):
        return ignored(task)
    if task.adopted_at is not None:
        return _adopted(task, seen, rules)
    if task.provider_task_id is not None:
        return _beside(_verdict(task, seen, rules), reading, rules)
    step = _bind(task, seen, rules)
    if step.task.provider_task_id is not None:
        step = _beside(both(step, _verdict(step.task, seen, rules)), reading, rules)
    return step


def _beside(step: Step, reading: Reading, rules: Rules) -> Step:
    """The jobs that a look-up found beside the task's own."""
    for also in reading.also[:SURPLUS_TOLD]:
        if also != step.task.provider_task_id:
            why = f"{step.task.provider_task_id} and {also} carry our id"
            step = both(step, _surplus(step.task, also, why, rules))
    return step


def _bind(task: Task, seen: Observation, rules: Rules) -> Step:
    """T3: the task gets the job that the message names. An id is stored once, by whoever holds evidence."""
    reading = seen.reading
    if reading.provider_task_id is None:
        return unanswered(task, seen, rules, said("unknown_vocabulary", reading))
    if task.status not in MAY_BIND:
        return ignored(task)
    if task.status is TaskStatus.QUEUED and task.submissions == 0:
        why = f"{reading.provider_task_id} exists and nothing was submitted"
        return _surplus(task, reading.provider_task_id, why, rules, reading)
    if seen.source in (Source.LOOK_UP, Source.CALLBACK) and reading.external_id not in (None, task.id):
        told = conflict(task, "mismatch", reading.provider_task_id, "the job it names carries another task's id")
        return both(told, undecided(told.task, told.task, seen, rules, "no job with our id was found"))
    mine = without(calm(task), reading.provider_task_id, task.account)
    bound = evolve(mine, provider_task_id=reading.provider_task_id, permitted_at=None)
    note = Note(kind="bound", detail={"provider_task_id": reading.provider_task_id, "was": task.status.value})
    return _known(task, bound, reading, rules, note)


def _adopted(task: Task, seen: Observation, rules: Rules) -> Step:
    """T3, second half: the provider shows the job that a person named, unless it says that the job is another task's."""
    if seen.reading.external_id not in (None, task.id):
        return release(task, rules, "the job carries another task's id")
    note = Note(kind="bound", detail={"provider_task_id": task.provider_task_id, "was": "adopted"})
    step = _known(task, evolve(calm(task), adopted_at=None), seen.reading, rules, note)
    return both(step, _verdict(step.task, seen, rules))


def _known(task: Task, bound: Task, reading: Reading, rules: Rules, note: Note) -> Step:
    """The task, now that its job is known to exist."""
    bound = evolve(bound, submitted_at=task.submitted_at or rules.now)
    if task.status not in OPEN_STATUSES:
        return move(task, evolve(bound, due_at=slow_poll_at(bound, rules)), rules, note)
    bound = paid(
        evolve(bound, status=TaskStatus.PROCESSING, phase="queued_at_provider", charge=Charge.ESTIMATED), reading
    )
    bound = evolve(bound, due_at=next_query(bound, rules))
    return move(task, bound, rules, note, Draft(type=EventType.TASK_SUBMITTED))


def _verdict(task: Task, seen: Observation, rules: Rules) -> Step:
    if task.status not in MAY_END:
        return ignored(task)
    match seen.claim:
        case Claim.SUCCEEDED if seen.reading.outputs:
            return _succeeded(task, seen, rules)
        case Claim.SUCCEEDED:
            return _no_output(task, seen, rules)
        case Claim.FAILED:
            return _failed(task, seen, rules)
        case _:
            return _running(task, seen, rules)


def _running(task: Task, seen: Observation, rules: Rules) -> Step:
    """The job is alive. A word that lies behind what we know is ignored, whatever order messages come in."""
    if task.status is not TaskStatus.PROCESSING:
        return keep_watching(task, seen, rules)
    reading = seen.reading
    if asked_past_deadline(task, seen):
        return expire(task, rules, f"the provider still says {reading.provider_status or reading.claim}")
    changed = paid(task, reading)
    started = seen.claim is Claim.RUNNING and task.phase != "running"
    if seen.claim is Claim.RUNNING or task.phase != "running":
        changed = evolve(
            changed,
            phase="running" if started else task.phase,
            provider_status=reading.provider_status or task.provider_status,
            progress=max(reading.progress, task.progress or 0) if reading.progress is not None else task.progress,
        )
    asked = seen.source in QUERIES
    if asked:
        changed = asked_again(changed, seen, rules)
    doubtful = asked and changed.streak is Streak.LAG and changed.streak_count == 1
    note = said("push_not_confirmed", reading, push=seen.prompted_by) if doubtful else None
    if not started:
        return move(task, changed, rules, note)
    step = move(task, changed, rules, said("running", reading), Draft(type=EventType.TASK_PROCESSING))
    return both(step, move(step.task, step.task, rules, note))


def _succeeded(task: Task, seen: Observation, rules: Rules) -> Step:
    """T9, T12."""
    reading = seen.reading
    charge = charge_of(task, reading, Charge.ESTIMATED)
    end = ended(
        task,
        TaskStatus.SUCCEEDED,
        rules,
        final=True,
        charge=charge,
        reading=reading,
        outputs=reading.outputs,
        progress=100,
    )
    return move(task, end, rules, said("succeeded", reading), Draft(type=EventType.TASK_SUCCEEDED, hard=True))


def _failed(task: Task, seen: Observation, rules: Rules) -> Step:
    """T10, T12."""
    reading = seen.reading
    failure = reading.failure or Failure(code=FailureCode.PROVIDER_ERROR, message="the provider reports a failure")
    charge = Charge.REFUNDED if reading.refunded else charge_of(task, reading, Charge.POSSIBLE)
    end = ended(task, TaskStatus.FAILED, rules, final=True, failure=failure, charge=charge, reading=reading)
    # A soft task.failed may have gone before: the verdict is another fact, with another id.
    draft = Draft(type=EventType.TASK_FAILED, discriminator="late" if end.late else "", hard=True)
    return move(task, end, rules, said("failed", reading), draft)


def _no_output(task: Task, seen: Observation, rules: Rules) -> Step:
    """A success word without a usable URL waits, bounded: the file may follow the word."""
    if task.status is not TaskStatus.PROCESSING:
        return keep_watching(task, seen, rules)
    if seen.source not in QUERIES and task.streak is Streak.NO_OUTPUT:
        return ignored(task)  # the wait is counted in queries; a push that repeats itself must not shorten it
    reading = seen.reading
    waited = streak(task, Streak.NO_OUTPUT, rules.now)
    if lasted(waited, 1 + NO_OUTPUT_QUERIES, NO_OUTPUT_SECONDS, rules):
        failure = Failure(
            code=FailureCode.NO_OUTPUT, message="the provider says it succeeded and gives no output", retryable=True
        )
        charge = charge_of(task, reading, Charge.POSSIBLE)
        end = ended(task, TaskStatus.FAILED, rules, final=False, failure=failure, charge=charge, reading=reading)
        return move(task, end, rules, said("no_output", reading), Draft(type=EventType.TASK_FAILED))
    waited = evolve(waited, provider_status=reading.provider_status or task.provider_status)
    at = rules.now + span(NO_OUTPUT_SECONDS / NO_OUTPUT_QUERIES * (1 + rules.jitter / 10))
    due_at = at if rules.now >= task.deadline_at else min(at, task.deadline_at)
    note = said("no_output", reading) if waited.streak_count == 1 else None
    return move(task, evolve(waited, due_at=due_at), rules, note)


def of_a_former_account(task: Task, seen: Observation, rules: Rules) -> Step:
    """Who refused the task, so that it went on to another, now says something. Only a job can matter: one too many."""
    found = seen.reading.provider_task_id
    if found is None or seen.source is Source.CALLBACK:
        return ignored(task)
    why = f"{seen.account} refused the task and made {found}; it had gone on to {task.account}"
    return _surplus(task, found, why, rules, seen.reading, account=seen.account)


def taken_by_another(task: Task, seen: Observation, rules: Rules) -> Step:
    """Two tasks cannot share a job: theft, or a provider that uses an id twice. So nothing is known of our own."""
    found = seen.reading.provider_task_id or ""
    told = conflict(task, "binding", found, f"{found} belongs to another task")
    if seen.source is Source.SUBMIT:
        return both(told, ambiguous(told.task, seen, rules))
    return both(told, undecided(told.task, told.task, seen, rules, "the job it names belongs to another task"))


def _another_job(task: Task, seen: Observation, rules: Rules) -> Step:
    """A message that names another job than ours. Where our own id leads to it, we bought twice."""
    found = seen.reading.provider_task_id or ""
    if seen.source in (Source.SUBMIT, Source.LOOK_UP) or seen.reading.external_id == task.id:
        if task.adopted_at is not None:  # evidence against a person's word, which nothing has confirmed
            freed = release(task, rules, f"{found} is the job that carries our id")
            return both(freed, about_a_job(freed.task, seen, rules))
        why = f"{found} was bought beside {task.provider_task_id}"
        told = _beside(_surplus(task, found, why, rules, seen.reading), seen.reading, rules)
        if seen.source is Source.POLL:
            return both(told, undecided(told.task, told.task, seen, rules, why))
        return both(told, _own_next(told.task, rules)) if seen.source is Source.LOOK_UP else told
    told = conflict(task, "mismatch", found, f"it speaks of {found}, this task is {task.provider_task_id}")
    if task.status is TaskStatus.PROCESSING and seen.source is Source.CALLBACK:
        return both(told, _own_next(told.task, rules))
    return both(told, undecided(told.task, told.task, seen, rules, "the provider speaks of another job"))


def _own_next(task: Task, rules: Rules) -> Step:
    """Ask after the task's own job at once: whatever made us look at another may have been meant for it."""
    if task.status is not TaskStatus.PROCESSING:
        return ignored(task)
    return move(task, evolve(task, due_at=rules.now if task.due_at is None else min(task.due_at, rules.now)), rules)


def _surplus(
    task: Task, found: str, why: str, rules: Rules, reading: Reading | None = None, *, account: str | None = None
) -> Step:
    """A purchase too many: never bound, never relayed; it is on the task's bill, and told so that somebody looks."""
    return conflict(counted(task, found, account or task.account, rules.now, reading), "surplus", found, why)


def _after_the_end(task: Task, seen: Observation, rules: Rules) -> Step:
    found = seen.reading.provider_task_id
    if task.provider_task_id is None and found is not None:
        return _surplus(task, found, f"{found} exists, and this task ended {task.status}", rules, seen.reading)
    if (seen.claim in END_CLAIMS) and (seen.claim is Claim.SUCCEEDED) is not (task.status is TaskStatus.SUCCEEDED):
        return conflict(task, "verdict", seen.claim, f"the provider now says {seen.claim}, this task is {task.status}")
    return ignored(task)
