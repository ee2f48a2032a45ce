"""After six hours of downtime: everything that waited is worked off at each account's rate, oldest first, nothing starves, nothing expires.

`DRAIN_TASKS=10000 pytest -s -o timeout=900 tests/service/pipeline/test_drain.py` does it with ten thousand open tasks; the time
is virtual, the requests go over real sockets.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from service.sandbox.jobs import Asked, Job
from storage import lanes, submissions, tasks
from storage.database import Connection
from storage.records import Charge, LaneKind, Submission, SubmissionStatus, Task, TaskStatus
from tests.service.pipeline.parties import SECOND, Clock, open_network
from tests.service.pipeline.rig import Rig, open_rig

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("DRAIN_TASKS", "600"))
HOURS = 6
QUIET = "A boat. [sandbox: no-push]"


@dataclass(frozen=True, kw_only=True)
class Share:
    """One account's part of the backlog, in sixtieths of it; `rate` a second."""

    name: str
    rate: float
    batch: int
    queued: int = 0
    processing: int = 0
    unconfirmed: int = 0

    def of(self, part: int) -> int:
        return COUNT * part // 60

    @property
    def requests(self) -> int:
        """How many it takes: a purchase, a look-up, or a batch of questions each."""
        return self.of(self.queued) + self.of(self.unconfirmed) + math.ceil(self.of(self.processing) / self.batch)


SHARES = (
    Share(name="cloudsway", rate=20.0, batch=20, queued=10, processing=20, unconfirmed=4),
    Share(name="acedata", rate=5.0, batch=50, queued=2, processing=14),
    Share(name="ulazai", rate=5.0, batch=1, processing=10),
)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = Clock()
    network = await open_network(clock)
    made = await open_rig(tmp_path, clock, network)
    for share in SHARES:
        desk = made.account(share.name, rate=share.rate, max_open_tasks=2 * COUNT)
        made.accounts[share.name] = replace(desk, expected_seconds=3600.0)  # what is bought now is not asked after yet
    try:
        yield made
    finally:
        for server in network.servers:
            await server.stop()
        await made.close()


async def pattern(rig: Rig, project: str, account: str) -> Task:
    """A task at its provider, whose like the backlog is made of."""
    task = await rig.task(project, account=account, prompt=QUIET, deadline_seconds=86_400)
    await rig.stretch(5)
    return await rig.now(task)


def another(rig: Rig, like: Job, task_id: str) -> Job:
    """A job that its provider finished while we were down, and whose push nobody heard."""
    mine = like.external_id is not None
    job = replace(
        like,
        id=rig.world.new_id(),
        external_id=task_id if mine else None,
        changes=[],
        pushes=[],
        queries=deque(),
        callback_url=None,
    )
    rig.world.accept(job)
    rig.world.finish(job.id)
    return job


async def backlog(rig: Rig) -> dict[str, list[Task]]:
    """Six hours before now: tasks in every open state, their deadlines passed by where a provider has them."""
    project = await rig.project()
    patterns = {share.name: await pattern(rig, project, share.name) for share in SHARES}
    models = {name: rig.job(task) for name, task in patterns.items()}
    left_at = rig.clock()
    rig.clock.advance(HOURS * 3600)
    made: dict[str, list[Task]] = {share.name: [] for share in SHARES}
    lost: list[Submission] = []
    for share in SHARES:
        like = patterns[share.name]
        states = [TaskStatus.QUEUED] * share.of(share.queued) + [TaskStatus.PROCESSING] * share.of(share.processing)
        states += [TaskStatus.UNCONFIRMED] * share.of(share.unconfirmed)
        for number, status in enumerate(states):
            task_id, due_at = rig.mint("task"), left_at + (number * 7919 % 3600) * SECOND
            task = replace(like, id=task_id, status=status, due_at=due_at, created_at=left_at, submitted_at=left_at)
            if status is TaskStatus.QUEUED:
                task = replace(
                    task,
                    provider_task_id=None,
                    submitted_at=None,
                    phase=None,
                    charge=Charge.NONE,
                    submissions=0,
                    submission_deadline_at=None,
                    deadline_at=rig.clock() + 86_400 * SECOND,
                )
            else:
                job = another(rig, models[share.name], task_id)
                task = replace(task, provider_task_id=job.id, deadline_at=left_at + 7200 * SECOND)
            if status is TaskStatus.UNCONFIRMED:
                task = replace(task, provider_task_id=None, submitted_at=None, phase=None, charge=Charge.POSSIBLE)
                lost.append(
                    Submission(
                        id=rig.mint("sub"),
                        task_id=task_id,
                        number=1,
                        account=share.name,
                        status=SubmissionStatus.AMBIGUOUS,
                        deadline_at=left_at + 30 * SECOND,
                        created_at=left_at,
                    )
                )
            made[share.name].append(task)

    async def unit(tx: Connection) -> None:
        for one in made.values():
            for task in one:
                await tasks.insert(tx, task)
        await submissions.insert(tx, lost)
        await lanes.arrive(tx, {(LaneKind.ACCOUNT, share.name): left_at for share in SHARES})
        await tx.fetch("UPDATE lanes SET owner = NULL, until = 0")

    await rig.database.write(unit)
    return made


