"""What a crash may repeat: attempts in flight, and results that are not written yet. However long the database takes, no more."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service.pipeline import settling
from service.pipeline.recorder import Recorder
from service.pipeline.relay import EndpointLane
from storage.database import Database, T, Unit
from storage.errors import StorageError
from tests.service.pipeline.parties import Wrapped
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended, sending, soon
from tests.traps import lift_trap, set_trap

IN_FLIGHT, TOGETHER, OWED = 2, 4, 20


class Slow(Wrapped):
    """A database that writes nothing until it is let go on."""

    def __init__(self, inner: Database) -> None:
        super().__init__(inner)
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def write(self, unit: Unit[T], /) -> T:
        self.asked.set()
        await self.go_on.wait()
        return await super().write(unit)


@pytest.fixture
async def endpoint(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> str:
    """An endpoint that is owed far more than may be unsettled."""
    monkeypatch.setattr(settling, "UNSETTLED", TOGETHER)
    project = await rig.project()
    made = await rig.endpoint(project, max_in_flight=IN_FLIGHT)
    for _ in range(OWED):
        await ended(rig, project)
    return made


async def all_sent(worker: EndpointLane) -> None:
    """Until no sender finds anything that it may send."""
    while worker._senders:
        await soon(asyncio.wait(worker._senders))


async def all_delivered_once(rig: Rig, endpoint: str) -> bool:
    await rig.settle()
    return len(rig.received()) == OWED and await rig.deliveries(endpoint) == [("delivered", 1)] * OWED


async def test_while_results_are_being_written_no_more_is_sent_than_a_crash_may_repeat(rig: Rig, endpoint: str) -> None:
    database = Slow(rig.database)
    rig.recorder = Recorder(database, rig.desk(), arrived=rig._arrived)
    worker = await sending(rig, endpoint)
    await worker.run_once()
    await soon(asyncio.wait(worker._senders, return_when=asyncio.FIRST_COMPLETED))  # it may send no more
    rig.clock.advance(1)
    writing = asyncio.create_task(worker.run_once())
    await soon(database.asked.wait())
    await all_sent(worker)
    sent = len(rig.received())
    database.go_on.set()
    await writing
    assert sent == IN_FLIGHT + TOGETHER
    assert await all_delivered_once(rig, endpoint)


async def test_while_a_lane_has_no_turn_to_write_no_more_is_sent_than_a_crash_may_repeat(
    rig: Rig, endpoint: str
) -> None:
    worker = await sending(rig, endpoint)
    await worker.run_once()
    await all_sent(worker)
    assert len(rig.received()) == IN_FLIGHT + TOGETHER
    assert await all_delivered_once(rig, endpoint)


async def test_while_results_cannot_be_written_every_further_try_sends_nothing(rig: Rig, endpoint: str) -> None:
    worker = await sending(rig, endpoint)
    await worker.run_once()
    await set_trap(rig.database, "BEFORE INSERT", "attempts", text="disk full")
    for _ in range(10):
        await all_sent(worker)
        with pytest.raises(StorageError, match="disk full"):
            await worker.run_once()
    assert len(rig.received()) == IN_FLIGHT + TOGETHER
    await lift_trap(rig.database, "attempts")
    assert await all_delivered_once(rig, endpoint)


async def test_after_a_write_senders_go_on_before_the_next_rows_are_read(
    rig: Rig, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading takes as long as the database does, and what waits in memory would wait for it."""
    worker = await sending(rig, endpoint)
    await worker.run_once()
    await all_sent(worker)
    worker._backlog.firsts.low = OWED  # so that the next turn reads
    worker._backlog.look_again()
    at_read: list[int] = []
    read = rig.database.read

    async def reading(unit: Unit[T]) -> T:
        at_read.append(len(worker._senders))
        return await read(unit)

    monkeypatch.setattr(rig.database, "read", reading)
    await worker.run_once()
    assert at_read == [IN_FLIGHT]
    monkeypatch.undo()
    assert await all_delivered_once(rig, endpoint)


async def test_senders_beyond_a_limit_that_was_lowered_end_though_there_is_a_backlog(rig: Rig, endpoint: str) -> None:
    worker = await sending(rig, endpoint)
    await worker.run_once()
    assert len(worker._senders) == IN_FLIGHT and worker._orders is not None
    sealed = worker._orders.sealed
    worker._follow(replace(sealed, endpoint=replace(sealed.endpoint, max_in_flight=1)), rig.clock())
    await all_sent(worker)
    assert len(rig.received()) <= 1
    assert await all_delivered_once(rig, endpoint)
