"""Two tasks of one account, bought, lost, bought again, pushed for and asked after in any order: nobody gets the other's job.

A machine draws the moves; the provider in it makes jobs, keeps them, and tells of them late, twice or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from service.core import lifecycle
from service.core.lifecycle import Rules
from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.accounts import Callbacks
from service.pipeline.ledger import Callback
from service.pipeline.recorder import Recorder
from storage import account_tasks
from storage.records import OPEN_STATUSES, Task, TaskStatus
from tests.service.histories import ACCOUNT, CLOUDSWAY, CLUES, Job, Pushed, Says, answer, read_push
from tests.service.pipeline.parties import SECOND, Clock
from tests.service.pipeline.rig import Rig, open_rig

EXAMPLES = max(int(os.environ.get("FUZZ_EXAMPLES", "160")) // 4, 40)
T = TypeVar("T")
WHO = st.integers(0, 1)
PACES = st.sampled_from([1.0, 20.0, 60.0])
WAITS = st.sampled_from([0.001, 1.0, 5.0, 30.0, 150.0, 150.0, 700.0, 3600.0])
SOFT, HARD = 0, 1
SETTLE = 120 * SECOND


@dataclass
class Bought:
    """One submission. `job` is None: the request never arrived, or was refused."""

    id: str
    deadline_at: int
    job: Job | None
    replied: bool = False


@dataclass
class Side:
    """One of the two tasks, and what is true of it."""

    task: Task
    fails: bool
    bought: list[Bought] = field(default_factory=list)
    pending: list[tuple[Task, int, Reading]] = field(default_factory=list)
    final: Task | None = None

    @property
    def jobs(self) -> list[Job]:
        return [made.job for made in self.bought if made.job is not None]


class TwoTasks(RuleBasedStateMachine):
    """The moves. What stands first is set by the test, because a database for each example is slow.

    `hides`: the provider's query may deny a job for ever. An honest one shows it once the settle window has passed.
    """

    rig: ClassVar[Rig]
    runner: ClassVar[asyncio.Runner]
    project: ClassVar[str]
    trust: ClassVar[bool]
    hides: ClassVar[bool]
    reached: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.rig.clock.advance(1)
        self.heard: list[Observation | Callback] = []
        self.recorder = Recorder(self.rig.database, self.rig.desk(), arrived=lambda batch: None)
        self.sides = [Side(self.run(self.rig.task(self.project)), fails=bool(place)) for place in range(2)]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def stored(self, side: Side) -> Task:
        return self.run(self.rig.now(side.task))

    # What we do

    @rule(who=WHO, arrives=st.booleans())
    def buy(self, who: int, arrives: bool) -> None:
        self.commit()
        side = self.sides[who]
        task = self.stored(side)
        if task.status is not TaskStatus.QUEUED and not lifecycle.may_resend(task, self.known()):
            return
        number = len(side.bought)
        name = side.task.id.removeprefix("task_")
        job = Job(id=f"job-{name}-{number}", task_id=task.id, failed=side.fails) if arrives else None
        made = Bought(self.rig.mint("sub"), self.rig.clock() + 30 * SECOND, job)
        self.heard.append(self.submitted(side, Reading(claim=Claim.INTENT), made))
        self.commit()
        if self.stored(side).status is TaskStatus.SUBMITTING:
            side.bought.append(made)

    @rule(who=WHO, lost=st.booleans(), again=st.booleans(), steals=st.booleans())
    def reply(self, who: int, lost: bool, again: bool, steals: bool) -> None:
        """The answer to a submission, at any time after it. `again`: where it was not made, it may be made later."""
        side, other = self.sides[who], self.sides[1 - who]
        waiting = [made for made in side.bought if not made.replied]
        if not waiting:
            return
        made = waiting[0]
        made.replied = True
        if lost:
            said = Reading(claim=Claim.AMBIGUOUS)
        elif made.job is None:
            said = Reading(claim=Claim.DEFERRED if again else Claim.REFUSED)
        else:
            theirs = self.stored(other).provider_task_id if steals else None
            said = Reading(claim=Claim.ACCEPTED, provider_task_id=theirs or made.job.id)
        self.heard.append(self.submitted(side, said, made))

    @rule(who=WHO, finds=st.sampled_from(["job", "job", "job", "nothing", "no answer"]))
    def ask(self, who: int, finds: str) -> None:
        """Of a bound task its job, of another whatever carries our id; the answer is on its way from then on."""
        side = self.sides[who]
        task = self.stored(side)
        if side.bought:
            side.pending.append((task, self.rig.clock(), self.shown(task, side, finds)))

    def shown(self, task: Task, side: Side, finds: str) -> Reading:
        if finds == "no answer":
            return Reading(claim=Claim.UNREACHABLE)
        settled_at = max(made.deadline_at for made in side.bought) + SETTLE
        if finds == "nothing" and (not self.hides and self.rig.clock() >= settled_at):
            finds = "job"
        every = [job for one in self.sides for job in one.jobs]
        wanted = [job for job in every if task.provider_task_id == job.id] if task.provider_task_id else side.jobs
        listed = [job.shown() | {"create_time": place} for place, job in enumerate(wanted) if finds == "job"]
        body = orjson.dumps({"code": 0, "data": listed[::-1]})
        if task.provider_task_id is None:
            return answer(CLOUDSWAY.look_up(ACCOUNT, task, CLUES), body)
        return answer(CLOUDSWAY.query(ACCOUNT, [task]), body)[task.id]

    @rule(who=WHO)
    def answered(self, who: int) -> None:
        side = self.sides[who]
        if side.pending:
            asked, at, found = side.pending.pop()
            source = Source.POLL if asked.provider_task_id is not None else Source.LOOK_UP
            self.heard.append(
                Observation(task_id=side.task.id, source=source, reading=found, at=at, account="cloudsway")
            )

    @rule(
        who=WHO, rounds=st.integers(1, 4), finds=st.sampled_from(["nothing", "nothing", "no answer", "job"]), pace=PACES
    )
    def search(self, who: int, rounds: int, finds: str, pace: float) -> None:
        """What a lane does of a purchase in doubt, and what makes it believe that nothing was bought."""
        for _ in range(rounds):
            self.rig.clock.advance(pace)
            self.ask(who, finds)
            self.answered(who)
            self.commit()

    @rule(who=WHO, arrives=st.booleans(), again=st.booleans(), rounds=st.integers(3, 5), pace=PACES)
    def lose(self, who: int, arrives: bool, again: bool, rounds: int, pace: float) -> None:
        """The way to a second purchase, which chance seldom finds: no reply, and nothing found for long enough, or nearly."""
        self.buy(who, arrives)
        self.reply(who, True, False, False)
        self.search(who, rounds, "nothing", pace)
        self.buy(who, again)

    @rule(who=WHO, at_once=st.booleans())
    def steal(self, who: int, at_once: bool) -> None:
        """A reply that names the other task's job; `at_once`: in the batch in which that one is bound."""
        self.buy(1 - who, True)
        self.buy(who, True)
        self.reply(1 - who, False, False, False)
        if not at_once:
            self.commit()
        self.reply(who, False, False, True)
        self.commit()

    @rule(who=WHO)
    def sweep(self, who: int) -> None:
        reading = Reading(claim=Claim.OVERDUE)
        at = self.rig.clock()
        self.heard.append(Observation(task_id=self.sides[who].task.id, source=Source.DEADLINE, reading=reading, at=at))

    @rule()
    def restart(self) -> None:
        self.commit()
        self.recorder = Recorder(self.rig.database, self.rig.desk(), arrived=lambda batch: None)
        for task_id, submission in self.run(self.rig.database.read(lambda tx: account_tasks.adrift(tx, "cloudsway"))):
            for side in self.sides:
                if side.task.id == task_id:
                    made = next(made for made in side.bought if made.id == submission)
                    self.heard.append(
                        replace(self.submitted(side, Reading(claim=Claim.AMBIGUOUS), made), submission_deadline_at=None)
                    )
        self.commit()

    # What the provider and strangers do

    @rule(who=WHO, which=st.integers(0, 1))
    def move(self, who: int, which: int) -> None:
        for job in self.sides[who].jobs[which : which + 1]:
            job.move()

    @rule(
        who=WHO,
        about=WHO,
        which=st.integers(0, 1),
        submission=st.integers(0, 1),
        says=st.sampled_from([Says.TRUE, Says.TRUE, Says.BARE, Says.AHEAD, Says.CONTRARY]),
        times=st.sampled_from([1, 1, 2, 20]),
    )
    def push(self, who: int, about: int, which: int, submission: int, says: Says, times: int) -> None:
        """Somebody posts to one task's URL what is so, or is not, of one or the other task's job."""
        side, jobs = self.sides[who], self.sides[about].jobs
        if not side.bought or not jobs or (self.trust and says is Says.CONTRARY and who == about):
            return
        body = jobs[which % len(jobs)].push(Pushed(says))
        callback = Callback(
            provider="cloudsway",
            submission_id=side.bought[submission % len(side.bought)].id,
            reading=read_push(body),
            body=body,
        )
        self.heard += [callback] * times

    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)

    @rule()
    def commit(self) -> None:
        self.rig.clock.now += 1
        heard, self.heard = self.heard, []

        async def record() -> None:
            await self.recorder.record_all(heard)

        self.run(record())
        for side in self.sides:
            self.judge(side)

    # What must hold

    def judge(self, side: Side) -> None:
        task = self.stored(side)
        if side.final is not None:
            # A job too many may still be found, and is put on the bill.
            assert task == replace(side.final, version=task.version, sequence=task.sequence, surplus=task.surplus), (
                "an end that is final absorbs everything"
            )
        elif task.final:
            side.final = task
        mine = {job.id: job for job in side.jobs}
        assert task.provider_task_id is None or task.provider_task_id in mine, "nobody gets another's job"
        assert {one.provider_task_id for one in task.surplus} <= {job.id for one in self.sides for job in one.jobs}
        if task.status is TaskStatus.QUEUED or (task.final and task.provider_task_id is None):
            assert not mine, "what is called not bought was not bought"
        if task.final and task.provider_task_id is not None:
            job = mine[task.provider_task_id]
            assert task.status is (TaskStatus.FAILED if job.failed else TaskStatus.SUCCEEDED)
            assert [output.url for output in task.outputs] == ([] if job.failed else [job.output])
        assert len(side.jobs) <= (2 if self.hides else 1), "bought again once at most, and where it is surely not there"
        self.judge_events(task)
        self.reached.update(
            name
            for name, true in {
                "bought again": task.resends,
                "two jobs": len(side.jobs) > 1,
                "surplus": task.surplus,
                "soft end": task.finished_at is not None and not task.final,
                "late end": task.late,
                "in doubt": task.status is TaskStatus.UNCONFIRMED,
            }.items()
            if true
        )

    def judge_events(self, task: Task) -> None:
        rows = self.run(
            self.rig.rows("SELECT type, sequence, hard FROM events WHERE task_id = :id ORDER BY position", id=task.id)
        )
        sequences = [int(str(sequence)) for _, sequence, _ in rows]
        assert all(one < two for one, two in pairwise(sequences))
        ends = [int(str(hard)) for kind, _, hard in rows if str(kind).split(".")[1] in ENDS]
        assert ends in ([], [SOFT], [HARD], [SOFT, HARD])
        assert (HARD in ends) == task.final

    # The end

    def teardown(self) -> None:
        """All are well again: what was bought and can be found ends as its job did."""
        for side in self.sides:
            while side.pending:
                self.answered(self.sides.index(side))
            for job in side.jobs:
                job.now = len(job.states) - 1
        self.restart()
        for _ in range(60):
            for who, side in enumerate(self.sides):
                self.heal(who, side)
        for side in self.sides:
            task = self.stored(side)
            assert task.status not in OPEN_STATUSES
            assert task.final or task.provider_task_id is None or task.due_at is None, (
                "what can be asked after is asked"
            )

    def heal(self, who: int, side: Side) -> None:
        task = self.stored(side)
        if task.final or (task.status not in OPEN_STATUSES and task.due_at is None):
            return
        if lifecycle.may_resend(task, self.known()):
            self.buy(who, True)
            self.reply(who, False, False, False)
        elif task.status is TaskStatus.QUEUED:
            self.rig.clock.now = max(self.rig.clock.now, task.deadline_at)
            self.sweep(who)
        elif task.status is TaskStatus.SUBMITTING:
            self.restart()
        else:
            self.rig.clock.now = max(self.rig.clock.now + SECOND, task.due_at or 0)
            self.ask(who, "job")
            self.answered(who)
        for job in side.jobs:
            job.now = len(job.states) - 1
        self.commit()

    def submitted(self, side: Side, reading: Reading, made: Bought) -> Observation:
        return Observation(
            task_id=side.task.id,
            source=Source.SUBMIT,
            reading=reading,
            at=self.rig.clock(),
            submission_id=made.id,
            submission_deadline_at=made.deadline_at,
            account="cloudsway",
        )

    def known(self) -> Rules:
        rules = self.rig.accounts["cloudsway"].rules()
        return Rules(
            now=self.rig.clock(),
            jitter=0.0,
            pushes=rules.pushes,
            look_up=rules.look_up,
            expected_seconds=60.0,
            settle_seconds=rules.settle_seconds,
            resend=rules.resend,
        )


