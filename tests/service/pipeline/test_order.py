"""One true history of a job, heard through the recorder and a real database: any order, repetition, lag, split and restart.

Whatever the schedule, one end is told, once, under one id, and nothing changes it afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.core import events
from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.accounts import Callbacks
from service.pipeline.ledger import Callback, Recorded
from service.pipeline.recorder import Recorder
from storage import account_tasks
from storage.database import Row
from storage.records import Task, TaskStatus
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
    Shows,
    Step,
    Wait,
    read_answer,
    read_push,
)
from tests.service.pipeline.rig import Rig

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
# All examples share the fixture's database: each makes a task of its own.
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"
MODES = {
    "verify": (Callbacks.VERIFY, None),
    "trust": (Callbacks.TRUST, None),
    "trust-signed": (Callbacks.TRUST, SECRET),
    "off": (Callbacks.OFF, None),
}
ENDS = ("task.succeeded", "task.failed", "task.canceled", "task.expired")
INCIDENTAL = (
    "id", "provider_task_id", "outputs",  # named after the example, looked at one by one
    "version", "sequence", "created_at", "deadline_at", "updated_at", "submitted_at", "submission_deadline_at",
    "finished_at", "final_at", "due_at",
)  # fmt: skip


def essence(task: Task) -> Task:
    """What must be the same whatever the order."""
    return replace(task, **dict.fromkeys(INCIDENTAL, None))  # type: ignore[arg-type]


@dataclass
class Bench:
    """Plays a schedule for one task: what was heard since the last commit is one batch."""

    rig: Rig
    mode: str
    task: Task
    submission: str
    job: Job
    recorder: Recorder
    begun: int
    heard: list[Observation | Callback] = field(default_factory=list)
    pending: list[tuple[Task, int, Reading]] = field(default_factory=list)
    replied: bool = False
    final: Task | None = None

    async def take(self, step: Step) -> None:
        self.rig.clock.now += 1
        match step:
            case Move():
                self.job.move()
            case Wait() if self.rig.clock() - self.begun + step.seconds * 1e6 < LONGEST * 1e6:
                self.rig.clock.advance(step.seconds)
            case Pushed() if step.says is not Says.CONTRARY or not self.decides(step):
                self.heard += [self.callback(step)] * step.times
            case Asked():
                # By who read the task as it is stored: what waits for its commit is not known to him.
                stored = await self.rig.now(self.task)
                if stored.status is not TaskStatus.QUEUED:
                    self.pending.append((stored, self.rig.clock(), read_answer(self.job, stored, step)))
            case Answered() if self.pending:
                self.heard.append(self.answered(*self.pending.pop(step.place % len(self.pending))))
            case Replied() if not self.replied:
                self.replied = True
                claim = Claim.AMBIGUOUS if step.lost else Claim.ACCEPTED
                self.heard.append(self.reply(claim, None if step.lost else self.job.id))
            case Restarted():
                await self.restart()
            case Committed():
                await self.commit()
            case _:
                pass

    def decides(self, step: Pushed) -> bool:
        return self.mode == "trust" or (self.mode == "trust-signed" and step.signed)

    def callback(self, step: Pushed) -> Callback:
        body = self.job.push(step)
        return Callback(
            provider="cloudsway",
            submission_id=self.submission,
            reading=read_push(body),
            body=body,
            # A forger has the URL and not the secret.
            signed=step.signed and step.says is not Says.CONTRARY,
        )

    def answered(self, asked: Task, at: int, found: Reading) -> Observation:
        source = Source.POLL if asked.provider_task_id is not None else Source.LOOK_UP
        return Observation(
            task_id=self.task.id,
            source=source,
            reading=found,
            at=at,
            prompted_by=Claim.SUCCEEDED if at % 2 else None,
            account="cloudsway",
        )

    def reply(self, claim: Claim, job: str | None) -> Observation:
        return Observation(
            task_id=self.task.id,
            source=Source.SUBMIT,
            reading=Reading(claim=claim, provider_task_id=job),
            at=self.rig.clock(),
            submission_id=self.submission,
            account="cloudsway",
        )

    async def restart(self) -> None:
        """A new process: what was not committed is gone, or is recorded by the old one after all; the intents left are in doubt."""
        await self.commit()
        self.recorder = Recorder(self.rig.database, self.rig.desk(), arrived=self.rig.batches.append)
        adrift = await self.rig.database.read(lambda tx: account_tasks.adrift(tx, "cloudsway"))
        self.heard += [self.reply(Claim.AMBIGUOUS, None) for task_id, _ in adrift if task_id == self.task.id]
        await self.commit()

    async def commit(self) -> None:
        heard, self.heard = self.heard, []
        recorded = await self.recorder.record_all(heard)
        self.rig.batches.clear()
        stored = await self.rig.now(self.task)
        if self.final is not None:
            assert stored == self.final, "an end that is final absorbs everything"
        elif stored.final:
            self.final = stored
        await self.nothing_rang_in_vain(heard, recorded)

    async def nothing_rang_in_vain(self, heard: Sequence[Observation | Callback], recorded: Sequence[Recorded]) -> None:
        """A push that is said to ring has left a bell for whoever asks next, and its lane is due."""
        rang = [
            one.body
            for one, became in zip(heard, recorded, strict=True)
            if isinstance(one, Callback) and became.outcome is Outcome.SCHEDULED
        ]
        if rang:
            rows = await self.rig.rows(
                "SELECT raw FROM observations WHERE task_id = :id AND verified_at IS NULL", id=self.task.id
            )
            assert {(body,) for body in rang} <= set(rows)

    async def end(self) -> None:
        """The poller never rests: what nobody else told, it learns."""
        while self.pending:
            await self.take(Answered())
        while not self.job.ended:
            self.job.move()
        await self.restart()
        for _ in range(2):
            await self.take(Asked())
            await self.take(Answered())
            await self.commit()


@pytest.fixture
async def project(still: Rig, mode: str) -> str:
    """A project with an endpoint that wants everything, in an account of this mode."""
    callbacks, secret = MODES[mode]
    still.account(callbacks=callbacks, webhook_secret=secret)
    made = await still.project()
    await still.endpoint(made, events="*")
    return made


async def bench(rig: Rig, project: str, mode: str, failed: bool, without_output: bool) -> Bench:
    rig.clock.advance(1)
    task = await rig.task(project)
    submission = await rig.intend(task)
    number = task.id.removeprefix("task_")
    job = Job(id=f"job-{number}", task_id=task.id, failed=failed, without_output=without_output)
    return Bench(rig, mode, task, submission, job, rig.recorder, rig.clock())


async def told(rig: Rig, task: Task) -> list[Row]:
    return await rig.rows(
        "SELECT e.type, e.id, e.sequence, e.hard, (SELECT count(*) FROM deliveries d WHERE d.event_id = e.id)"
        " FROM events e WHERE e.task_id = :id ORDER BY e.position",
        id=task.id,
    )


@pytest.mark.parametrize("mode", MODES)
@thorough
@given(schedule=SCHEDULES, failed=st.booleans(), without_output=st.booleans())
async def test_any_schedule_of_one_history_ends_once_the_same_way_under_one_id(
    still: Rig, project: str, mode: str, schedule: list[Step], failed: bool, without_output: bool
) -> None:
    played = await bench(still, project, mode, failed, without_output)
    for step in schedule:
        await played.take(step)
    await played.end()
    plain = await bench(still, project, mode, failed, without_output)
    await plain.take(Replied())
    await plain.end()

    task = await still.now(played.task)
    assert task.status is (TaskStatus.FAILED if failed else TaskStatus.SUCCEEDED)
    assert (task.final, task.provider_task_id) == (True, played.job.id)
    assert [output.url for output in task.outputs] == ([] if failed else [played.job.output])
    assert essence(task) == essence(await still.now(plain.task))
    await one_end_is_told(still, task)
    lines = [(entry.version, entry.ordinal) for entry in await still.timeline(task)]
    assert lines == sorted(set(lines))


async def one_end_is_told(rig: Rig, task: Task) -> None:
    rows = await told(rig, task)
    kinds = [str(kind) for kind, *_ in rows]
    assert [kind for kind in kinds if kind in ENDS] == [kinds[-1]] == [f"task.{task.status}"]
    assert len(set(kinds)) == len(kinds), "nothing is told twice"
    assert "task.conflict" not in kinds, "nothing here contradicts what an authenticated source said"
    assert [hard for _, _, _, hard, _ in rows] == [0] * (len(rows) - 1) + [1]
    assert rows[-1][1] == events.event_id(b"ins_test", task.id, kinds[-1], "")
    sequences = [int(str(sequence)) for _, _, sequence, _, _ in rows]
    assert all(one < two for one, two in pairwise(sequences))
    assert sequences[-1] == task.sequence
    assert {owed for *_, owed in rows} == {1}


def test_the_schedules_hold_what_they_promise() -> None:
    """Else the property would hold of little: each kind of step and of claim is drawn."""
    seen: set[str] = set()

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(SCHEDULES)
    def draw(schedule: list[Step]) -> None:
        for step in schedule:
            seen.add(type(step).__name__)
            if isinstance(step, Pushed):
                seen.update((step.says.value, f"x{step.times}"))
            if isinstance(step, Asked):
                seen.update((f"shows {step.shows}", f"lag {step.lag}"))

    draw()
    assert seen >= {"Move", "Wait", "Pushed", "Asked", "Answered", "Replied", "Restarted", "Committed", "x100"}
    assert seen >= {says.value for says in Says} | {f"shows {shows}" for shows in Shows} | {"lag 0", "lag 4"}
