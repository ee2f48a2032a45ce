"""Whoever lost their lane, or came to a drill too late, says nothing any more. (With replicas at the same time: tests/races.)"""

from __future__ import annotations

from dataclasses import replace

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Reading, Source
from storage.records import Lane, LaneKind, Task, TaskStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig

ACCOUNT = (LaneKind.ACCOUNT, "cloudsway")


def intent(rig: Rig, task: Task, lane: Lane | None) -> Observation:
    return Observation(
        task_id=task.id,
        source=Source.SUBMIT,
        reading=Reading(claim=Claim.INTENT),
        at=rig.clock(),
        submission_id=rig.mint("sub"),
        submission_deadline_at=rig.clock() + 30 * SECOND,
        lane=lane,
    )


async def owned(rig: Rig) -> Lane:
    await rig.worker(*ACCOUNT)
    return await rig.lane(*ACCOUNT)


async def test_the_owner_of_a_lane_may_buy(still: Rig) -> None:
    task = await still.task(await still.project())
    became = await still.recorder.record(intent(still, task, await owned(still)))
    assert (became.outcome, became.void) == (Outcome.CHANGED, False)


async def test_a_former_owner_may_not_and_hears_why(still: Rig) -> None:
    task = await still.task(await still.project())
    lane = await owned(still)
    for former in (replace(lane, epoch=lane.epoch - 1), replace(lane, owner="somebody else")):
        became = await still.recorder.record(intent(still, task, former))
        assert (became.outcome, became.void, became.task) == (Outcome.IGNORED, True, task)
    assert await still.submissions(task) == []


async def test_in_one_batch_only_their_own_words_are_void(still: Rig) -> None:
    project = await still.project()
    tasks = [await still.task(project) for _ in range(3)]
    lane = await owned(still)
    lanes = (replace(lane, epoch=0), lane, None)
    became = await still.recorder.record_all(
        [intent(still, task, lane) for task, lane in zip(tasks, lanes, strict=True)]
    )
    assert [one.void for one in became] == [True, False, False]


async def test_what_may_have_been_bought_since_a_copy_was_made_is_told_only_of_a_copy(still: Rig) -> None:
    task = await still.task(await still.project())
    told = still.seen(task, Claim.RESTORED, source=Source.OPERATOR)
    assert (await still.recorder.record(told)).void
    assert (await still.now(task)).status is TaskStatus.QUEUED
    await still.run("UPDATE installation SET copied_at = 1")
    assert not (await still.recorder.record(told)).void
    assert (await still.now(task)).status is TaskStatus.UNCONFIRMED
