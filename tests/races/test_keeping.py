"""Somebody asks for what another replica is about to take away, and two ask for the same at once."""

from __future__ import annotations

import asyncio

import pytest

from service.core.observation import Claim
from service.pipeline import redelivery
from service.pipeline.audit_trail import Act
from service.pipeline.erase import CannotErase, erase
from storage import endpoints, replays, retention
from storage.database import Connection
from storage.records import Output
from storage.retention import Window
from tests.races.replicas import hand
from tests.service.pipeline.rig import Rig

pytestmark = pytest.mark.slow

WINDOW = Window(below="zz", before=2**62, settled_before=2**62)
VIDEO = (Output(url="https://cdn.example.net/a.mp4"),)
ALL_SETTLED = "UPDATE deliveries SET status = 'exhausted', due_at = NULL, attempts = 1"


async def over(rig: Rig, count: int = 1) -> tuple[str, str, list[str]]:
    """A project, its endpoint, and tasks of which the endpoint did not take the end."""
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    tasks = [await rig.task(project) for _ in range(count)]
    for task in tasks:
        await rig.bound(task)
        await rig.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)
    await rig.run(ALL_SETTLED)
    rig.touched = True
    return project, endpoint, [task.id for task in tasks]


async def left(rig: Rig) -> tuple[int, int]:
    """Deliveries, and those whose event is gone."""
    [(all_of_them,)] = await rig.rows("SELECT count(*) FROM deliveries")
    [(lost,)] = await rig.rows(
        "SELECT count(*) FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id)"
    )
    return int(str(all_of_them)), int(str(lost))


async def test_a_delivery_is_retried_or_taken_away_and_never_both(replicas: tuple[Rig, Rig], address: str) -> None:
    one, two = replicas
    project, _, tasks = await over(one)
    [(delivery,)] = await one.rows("SELECT id FROM deliveries")
    act = Act(action="retry")
    async with hand(address) as third:
        await third.run("LOCK TABLE attempts IN EXCLUSIVE MODE")  # it was judged, and begins to go
        going = asyncio.create_task(one.database.write(lambda tx: retention.delete_tasks(tx, tasks, WINDOW)))
        await third.stopped()
        asked = asyncio.create_task(redelivery.retry(two.recorder, str(delivery), project, act))
        await asyncio.wait({asked, asyncio.ensure_future(third.stopped(2))}, return_when=asyncio.FIRST_COMPLETED)
    assert await going == 1
    assert await asked is None
    assert await left(one) == (0, 0)


async def test_a_debt_that_is_made_anew_keeps_its_task_or_is_not_made(replicas: tuple[Rig, Rig], address: str) -> None:
    """`missing`, of an event that is just being taken away: a debt without an event could never be paid."""
    one, two = replicas
    project, endpoint, tasks = await over(one)
    stands = await two.database.read(lambda tx: endpoints.get(tx, endpoint, project))
    assert stands is not None
    await one.run("DELETE FROM deliveries")
    async with hand(address) as third:
        await third.run("LOCK TABLE attempts IN EXCLUSIVE MODE")
        going = asyncio.create_task(one.database.write(lambda tx: retention.delete_tasks(tx, tasks, WINDOW)))
        await third.stopped()
        asked = asyncio.create_task(redelivery.replay_missing(two.recorder, two.database, stands, 0))
        await asyncio.wait({asked, asyncio.ensure_future(third.stopped(2))}, return_when=asyncio.FIRST_COMPLETED)
    assert await going == 1
    assert (await asked).count == 0
    assert await left(one) == (0, 0)


async def test_what_is_owed_again_before_it_is_judged_stays(replicas: tuple[Rig, Rig], address: str) -> None:
    one, _ = replicas
    _, _, tasks = await over(one)
    async with hand(address) as third:
        await third.run("UPDATE deliveries SET status = 'pending', due_at = 1")
        going = asyncio.create_task(one.database.write(lambda tx: retention.delete_tasks(tx, tasks, WINDOW)))
        await third.stopped()
    assert await going == 0
    assert await left(one) == (1, 0)


async def test_two_who_replay_the_same_at_once_are_told_of_each_delivery_once(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    project, endpoint, _ = await over(replicas[0], 5)

    async def again(tx: Connection) -> int:
        return await replays.restart_failed(tx, endpoint, project, since=0, floor="", now=5, batch=500)

    async with hand(address) as third:
        await third.run("SELECT 1 FROM deliveries FOR UPDATE")
        asking = [asyncio.create_task(rig.database.write(again)) for rig in replicas]
        await third.stopped(2)
    assert sorted(await asyncio.gather(*asking)) == [0, 5]


async def test_two_replicas_that_take_away_the_same_count_it_once(replicas: tuple[Rig, Rig]) -> None:
    _, _, tasks = await over(replicas[0], 4)
    gone = await asyncio.gather(
        *(rig.database.write(lambda tx: retention.delete_tasks(tx, tasks, WINDOW)) for rig in replicas)
    )
    assert sorted(gone) == [0, 4]


async def test_what_is_retried_while_it_is_erased_is_erased_first_or_not_at_all(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    project, _, [task] = await over(one)
    async with hand(address) as third:
        await third.run("UPDATE deliveries SET status = 'pending', due_at = 1")  # a retry that is about to be committed
        erasing = asyncio.create_task(
            one.recorder.write(lambda tx, ledger: erase(tx, ledger, task, project, Act(action="erase")))
        )
        await third.stopped()
    with pytest.raises(CannotErase, match="1 of its deliveries"):
        await erasing
    assert (await two.rows("SELECT erased_at FROM tasks")) == [(None,)]
