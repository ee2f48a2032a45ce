"""Lanes as the service runs them, on time that passes only while they wait: counts how often a stuck lane is turned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from service.pipeline.lanes import Lanes, Worker
from service.pipeline.ledger import Fresh
from storage.database import Connection
from storage.records import Lane
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig, in_flight

MOST_TURNS = 2000  # a hot loop reaches this at once


@dataclass
class Stretch:
    """What was counted while the time passed."""

    end: int
    turns: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)


class Passing:
    """A worker whose waiting moves the clock."""

    def __init__(self, inner: Worker, rig: Rig, stretch: Stretch) -> None:
        self.inner = inner
        self.rig = rig
        self.stretch = stretch

    @property
    def lane(self) -> Lane:
        return self.inner.lane

    @lane.setter
    def lane(self, lane: Lane) -> None:
        self.inner.lane = lane

    @property
    def lost(self) -> bool:
        return self.inner.lost

    @lost.setter
    def lost(self, lost: bool) -> None:
        self.inner.lost = lost

    @property
    def idle(self) -> bool:
        return self.inner.idle

    async def run_once(self) -> int:
        self.stretch.turns += 1
        if self.stretch.turns > MOST_TURNS:
            self.stretch.over.set()
            await self.stretch.leave.wait()
        return await self.inner.run_once()

    def next_at(self) -> int | None:
        return self.inner.next_at()

    def ring(self, at: int) -> None:
        self.inner.ring(at)

    def hand(self, fresh: Fresh) -> None:
        self.inner.hand(fresh)

    async def wait(self, seconds: float) -> None:
        if in_flight(self.inner):
            await self.inner.wait(5)
            return
        clock = self.rig.clock
        if clock.now >= self.stretch.end:
            self.stretch.over.set()
            await self.stretch.leave.wait()
            return
        clock.now = min(clock.now + round(seconds * SECOND), self.stretch.end)
        await asyncio.sleep(0)

    async def next_due(self, tx: Connection) -> int | None:
        return await self.inner.next_due(tx)

    async def stop(self) -> None:
        await self.inner.stop()

    def let_go(self) -> None:
        self.inner.let_go()


async def turns_in(rig: Rig, seconds: float, *, make: Callable[[Lane], Worker] | None = None) -> int:
    """How often the one lane that has work is turned while so much time passes. Ends with the lane given back."""
    stretch = Stretch(end=rig.clock() + round(seconds * SECOND))
    built = make or rig.make
    lanes = rig.running_lanes(make=lambda lane: Passing(built(lane), rig, stretch))
    try:
        async with asyncio.timeout(60):
            while rig.clock() < stretch.end and not stretch.over.is_set():
                await lanes.run_once()
                if running := list(lanes._running.values()):
                    over = asyncio.ensure_future(stretch.over.wait())
                    await asyncio.wait([over, *running], return_when=asyncio.FIRST_COMPLETED)
                    over.cancel()
                else:
                    _skip_ahead(rig, lanes, stretch)
    finally:
        stretch.leave.set()
        await lanes.stop()
        rig.lanes = None
    return stretch.turns


def _skip_ahead(rig: Rig, lanes: Lanes, stretch: Stretch) -> None:
    due = lanes._next_claim_at
    stretch.turns += 1  # a claim in vain is a turn too
    rig.clock.now = min(max(due, rig.clock() + 1), stretch.end) if due is not None else stretch.end
