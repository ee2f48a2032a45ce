from __future__ import annotations

from service.core.observation import Claim, Source
from service.pipeline.sweep import Sweep
from service.sandbox.script import Step
from storage.records import EndpointStatus, LaneKind, TaskStatus
from tests.service.pipeline.rig import Rig


def sweep(rig: Rig) -> Sweep:
    return Sweep(rig.database, rig.recorder, clock=rig.clock)


async def test_tasks_of_an_account_that_is_gone_end_at_their_deadline(still: Rig) -> None:
    project = await still.project()
    queued, bound, lost, midway = [await still.task(project, deadline_seconds=600) for _ in range(4)]
    await still.bound(bound)
    submission = await still.intend(lost)
    await still.see(lost, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
    await still.intend(midway)
    del still.accounts["cloudsway"]
    still.clock.advance(659)
    assert await sweep(still).run_once() == 0
    for _ in range(3):
        still.clock.advance(300)
        await sweep(still).run_once()
    for task in (queued, bound, lost, midway):
        assert (await still.now(task)).status is TaskStatus.EXPIRED, task.status
    assert await sweep(still).run_once() == 0


async def test_a_lane_that_has_work_and_no_time_is_mended_and_counted(still: Rig) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project)
    paused = await still.endpoint(project, status=EndpointStatus.PAUSED)
    task = await still.task(project)
    await still.see(task, Claim.CANCEL, source=Source.OPERATOR)
    await still.task(project)
    await still.run("UPDATE lanes SET next_due_at = NULL")
    assert await sweep(still).run_once() == 2
    assert (await still.lane(LaneKind.ENDPOINT, endpoint)).next_due_at is not None
    assert (await still.lane(LaneKind.ACCOUNT, "cloudsway")).next_due_at is not None
    assert (await still.lane(LaneKind.ENDPOINT, paused)).next_due_at is None
    assert await sweep(still).run_once() == 0


async def test_sweeping_does_not_shorten_the_patience_with_a_provider_that_is_down(rig: Rig) -> None:
    """A bound task expires after a quarter of an hour of failing queries past its deadline, however often it is swept."""
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: no-push]", deadline_seconds=600)
    await rig.settle()
    rig.world.script.queries.append(Step(directive="status=503", times=10_000))
    await rig.stretch(600)
    for _ in range(26):
        await rig.stretch(30)
        assert await sweep(rig).run_once() == 0, "a task that waits for its provider gives the sweep nothing to do"
        rig.ring(LaneKind.ACCOUNT, "cloudsway")
    assert (await rig.now(task)).status is TaskStatus.PROCESSING, "13 minutes"
    for _ in range(10):
        await rig.stretch(30)
        await sweep(rig).run_once()
        rig.ring(LaneKind.ACCOUNT, "cloudsway")
    assert (await rig.now(task)).status is TaskStatus.EXPIRED