def done(task: Task) -> bool:
    """Bought, or with the verdict that its provider had."""
    return task.status is TaskStatus.SUCCEEDED or (task.status is TaskStatus.PROCESSING and task.submissions > 0)


def most_in_ten_seconds(requests: list[Asked]) -> int:
    at = sorted(one.at for one in requests)
    most = first = 0
    for last, moment in enumerate(at):
        while at[first] < moment - 10:
            first += 1
        most = max(most, last - first + 1)
    return most


def sort_of(one: Asked) -> str:
    return "create" if one.kind == "create" else ("look-up" if "external_task_ids" in one.query else "poll")


async def test_a_backlog_of_six_hours_is_worked_off_at_the_rate_and_nothing_starves_or_expires(rig: Rig) -> None:
    made = await backlog(rig)
    for worker in rig.workers.values():
        await worker.stop()
    rig.workers.clear()
    rig.world.requests = deque(maxlen=20 * COUNT)
    began = rig.clock()
    longest = max(share.requests / share.rate for share in SHARES) * 1.2 + 1
    ended: dict[str, float] = {}
    while len(ended) < len(SHARES) and rig.clock() < began + longest * 2 * SECOND:
        await rig.stretch(1.0)
        for share in SHARES:
            rows = await rig.rows(
                "SELECT count(*) FROM tasks WHERE account = :account AND (status IN ('queued', 'unconfirmed')"
                " OR (status = 'processing' AND due_at <= :due_at))",
                account=share.name,
                due_at=began,
            )
            if rows == [(0,)]:
                ended.setdefault(share.name, (rig.clock() - began) / SECOND)
    seen = [one for one in rig.world.requests if one.at * SECOND >= began]
    rows = await rig.rows("SELECT status, count(*) FROM tasks GROUP BY 1")
    told = Counter({str(status): int(str(count)) for status, count in rows})
    sys.stdout.write(f"\n{COUNT} open tasks after {HOURS} h: {dict(told)}\n")
    for share in SHARES:
        mine = [one for one in seen if one.contract == share.name]
        kinds, early = (
            Counter(map(sort_of, mine)),
            Counter(map(sort_of, (one for one in mine if one.at < began / 1e6 + 5))),
        )
        sys.stdout.write(
            f"  {share.name}: {len(made[share.name])} tasks, {share.requests} requests needed, {len(mine)} made at {share.rate}/s,"
            f" at most {most_in_ten_seconds(mine)} in 10 s, done after {ended.get(share.name, math.inf):.0f} s"
            f" (ideal {share.requests / share.rate:.1f} s), in the first 5 s {dict(early)}\n"
        )
        assert most_in_ten_seconds(mine) <= share.rate * 10 * 1.1
        assert share.name in ended and ended[share.name] <= share.requests / share.rate * 1.2 + 2, ended
        assert len(mine) <= share.requests * 1.02 + 2, "questions go out in whole batches"
        fair = 0.8 * early.total() / len(kinds)
        assert all(early[kind] >= min(kinds[kind], fair) for kind in kinds), "each sort has its turn"
    assert told["expired"] == told["failed"] == 0
    old = [task.id for one in made.values() for task in one if task.status is not TaskStatus.QUEUED]
    found = await rig.database.read(lambda tx: tasks.read(tx, old))
    left = [task for task in found.values() if task.status is not TaskStatus.SUCCEEDED]
    assert not left, [(task.provider, [entry.detail for entry in await rig.timeline(task)]) for task in left[:3]]
    await in_order(rig, made["ulazai"])


async def in_order(rig: Rig, made: list[Task]) -> None:
    """Whoever was due first was asked after first."""
    bound = sorted(
        (task.due_at or 0, task.id, task.provider_task_id) for task in made if task.provider_task_id is not None
    )
    asked = [rig.world.jobs[job].queries[0].at for _, _, job in bound if job is not None]
    assert asked == sorted(asked)
