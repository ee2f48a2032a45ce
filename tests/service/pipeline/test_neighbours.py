from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from service.core.lifecycle import Outcome
from service.core.observation import Claim
from service.pipeline import neighbours as neighbours_module
from service.pipeline.lanes import Lanes
from service.pipeline.ledger import Batch
from service.pipeline.neighbours import Neighbours
from service.pipeline.watch import Watch
from storage.records import Lane, LaneKind
from storage.wakeups import EVERYTHING, Hint
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig

ENDPOINT = (LaneKind.ENDPOINT, "ep_1")


class Line:
    """Wakeups whose other end is the test."""

    def __init__(self, *, alive: bool = True, alone: bool = False) -> None:
        self.alive, self.alone = alive, alone
        self.told: list[Hint] = []

    def tell(self, hint: Hint) -> None:
        self.told.append(hint)

    async def run(self, heard: Callable[[Hint], None]) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


def never(lane: Lane) -> Any:
    raise AssertionError(lane)


def house(rig: Rig, line: Line, *, works: bool = True) -> tuple[Neighbours, Lanes, Watch]:
    lanes, watch = Lanes(rig.database, owner="me", accounts=["cloudsway"], clock=rig.clock, make=never), Watch()
    made = Neighbours(rig.database, line, lanes, watch, works=works, clock=rig.clock, chance=lambda: 1.0)
    return made, lanes, watch


def batch(**more: Any) -> Batch:
    return Batch(**{"recorded": (), "arrivals": {}, "fresh": (), **more})


async def test_others_hear_of_lanes_that_are_not_ours_and_of_what_changed(still: Rig) -> None:
    line = Line()
    neighbours, _, _ = house(still, line)
    neighbours.committed(batch(arrivals={ENDPOINT: still.clock() + 1_500_000}, told=frozenset({"prj_1"})))
    neighbours.rung(ENDPOINT, still.clock() - 5)
    neighbours.committed(batch())
    assert line.told == [
        Hint(lanes={("endpoint", "ep_1"): 1500}, ids=frozenset({"prj_1"})),
        Hint(lanes={("endpoint", "ep_1"): 0}),
    ]


async def test_a_task_that_changed_is_told_with_its_project_and_one_that_did_not_is_not(still: Rig) -> None:
    line = Line()
    neighbours, _, _ = house(still, line)
    task = await still.task(await still.project())
    await still.bound(task)
    first = await still.see(task, Claim.FAILED)
    assert first.outcome is Outcome.CHANGED
    again = await still.see(task, Claim.RUNNING)
    assert again.outcome is not Outcome.CHANGED
    neighbours.committed(batch(recorded=(first, again)))
    assert [hint.ids for hint in line.told] == [{task.id, task.project_id}]


async def test_one_process_alone_says_nothing(still: Rig) -> None:
    line = Line(alone=True)
    neighbours, _, _ = house(still, line)
    neighbours.committed(batch(arrivals={ENDPOINT: 0}, told=frozenset({"prj_1"})))
    neighbours.rung(ENDPOINT, 0)
    neighbours.released(ENDPOINT, 0)
    assert line.told == []


async def test_a_hint_wakes_lanes_and_who_waits_and_a_door_has_no_lanes_to_wake(still: Rig) -> None:
    hint = Hint(lanes={("endpoint", "ep_1"): 250, ("stranger", "x"): 0}, ids=frozenset({"task_1"}))
    for works in (True, False):
        neighbours, lanes, watch = house(still, Line(), works=works)
        lanes._next_claim_at = None
        with watch.listening("task_1") as rung:
            neighbours.heard(hint)
            assert rung.is_set()
        assert lanes._next_claim_at == (still.clock() + SECOND // 4 if works else None)


async def test_a_look_finds_what_no_hint_told(still: Rig) -> None:
    neighbours, _, watch = house(still, Line(alive=False), works=False)
    task = await still.task(await still.project())
    with watch.listening(task.id) as one, watch.listening(task.project_id) as feed:
        await neighbours.look()
        one.clear()
        feed.clear()
        await neighbours.look()
        assert not one.is_set() and not feed.is_set()
        await still.bound(task)  # as another replica does: nobody tells us
        await neighbours.look()
        assert one.is_set() and feed.is_set()


async def test_everything_means_look_now(still: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours_module, "LOOK_RARELY_SECONDS", 3600.0)
    neighbours, _, watch = house(still, Line(), works=False)
    task = await still.task(await still.project())
    with watch.listening(task.id) as rung:
        running = asyncio.create_task(neighbours.run())
        async with asyncio.timeout(30):
            await rung.wait()  # the first look
            rung.clear()
            await still.bound(task)
            neighbours.heard(EVERYTHING)
            await rung.wait()  # by itself it would look after an hour
    running.cancel()
    await asyncio.wait([running])
