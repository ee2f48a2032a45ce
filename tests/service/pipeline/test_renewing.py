"""Links to outputs through the flow: a reader rings, the account's lane asks, and the answer is all that changes."""

from __future__ import annotations

import asyncio

import pytest

from service.core import links
from service.core.links import Standing
from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.accounts import Callbacks
from service.sandbox.script import Step
from storage.records import LaneKind, Task, TaskStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig

CONTRACTS = ["cloudsway", "ulazai", "acedata", "apiinone"]
DAY = 86_400.0


async def made(rig: Rig, account: str = "cloudsway", *, orders: str = "link-seconds=3600") -> Task:
    """A task that succeeded, with a link that is good for an hour."""
    task = await rig.task(await rig.project(), account=account, prompt=f"A boat. [sandbox: no-push, {orders}]")
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    await rig.stretch(300)
    return await ended(rig, task)


async def ended(rig: Rig, task: Task) -> Task:
    found = await rig.now(task)
    assert found.status is TaskStatus.SUCCEEDED
    return found


async def follow(rig: Rig, task: Task, *, times: int = 1) -> Task:
    """Readers ring, and the lane does what that asks of it."""
    wish = Observation(
        task_id=task.id,
        source=Source.READER,
        reading=Reading(claim=Claim.WANTED),
        at=rig.clock(),
        verified=False,
    )
    await asyncio.gather(*(rig.recorder.record(wish) for _ in range(times)))
    await rig.settle()
    return await rig.now(task)


def wait(rig: Rig, seconds: float) -> None:
    rig.clock.now += round(seconds * SECOND)


@pytest.mark.parametrize("callbacks", [Callbacks.VERIFY, Callbacks.TRUST, Callbacks.OFF])
@pytest.mark.parametrize("account", CONTRACTS)
async def test_a_dead_link_is_renewed_at_every_contract_however_its_pushes_are_taken(
    rig: Rig, account: str, callbacks: Callbacks
) -> None:
    rig.account(account, callbacks=callbacks)
    before = await made(rig, account)
    assert before.outputs[0].expires_at is not None, "the link says so itself"
    wait(rig, 3600)
    assert links.standing(before, rig.clock()) is Standing.DEAD
    after = await follow(rig, before)
    assert links.standing(after, rig.clock()) is Standing.LIVE
    assert after.outputs[0].url != before.outputs[0].url
    assert (after.sequence, await rig.bells()) == (before.sequence, 0)
    assert [entry.kind for entry in await rig.timeline(before)][-1] == "output_renewed"


@pytest.mark.parametrize("keeps", ["", ", keeps-record"])
@pytest.mark.parametrize("account", CONTRACTS)
async def test_what_a_provider_has_deleted_is_gone_after_three_answers_and_never_asked_for_again(
    rig: Rig, account: str, keeps: str
) -> None:
    rig.account(account)
    task = await made(rig, account, orders=f"link-seconds=3600, purge-after=3600{keeps}")
    wait(rig, 3600)
    for _ in range(3):
        assert links.standing(await rig.now(task), rig.clock()) is Standing.DEAD
        task = await follow(rig, task)
        wait(rig, 30)
    assert links.standing(task, rig.clock()) is Standing.GONE
    assert [entry.kind for entry in await rig.timeline(task)][-2:] == ["output_missing", "output_gone"]
    assert (task.status, task.final) == (TaskStatus.SUCCEEDED, True)


async def test_a_link_of_no_known_end_is_asked_for_after_a_day_and_not_again_for_another(rig: Rig) -> None:
    rig.account("ulazai")
    task = await made(rig, "ulazai", orders="seconds=1")
    assert task.outputs[0].expires_at is None
    wait(rig, DAY)
    assert links.standing(task, rig.clock()) is Standing.DOUBTFUL
    task = await follow(rig, task)
    wait(rig, DAY / 2)
    assert links.standing(task, rig.clock()) is Standing.LIVE


async def test_two_hundred_wishes_are_one_question(rig: Rig) -> None:
    task = await made(rig)
    wait(rig, 3600)
    before = rig.requests("query")
    await follow(rig, task, times=200)
    assert rig.requests("query") == before + 1


async def test_a_wish_outlives_the_process_that_took_it(rig: Rig) -> None:
    """It is a row: the next owner of the lane finds it."""
    task = await made(rig)
    wait(rig, 3600)
    worker = rig.workers.pop((LaneKind.ACCOUNT, "cloudsway"))
    await worker.stop()
    rig.touched = True  # the lane's row is put back as a crash would leave it
    wish = Observation(
        task_id=task.id, source=Source.READER, reading=Reading(claim=Claim.WANTED), at=rig.clock(), verified=False
    )
    await rig.recorder.record(wish)
    assert await rig.bells() == 1
    await rig.run("UPDATE lanes SET owner = NULL, until = 0")
    await rig.settle()
    assert links.standing(await rig.now(task), rig.clock()) is Standing.LIVE


async def test_a_question_that_fails_is_not_asked_for_ever(rig: Rig) -> None:
    task = await made(rig)
    wait(rig, 3600)
    rig.world.script.queries.append(Step(directive="status=500", times=100))
    before = rig.requests("query")
    after = await follow(rig, task)
    await rig.stretch(300)
    assert (rig.requests("query"), await rig.bells()) == (before + 1, 0)
    assert after.outputs == task.outputs
