"""Whatever the order in which one true history is heard, however often and how late: one end, told once, and nothing after it."""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.core.events import EventType
from service.core.lifecycle import SECOND
from service.core.observation import Claim, Reading
from storage.records import Task, TaskStatus
from tests.service.core.builders import QUEUED, START, SUBMITTING, Life, look_up, poll, push, reply
from tests.service.histories import (
    LONGEST,
    SCHEDULES,
    Answered,
    Asked,
    Committed,
    Job,
    Move,
    Pushed,
    Replied,
    Restarted,
    Says,
    Step,
    Wait,
    read_answer,
    read_push,
)

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
thorough = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
ENDS = (EventType.TASK_SUCCEEDED, EventType.TASK_FAILED, EventType.TASK_CANCELED, EventType.TASK_EXPIRED)
# When things happened, and what is bookkeeping, may differ; nothing else.
INCIDENTAL = (
    "version",
    "sequence",
    "updated_at",
    "submitted_at",
    "finished_at",
    "final_at",
    "due_at",
)


def essence(task: Task) -> Task:
    return replace(task, **dict.fromkeys(INCIDENTAL, 0))  # type: ignore[arg-type]


class Hearing:
    """A life that hears a schedule. Every push here is one that may decide; the reducer sees no other."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.life = Life(SUBMITTING)
        self.now = START + SECOND
        self.pending: list[tuple[int, Reading]] = []
        self.replied = False

    def take(self, step: Step) -> None:
        self.now += 1
        match step:
            case Move():
                self.job.move()
            case Wait():
                self.now = min(self.now + int(step.seconds * SECOND), START + int(LONGEST * SECOND))
            case Pushed(says=Says.TRUE | Says.AHEAD):
                for _ in range(step.times):
                    self.hear(replace(push(Claim.WAITING, self.now), reading=read_push(self.job.push(step))))
            case Asked():
                self.pending.append((self.now, read_answer(self.job, self.life.task, step)))
            case Answered() if self.pending:
                at, found = self.pending.pop(step.place % len(self.pending))
                asked = poll if self.life.task.provider_task_id is not None else look_up
                self.hear(replace(asked(Claim.WAITING, at), reading=found))
            case Replied() if not self.replied:
                self.replied = True
                named = None if step.lost else self.job.id
                claim = Claim.AMBIGUOUS if step.lost else Claim.ACCEPTED
                self.hear(reply(claim, self.now, provider_task_id=named))
            case Restarted() if self.life.task.status is TaskStatus.SUBMITTING:
                self.hear(reply(Claim.AMBIGUOUS, self.now))
            case Pushed() | Committed() | Answered() | Replied() | Restarted():
                pass

    def hear(self, seen: object) -> None:
        self.life.hear(seen, now=self.now)  # type: ignore[arg-type]

    def end(self) -> None:
        """The poller never rests: what nobody else told, it learns."""
        while self.pending:
            self.take(Answered())
        while not self.job.ended:
            self.job.move()
        self.take(Restarted())
        for _ in range(2):
            self.take(Asked())
            self.take(Answered())


def plain(failed: bool, without_output: bool) -> Task:
    """The same history, told in its order and once."""
    hearing = Hearing(Job(id="18", task_id=QUEUED.id, failed=failed, without_output=without_output))
    hearing.take(Replied())
    hearing.end()
    return hearing.life.task


@thorough
@given(SCHEDULES, st.booleans(), st.booleans())
def test_any_order_and_any_repetition_of_one_history_is_one_end_told_once(
    schedule: list[Step], failed: bool, without_output: bool
) -> None:
    hearing = Hearing(Job(id="18", task_id=QUEUED.id, failed=failed, without_output=without_output))
    ended: Task | None = None
    for step in schedule:
        hearing.take(step)
        if ended is not None:
            assert hearing.life.task == ended, "an end that is final absorbs everything"
        elif hearing.life.task.final:
            ended = hearing.life.task
    hearing.end()
    life = hearing.life
    assert life.task.status is (TaskStatus.FAILED if failed else TaskStatus.SUCCEEDED)
    assert essence(life.task) == essence(plain(failed, without_output))
    assert [kind for kind in life.told if kind in ENDS] == [life.told[-1]]
    assert len(set(life.told)) == len(life.told), "nothing is told twice"
    assert [(draft.hard, draft.discriminator) for draft in life.drafts[-1:]] == [(True, "")]
    assert [draft.task.sequence for draft in life.drafts if draft.task] == list(range(1, len(life.drafts) + 1))
    assert life.conflicts == []
