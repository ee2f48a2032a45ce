from __future__ import annotations

import asyncio

import pytest

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Source
from service.pipeline import recorder as module
from service.pipeline.recorder import Recorder
from storage.database import Database, T, Unit
from storage.errors import Unavailable
from tests.service.pipeline.parties import Wrapped
from tests.service.pipeline.rig import Rig


async def test_what_arrives_during_a_commit_is_the_next_batch(still: Rig) -> None:
    project = await still.project()
    made = [await still.task(project) for _ in range(30)]
    first = still.recorder.submit(still.seen(made[0], Claim.CANCEL, source=Source.OPERATOR))
    await asyncio.sleep(0)  # the first is on its way
    others = [still.recorder.submit(still.seen(task, Claim.CANCEL, source=Source.OPERATOR)) for task in made[1:]]
    await asyncio.gather(first, *others)
    assert [len(batch.recorded) for batch in still.batches] == [1, 29]


async def test_a_caller_that_goes_away_takes_nothing_back(still: Rig) -> None:
    task = await still.task(await still.project())
    waiting = asyncio.create_task(still.see(task, Claim.CANCEL, source=Source.OPERATOR))
    await asyncio.sleep(0)
    waiting.cancel()
    await still.recorder.drain()
    assert (await still.now(task)).finished_at is not None


class Down(Wrapped):
    """A database that is away for some writes."""

    def __init__(self, inner: Database, times: int) -> None:
        super().__init__(inner)
        self.times = times
        self.writes = 0

    async def write(self, unit: Unit[T], /) -> T:
        self.writes += 1
        self.times -= 1
        if self.times >= 0:
            raise Unavailable("the disk is full")
        return await super().write(unit)


async def test_evidence_is_tried_until_it_is_stored(still: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await still.task(await still.project())
    rests: list[float] = []
    sleep = asyncio.sleep

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", rest)
    recorder = Recorder(Down(still.database, 3), still.desk(), arrived=lambda batch: None)
    told = await recorder.record_surely(still.seen(task, Claim.CANCEL, source=Source.OPERATOR))
    assert told.outcome is Outcome.CHANGED
    assert rests == [0.1, 0.2, 0.4]


async def test_a_database_that_is_away_is_not_asked_for_every_observation_of_a_batch(still: Rig) -> None:
    project = await still.project()
    made = [await still.task(project) for _ in range(20)]
    down = Down(still.database, 1000)
    recorder = Recorder(down, still.desk(), arrived=lambda batch: None)
    results = await asyncio.gather(
        *(recorder.record(still.seen(task, Claim.CANCEL, source=Source.OPERATOR)) for task in made),
        return_exceptions=True,
    )
    assert all(isinstance(one, Unavailable) for one in results)
    assert down.writes == 1


async def test_memory_is_bounded(still: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    task = await still.task(await still.project())
    seen = still.seen(task, Claim.RUNNING)
    waiting = [still.recorder.submit(seen), still.recorder.submit(seen)]
    with pytest.raises(Unavailable, match="waiting already"):
        still.recorder.submit(seen)
    await asyncio.gather(*waiting)
    await still.recorder.record(seen)


async def test_words_nobody_knows_are_counted_by_account(still: Rig) -> None:
    task = await still.task(await still.project())
    await still.bound(task)
    await still.see(task, Claim.UNKNOWN, provider_status="marinating")
    await still.see(task, Claim.RUNNING)
    assert still.recorder.unknown_vocabulary == {"cloudsway": 1}
