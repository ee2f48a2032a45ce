from __future__ import annotations

from service.core.observation import Claim
from service.core.times import DAY
from service.pipeline import figures
from service.pipeline.figures import Figures
from storage.records import Task
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig


async def read(rig: Rig, name: str = "cloudsway") -> Figures:
    return (await rig.database.read(lambda tx: figures.read(tx, [name], now=rig.clock())))[name]


async def end(rig: Rig, project: str, *, pushed: bool) -> Task:
    task = await rig.task(project)
    submission = await rig.bound(task)
    if pushed:
        await rig.recorder.record(rig.callback(submission, Claim.RUNNING, body=task.id.encode()))
    await rig.see(task, Claim.FAILED, job=f"job-{task.id}")
    return task


async def test_an_account_that_was_never_used_has_nothing(still: Rig) -> None:
    found = await read(still)
    assert (found.lane, found.queued, found.open_at_provider, found.next_due_at) == (None, 0, 0, None)
    assert (found.day.expected, found.week.seen) == (0, 0)


async def test_what_waits_and_what_runs_is_counted_apart(still: Rig) -> None:
    project = await still.project()
    for _ in range(3):
        await still.task(project)
    await still.bound(await still.task(project))
    await still.task(project, account="ulazai")
    found = await read(still)
    assert (found.queued, found.open_at_provider, found.next_due_at) == (3, 1, still.clock())


async def test_pushes_are_counted_by_the_day_and_by_the_week(still: Rig) -> None:
    project = await still.project()
    began = still.clock()
    await end(still, project, pushed=False)
    still.clock.now += 2 * DAY
    for pushed in (True, False, True):
        await end(still, project, pushed=pushed)
    still.clock.advance(1)
    found = await read(still)
    assert (found.day.expected, found.day.seen) == (3, 2)
    assert (found.week.expected, found.week.seen) == (4, 2)
    assert found.day.since == still.clock() - DAY
    assert found.week.since == began, "the feed reaches no further back"
    still.clock.now += 8 * DAY
    assert (await read(still)).week.expected == 0


async def test_what_nobody_bought_needed_no_push(still: Rig) -> None:
    await still.task(await still.project(), deadline_seconds=1)
    task = await still.task(await still.project())
    await still.see(task, Claim.CANCEL)
    still.clock.now += 5 * SECOND
    assert (await read(still)).day.expected == 0
