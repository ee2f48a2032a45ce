from __future__ import annotations

import pytest

from service.core.care import care_of
from service.core.observation import Claim
from service.pipeline.accounts import Callbacks
from service.pipeline.silence import Silence
from storage.records import LaneKind
from tests.service.pipeline.rig import Rig

CLOUDSWAY = (LaneKind.ACCOUNT, "cloudsway")


def watch(rig: Rig) -> Silence:
    return Silence(rig.database, rig.recorder, rig.accounts, clock=rig.clock)


async def end(rig: Rig, project: str, *, pushed: bool) -> None:
    task = await rig.task(project)
    submission = await rig.bound(task)
    if pushed:
        await rig.recorder.record(rig.callback(submission, Claim.RUNNING, body=task.id.encode()))
    await rig.see(task, Claim.FAILED, job=f"job-{task.id}")
    rig.clock.advance(1)


async def told(rig: Rig) -> list[str]:
    rows = await rig.rows("SELECT type FROM events WHERE task_id IS NULL ORDER BY position")
    return [str(kind) for (kind,) in rows]


async def missing(rig: Rig) -> bool:
    return care_of(await rig.lane(*CLOUDSWAY)).silent_since is not None


async def test_pushes_that_stay_away_are_told_once_and_again_only_after_they_came_back(still: Rig) -> None:
    project = await still.project()
    await still.endpoint(project, events="account.callbacks_missing")
    silence = watch(still)
    for _ in range(4):
        await end(still, project, pushed=False)
    still.clock.advance(200)
    assert await silence.run_once() == 0
    assert not await missing(still)
    await end(still, project, pushed=False)
    await silence.run_once()
    assert not await missing(still), "a push may still come a little after the poll"
    still.clock.advance(200)
    for _ in range(3):
        await watch(still).run_once()
    assert await missing(still) and await told(still) == ["account.callbacks_missing"]
    for _ in range(3):
        await end(still, project, pushed=True)
    still.clock.advance(200)
    await silence.run_once()
    assert not await missing(still)
    for _ in range(5):
        await end(still, project, pushed=False)
    still.clock.advance(200)
    await silence.run_once()
    assert await told(still) == ["account.callbacks_missing"] * 2


@pytest.mark.parametrize("callbacks", [Callbacks.OFF, Callbacks.VERIFY])
async def test_where_no_push_is_to_be_expected_none_is_missed(still: Rig, callbacks: Callbacks) -> None:
    name = "cloudsway" if callbacks is Callbacks.OFF else "ulazai"
    still.accounts.clear()
    still.account(name, callbacks=callbacks)
    project = await still.project()
    for _ in range(6):
        task = await still.task(project, account=name)
        await still.bound(task)
        await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    still.clock.advance(200)
    await watch(still).run_once()
    assert care_of(await still.lane(LaneKind.ACCOUNT, name)).silent_since is None


async def test_what_ended_long_ago_says_nothing_of_now(still: Rig) -> None:
    project = await still.project()
    for _ in range(6):
        await end(still, project, pushed=False)
    still.clock.advance(7 * 3600)
    await watch(still).run_once()
    assert not await missing(still)
