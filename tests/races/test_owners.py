"""An owner that slept past its lease wakes up: what it says of its own accord counts no more, and what it heard still does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service.core.observation import Claim, Source
from service.pipeline.account import AccountLane
from service.pipeline.drill import drill
from storage.records import Lane, LaneKind, Output, Task, TaskStatus
from tests.races.replicas import hand
from tests.service.pipeline.rig import Rig

pytestmark = pytest.mark.slow

ACCOUNT = (LaneKind.ACCOUNT, "cloudsway")
VIDEO = (Output(url="https://cdn.example.net/a.mp4"),)


async def lapsed(one: Rig) -> AccountLane:
    """A worker whose lease has run out, which it does not know."""
    one.ttl_seconds = 0.0
    worker = await one.worker(*ACCOUNT)
    assert isinstance(worker, AccountLane)
    worker.lane = replace(worker.lane, until=2**62)
    one.clock.advance(1)  # its rate begins with nothing
    return worker


async def take_over(two: Rig) -> Lane:
    await two.worker(*ACCOUNT)
    lane = await two.lane(*ACCOUNT)
    assert lane.owner == "two"
    return lane


async def turned(worker: AccountLane) -> None:
    await worker.run_once()
    await worker.stop()


async def untouched(rig: Rig, task: Task) -> None:
    found = await rig.now(task)
    assert (found.status, found.submissions, found.version) == (TaskStatus.QUEUED, 0, task.version)


async def test_a_lapsed_owner_buys_nothing_and_notices(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    worker = await lapsed(one)
    task = await one.task(await one.project())
    await take_over(two)
    await turned(worker)
    await untouched(one, task)
    assert worker.lost


async def test_an_intent_that_had_to_wait_until_the_lane_was_taken_over_buys_nothing(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    worker = await lapsed(one)
    task = await one.task(await one.project())
    async with hand(address) as third:
        await third.run("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", task.id)
        turn = asyncio.create_task(turned(worker))
        await third.stopped()
        await take_over(two)
    await turn
    await untouched(one, task)


async def test_a_lane_is_not_taken_over_between_an_intent_and_its_commit(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    """Who takes over looks once for what its predecessor left on its way: there must be no intent behind that look."""
    one, two = replicas
    worker = await lapsed(one)
    task = await one.task(await one.project())
    async with hand(address) as third:
        await third.run("LOCK TABLE timeline IN EXCLUSIVE MODE")
        turn = asyncio.create_task(turned(worker))
        await third.stopped()
        assert await two.claim() == 0
    await turn
    assert len(await one.submissions(task)) == 1


async def test_a_lapsed_owner_does_not_doubt_what_its_successor_is_buying(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    worker = await lapsed(one)
    task = await one.task(await one.project())
    await take_over(two)
    await two.intend(task)
    await turned(worker)
    assert (await one.now(task)).status is TaskStatus.SUBMITTING
    assert worker.lost


async def test_a_lapsed_owner_gives_up_nothing_for_a_refusal_that_is_over(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    worker = await lapsed(one)
    task = await one.task(await one.project(), deadline_seconds=60)
    one.clock.advance(61)
    await take_over(two)
    await turned(worker)
    await untouched(one, task)


async def test_what_a_provider_said_to_a_lapsed_owner_still_counts(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    task = await one.task(await one.project())
    await lapsed(one)
    submission = await one.intend(task)
    await take_over(two)
    await one.see(task, Claim.ACCEPTED, job="job-1", submission=submission, source=Source.SUBMIT)
    await one.see(task, Claim.SUCCEEDED, job="job-1", outputs=VIDEO)
    assert (await one.now(task)).status is TaskStatus.SUCCEEDED


async def test_of_three_replicas_that_start_on_a_copy_the_slow_ones_doubt_nothing_that_was_made_since(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    project = await one.project()
    old = await one.task(project)
    await one.run("UPDATE installation SET copied_at = :at", at=one.clock())
    one.clock.advance(60)
    async with hand(address) as third:
        await third.run("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", old.id)
        slow = asyncio.create_task(drill(two.database, two.recorder, clock=two.clock))
        fast = asyncio.create_task(drill(one.database, one.recorder, clock=one.clock))
        await third.stopped(2)
    assert await fast is not None
    assert await slow is not None
    assert (await one.now(old)).status is TaskStatus.UNCONFIRMED
    fresh = await one.task(project)
    late = replace(two.seen(fresh, Claim.RESTORED, source=Source.OPERATOR), at=two.clock())
    became = await two.recorder.record(late)  # of a drill that began before the mark went
    assert became.void
    await untouched(one, fresh)
