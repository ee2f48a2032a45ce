"""Whoever asks may go away at any moment: what was asked happens whole or not at all, and everybody else is served."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from service.core.observation import Claim
from service.net.guard import Policy
from service.pipeline.create import CreateDesk, create
from service.providers.registry import PROVIDERS
from storage.database import Connection
from storage.errors import Unavailable
from storage.sqlite import SQLiteDatabase
from tests.service.api.house import account
from tests.service.pipeline.parties import Clock
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.test_create import request

TURNS = 400  # more than any of these takes; the sweep ends at the first that was not cut off
AT_ONCE = 4


async def cut_off(work: Callable[[], Coroutine[Any, Any, object]], turns: int) -> bool:
    """Cancel after so many turns of the loop; whether that came before its end."""
    running = asyncio.create_task(work())
    for _ in range(turns):
        if running.done():
            break
        await asyncio.sleep(0)
    cut = running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return cut


async def sweep(work: Callable[[int], Coroutine[Any, Any, object]], whole: Callable[[int], Awaitable[None]]) -> int:
    """Cut the work off after 0, 1, 2 … turns of the loop until it gets through; `whole` looks after each."""
    for turns in range(TURNS):
        cut = await cut_off(lambda: work(turns), turns)  # noqa: B023 (awaited at once)
        await whole(turns)
        if not cut:
            return turns
    raise AssertionError(f"it did not end within {TURNS} turns")


@pytest.fixture(params=["on threads", "in line"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """The flow without other parties. In line a turn of the loop is the same piece of work on every run."""
    clock = Clock()

    async def pace() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    database = await SQLiteDatabase.open(
        f"{tmp_path}/t.db", clock=clock, pace=pace if request.param == "in line" else None
    )
    made = Rig(path=tmp_path, clock=clock, database=database)
    made.account()
    try:
        yield made
    finally:
        await made.close()


def desk_of(rig: Rig) -> CreateDesk:
    return CreateDesk(
        database=rig.database,
        providers=PROVIDERS,
        accounts={"cloudsway": account("cloudsway", "cloudsway", None)},
        disabled={},
        policy=Policy(),
        clock=rig.clock,
        mint=rig.mint,
        ring=lambda key, at: rig.ring(*key),
    )


async def test_a_task_is_created_whole_or_not_at_all(rig: Rig) -> None:
    project, desk = await rig.project(), desk_of(rig)
    stored = 0

    async def work(turns: int) -> object:
        return await asyncio.gather(
            *(create(request(reference=f"r-{turns}-{n}"), project, desk) for n in range(AT_ONCE))
        )

    async def whole(turns: int) -> None:
        nonlocal stored
        await rig.project()  # goes through behind whatever was cut off
        found = await rig.rows(
            "SELECT t.id, (SELECT count(*) FROM timeline e WHERE e.task_id = t.id AND e.kind = 'created')"
            " FROM tasks t WHERE t.reference LIKE :mine", mine=f"r-{turns}-%",
        )  # fmt: skip
        assert all(entries == 1 for _, entries in found)
        assert len(await rig.rows("SELECT 1 FROM timeline WHERE task_id NOT IN (SELECT id FROM tasks)")) == 0
        stored += len(found)
        if stored:
            [(due,)] = await rig.rows("SELECT next_due_at FROM lanes WHERE kind = 'account'")
            assert due is not None

    last = await sweep(work, whole)
    assert last > 1 and stored >= AT_ONCE


async def test_an_end_its_event_and_its_deliveries_are_one_however_its_caller_leaves(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    tasks = [await rig.task(project) for _ in range(TURNS // 4)]
    for task in tasks:
        await rig.bound(task)
    waiting = iter(tasks)
    told = 0

    async def work(turns: int) -> object:
        seen = rig.seen(next(waiting), Claim.SUCCEEDED, outputs=())
        failed = rig.seen(next(waiting), Claim.FAILED)
        return await rig.recorder.record_all([seen, failed])

    async def whole(turns: int) -> None:
        nonlocal told
        await rig.recorder.drain()
        ended = await rig.rows("SELECT id FROM tasks WHERE finished_at IS NOT NULL")
        events = await rig.rows("SELECT task_id FROM events WHERE type = 'task.failed'")
        owed = await rig.rows("SELECT event_id FROM deliveries WHERE endpoint_id = :endpoint", endpoint=endpoint)
        assert sorted(ended) == sorted(events) and len(owed) == len(events)
        told = len(events)

    await sweep(work, whole)
    assert told >= 1


async def test_a_reader_that_leaves_brings_its_connection_back(rig: Rig) -> None:
    async def look(tx: Connection) -> list[tuple[object, ...]]:
        return await tx.fetch("SELECT count(*) FROM tasks")

    async def work(turns: int) -> object:
        return await asyncio.gather(*(rig.database.read(look) for _ in range(AT_ONCE)))

    async def whole(turns: int) -> None:
        async with asyncio.timeout(30):
            assert await rig.database.read(look) == [(0,)]

    await sweep(work, whole)


async def test_whoever_waits_for_a_recorder_that_ends_with_its_loop_hears_of_it(rig: Rig) -> None:
    project = await rig.project()
    waiting = [asyncio.ensure_future(rig.see(await rig.task(project), Claim.RUNNING)) for _ in range(3)]
    await asyncio.sleep(0)
    for turns in itertools.count():
        runner = rig.recorder._runner
        if runner is None or turns > 5:
            break
        runner.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(not isinstance(outcome, Unavailable) for outcome in outcomes)
        assert (await rig.see(await rig.task(project), Claim.RUNNING)).task is not None, "it begins anew"