ENDS = ("succeeded", "failed", "canceled", "expired")


@contextlib.contextmanager
def machine(path: Path, mode: Callbacks, hides: bool) -> Iterator[type[TwoTasks]]:
    with asyncio.Runner() as runner:
        rig = runner.run(open_rig(path, Clock(), None))
        try:
            rig.account(callbacks=mode)

            class Machine(TwoTasks):
                pass

            Machine.rig, Machine.runner, Machine.trust, Machine.hides = rig, runner, mode is Callbacks.TRUST, hides
            Machine.reached = Counter()
            Machine.project = runner.run(rig.project())
            runner.run(rig.endpoint(Machine.project, events="*"))
            yield Machine
        finally:
            runner.run(rig.close())


@pytest.mark.slow
@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("mode", [Callbacks.VERIFY, Callbacks.TRUST])
def test_two_tasks_never_get_each_others_job_and_each_ends_once(tmp_path: Path, mode: Callbacks, hides: bool) -> None:
    with machine(tmp_path, mode, hides) as made:
        run_state_machine_as_test(
            made, settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None, database=None)
        )


def test_the_machine_can_come_to_where_it_matters(tmp_path: Path) -> None:
    with machine(tmp_path, Callbacks.VERIFY, True) as made:
        moves = made()
        moves.lose(0, True, True, 4, 60)
        moves.lose(1, False, False, 5, 60)
        moves.wait(3600.0)
        moves.restart()
        moves.sweep(1)
        moves.ask(1, "nothing")
        moves.answered(1)
        moves.ask(0, "job")
        moves.answered(0)
        moves.commit()
        moves.teardown()
        assert {"in doubt", "bought again", "two jobs", "surplus", "soft end"} <= set(made.reached)
