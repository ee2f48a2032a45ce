"""Somebody wants to know now: a bell like a push's, a query within the rate, and the query decides."""

from __future__ import annotations

import asyncio

import pytest

from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.accounts import Callbacks
from storage.records import Task, TaskStatus
from tests.service.pipeline.rig import Rig


async def ask(rig: Rig, task: Task, *, times: int = 1) -> Task:
    wish = Observation(
        task_id=task.id, source=Source.OPERATOR, reading=Reading(claim=Claim.ASKED), at=rig.clock(), verified=False
    )
    await asyncio.gather(*(rig.recorder.record(wish) for _ in range(times)))
    await rig.settle()
    return await rig.now(task)


async def bought(rig: Rig, account: str) -> Task:
    rig.account(account, callbacks=Callbacks.VERIFY)
    task = await rig.task(await rig.project(), account=account, prompt="A boat. [sandbox: no-push]")
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    return task


@pytest.mark.parametrize("account", ["cloudsway", "ulazai", "acedata", "apiinone"])
async def test_an_end_that_nobody_told_of_is_known_at_once(rig: Rig, account: str) -> None:
    task = await bought(rig, account)
    rig.world.finish(rig.job(task).id)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING, "its poll is not due yet"
    after = await ask(rig, task)
    assert (after.status, await rig.bells()) == (TaskStatus.SUCCEEDED, 0)


async def test_who_asks_while_it_goes_on_changes_nothing_and_leaves_no_bell(rig: Rig) -> None:
    task = await bought(rig, "cloudsway")
    after = await ask(rig, task, times=20)
    assert (after.status, after.finished_at, await rig.bells()) == (TaskStatus.PROCESSING, None, 0)


async def test_what_is_not_bought_and_what_has_ended_for_good_is_not_asked_after(rig: Rig) -> None:
    rig.account("cloudsway")
    queued = await rig.task(await rig.project(), account="cloudsway")
    wish = Observation(
        task_id=queued.id, source=Source.OPERATOR, reading=Reading(claim=Claim.ASKED), at=rig.clock(), verified=False
    )
    await rig.recorder.record(wish)
    assert await rig.bells() == 0
    await rig.settle()
    rig.world.finish(rig.job(queued).id)
    assert (await ask(rig, queued)).final_at is not None
    await rig.recorder.record(wish)
    assert await rig.bells() == 0
