"""What a crash may repeat: attempts in flight, and results that are not written yet. However long the database takes, no more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from service.net.sender import Sender, Sent
from service.pipeline import settling
from service.pipeline.recorder import Recorder
from service.pipeline.relay import EndpointLane
from storage.database import Database, T, Unit
from storage.errors import StorageError
from storage.records import LaneKind
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


class Watched(Sender):
    """Notes with every attempt how many a crash would repeat now."""

    inner: Sender
    lane: EndpointLane
    in_flight = most = 0

    def __init__(self, inner: Sender) -> None:
        self.inner = inner

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight + settling.SETTLE_AT - self.lane._settling.room)
        sent = await self.inner.post(url, body, headers)
        self.in_flight -= 1
        return sent

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.fixture
async def watched(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """An endpoint is owed far more than may be unsettled."""
    monkeypatch.setattr(settling, "SETTLE_AT", TOGETHER)
    project = await rig.project()
    await rig.endpoint(project, max_in_flight=IN_FLIGHT)
    for _ in range(OWED):
        await ended(rig, project)
    rig.sender = watched = Watched(rig.sender)
    return watched


async def lane_of(rig: Rig, watched: Watched) -> EndpointLane:
    [(endpoint,)] = await rig.rows("SELECT id FROM endpoints")
    watched.lane = await sending(rig, str(endpoint))
    return watched.lane


async def all_it_may(lane: EndpointLane) -> None:
    """Until nothing is in flight, and nothing more may be."""
    async with asyncio.timeout(30):
        while lane._settling.room > -IN_FLIGHT:
            await asyncio.wait(lane._senders, timeout=0.001)


async def all_is_delivered_once(rig: Rig) -> None:
    await rig.settle()
    assert await rig.rows("SELECT status, attempts FROM deliveries") == [("delivered", 1)] * OWED
    assert len(rig.received()) == OWED


async def test_while_results_are_being_written_no_more_is_sent_than_a_crash_may_repeat(
    rig: Rig, watched: Watched
) -> None:
    database = Slow(rig.database)
    rig.recorder = Recorder(database, rig.desk(), arrived=rig._arrived)
    lane = await lane_of(rig, watched)
    await lane.run_once()
    await soon(rig.subscriber.until(1))
    await soon(lane.wait(5))
    rig.clock.advance(1)
    writing = asyncio.create_task(lane.run_once())
    try:
        await all_it_may(lane)
        assert database.asked.is_set()
        assert len(rig.received()) == watched.most == IN_FLIGHT + TOGETHER
    finally:
        database.go_on.set()
        await writing
    await all_is_delivered_once(rig)
    assert watched.most == IN_FLIGHT + TOGETHER


async def test_while_a_lane_has_no_turn_to_write_no_more_is_sent_than_a_crash_may_repeat(
    rig: Rig, watched: Watched
) -> None:
    lane = await lane_of(rig, watched)
    await lane.run_once()
    await all_it_may(lane)
    assert len(rig.received()) == watched.most == IN_FLIGHT + TOGETHER
    await all_is_delivered_once(rig)


async def test_while_results_cannot_be_written_every_further_try_sends_nothing(rig: Rig, watched: Watched) -> None:
    lane = await lane_of(rig, watched)
    await lane.run_once()
    await set_trap(rig.database, "BEFORE INSERT", "attempts", text="disk full")
    await all_it_may(lane)
    for _ in range(10):
        with pytest.raises(StorageError, match="disk full"):
            await lane.run_once()
        if lane._senders:
            await soon(asyncio.wait(lane._senders))  # they hold no place at the host that others could use
    assert len(rig.received()) == watched.most == IN_FLIGHT + TOGETHER
    await lift_trap(rig.database, "attempts")
    await all_is_delivered_once(rig)


async def test_senders_that_wait_for_a_write_go_on_after_it_without_a_further_turn(rig: Rig, watched: Watched) -> None:
    """Which begins with reading, as slow as the database is."""
    lane = await lane_of(rig, watched)
    await lane.run_once()
    await all_it_may(lane)
    await lane._settle()
    await all_it_may(lane)
    assert len(rig.received()) == 2 * (IN_FLIGHT + TOGETHER)
    await all_is_delivered_once(rig)


async def test_a_lane_that_is_told_to_stop_while_its_senders_wait_writes_what_they_brought(
    rig: Rig, watched: Watched
) -> None:
    lane = await lane_of(rig, watched)
    await lane.run_once()
    await all_it_may(lane)
    await soon(lane.stop())
    assert len(rig.received()) == IN_FLIGHT + TOGETHER
    assert await rig.rows("SELECT count(*) FROM deliveries WHERE status = 'delivered'") == [(IN_FLIGHT + TOGETHER,)]
    del rig.workers[LaneKind.ENDPOINT, lane.lane.key]
    await rig.run("UPDATE lanes SET owner = NULL, until = 0")
    await lane_of(rig, watched)
    await all_is_delivered_once(rig)
