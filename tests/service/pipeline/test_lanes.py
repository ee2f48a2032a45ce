from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from service.core.observation import Claim
from service.pipeline import lanes as lanes_module
from service.pipeline.lanes import Lanes, Worker
from service.pipeline.ledger import Batch, Fresh, LaneKey
from storage import lanes as rows
from storage.database import Connection, Database, T, Unit
from storage.errors import Unavailable
from storage.records import EndpointStatus, Lane, LaneKind
from tests.service.pipeline.parties import SECOND, Wrapped
from tests.service.pipeline.rig import Rig, open_rig
from tests.service.pipeline.steps import soon

ENDPOINT = (LaneKind.ENDPOINT, "ep_1")
DO = "DELETE FROM work WHERE lane = :lane AND due_at <= :now RETURNING id"  # one of two workers gets a row, never both


class Counting:
    """A worker whose work is a row in a table: `work` holds what is due and not done."""

    def __init__(self, lane: Lane, rig: Rig, faults: list[Exception] | None = None) -> None:
        self.lane = lane
        self.lost = False
        self.rig = rig
        self.faults = faults if faults is not None else []
        self.done = 0
        self.turns = 0
        self._next: int | None = rig.clock()
        self._wake = asyncio.Event()
        self.stopped = False
        self.busy: asyncio.Event | None = None  # something is in flight until this is set

    @property
    def idle(self) -> bool:
        return True

    async def run_once(self) -> int:
        self._wake.clear()
        self.turns += 1
        self._next = None
        if self.faults:
            raise self.faults.pop()
        gone = await self.rig.database.write(lambda tx: tx.fetch(DO, self._where()))
        self.done += len(gone)
        [(following,)] = await self.rig.rows("SELECT min(due_at) FROM work WHERE lane = :lane", lane=self.lane.key)
        if isinstance(following, int):
            self.ring(following)
        return len(gone)

    def _where(self) -> dict[str, object]:
        return {"lane": self.lane.key, "now": self.rig.clock()}

    def next_at(self) -> int | None:
        return self._next

    def ring(self, at: int) -> None:
        if self._next is None or at < self._next:
            self._next = at
        self._wake.set()

    def hand(self, fresh: Fresh) -> None:
        raise AssertionError

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def next_due(self, tx: Connection) -> int | None:
        [(at,)] = await tx.fetch("SELECT min(due_at) FROM work WHERE lane = :lane", {"lane": self.lane.key})
        return at if isinstance(at, int) else None

    async def stop(self) -> None:
        if self.busy is not None:
            await self.busy.wait()
        self.stopped = True

    def let_go(self) -> None:
        if self.busy is not None:
            self.busy.set()


class Bench:
    """Lanes with counting workers."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.made: list[Counting] = []
        self.faults: list[Exception] = []
        self.number = 0

    def make(self, lane: Lane) -> Worker:
        self.made.append(Counting(lane, self.rig, self.faults))
        return self.made[-1]

    def open(self, **more: object) -> Lanes:
        return self.rig.running_lanes(make=self.make, **more)

    async def add(self, key: str = "ep_1", *, tell: bool = True, later: int = 0) -> None:
        """Add work as everybody must: the row and the arrival in one transaction, then ring."""
        self.number += 1
        row = {"id": self.number, "lane": key, "due_at": self.rig.clock() + later}

        async def unit(tx: Connection) -> None:
            await tx.fetch("INSERT INTO work (id, lane, due_at) VALUES (:id, :lane, :due_at)", row)
            await rows.arrive(tx, {(LaneKind.ENDPOINT, key): self.rig.clock() + later})

        await self.rig.database.write(unit)
        if tell and self.rig.lanes is not None:
            arrivals: dict[LaneKey, int] = {(LaneKind.ENDPOINT, key): self.rig.clock() + later}
            self.rig.lanes.arrived(Batch(recorded=(), arrivals=arrivals, fresh=()))

    async def left(self) -> int:
        [(count,)] = await self.rig.rows("SELECT count(*) FROM work")
        return int(str(count))


@pytest.fixture
async def bench(still: Rig) -> Bench:
    await still.run("CREATE TABLE work (id BIGINT PRIMARY KEY, lane TEXT, due_at BIGINT)")
    return Bench(still)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 (what is watched rings nobody)
            await asyncio.sleep(0.001)


async def test_a_lane_is_claimed_worked_and_given_back(bench: Bench) -> None:
    lanes = bench.open(linger_seconds=0.01)
    await bench.add()
    assert await lanes.run_once() == 1
    await until(lambda: lanes.worker(ENDPOINT) is None)
    assert await bench.left() == 0
    lane = await bench.rig.lane(*ENDPOINT)
    assert (lane.owner, lane.until, lane.next_due_at) == (None, 0, None)
    assert await lanes.run_once() == 0
    await bench.add()
    assert await lanes.run_once() == 1
    await until(lambda: lanes.worker(ENDPOINT) is None)
    assert (await bench.rig.lane(*ENDPOINT)).epoch == 2


class Down(Wrapped):
    """A write does not arrive; what is there can be read."""

    def __init__(self, inner: Database, tried: Callable[[], None]) -> None:
        super().__init__(inner)
        self.tried = tried

    async def write(self, unit: Unit[T], /) -> T:
        self.tried()
        raise Unavailable("the database is locked")


class Unheard(Down):
    """A write is committed, and its caller hears that nobody knows."""

    async def write(self, unit: Unit[T], /) -> T:
        await self.inner.write(unit)
        return await super().write(unit)


@pytest.mark.parametrize("committed", [True, False])
async def test_after_a_release_of_unknown_fate_a_lane_is_worked_only_if_it_is_still_ours(
    bench: Bench, committed: bool
) -> None:
    """Otherwise two replicas send its events, without a kill or a pause (simulation)."""
    lanes = bench.open(linger_seconds=30)
    await bench.add()
    await lanes.run_once()
    await until(lambda: bench.made[0].done == 1)
    tried = asyncio.Event()

    def only_once() -> None:
        lanes._database, lanes._linger = bench.rig.database, 30 * SECOND
        tried.set()

    lanes._database = (Unheard if committed else Down)(bench.rig.database, only_once)
    lanes._linger = 0  # it is released as soon as it is idle
    bench.made[0].ring(bench.rig.clock())
    await soon(tried.wait())
    if committed:
        await until(lambda: lanes.worker(ENDPOINT) is None)
        assert bench.made[0].lost and (await bench.rig.lane(*ENDPOINT)).owner is None
    await bench.add()
    await until(lambda: sum(one.done for one in bench.made) == 2 or lanes.worker(ENDPOINT) is None)
    await lanes.run_once()
    await until(lambda: sum(one.done for one in bench.made) == 2)
    assert len(bench.made) == (2 if committed else 1)


async def test_an_idle_lane_is_kept_for_a_moment_and_then_needs_no_claim(bench: Bench) -> None:
    lanes = bench.open(linger_seconds=30)
    await bench.add()
    await lanes.run_once()
    await until(lambda: bench.made[0].done == 1)
    await bench.add()
    await until(lambda: bench.made[0].done == 2)
    assert len(bench.made) == 1


async def test_work_that_comes_later_is_a_time_on_the_lane_and_no_worker(bench: Bench) -> None:
    lanes = bench.open(linger_seconds=0.01)
    await bench.add(later=600 * SECOND)
    assert await lanes.run_once() == 0
    bench.rig.clock.advance(600)
    assert await lanes.run_once() == 1
    await until(lambda: lanes.worker(ENDPOINT) is None)
    assert await bench.left() == 0


@pytest.mark.parametrize("seed", range(8))
async def test_no_work_is_stranded_whatever_arrives_while_lanes_come_and_go(
    bench: Bench, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrivals at random moments of claims and releases. Nobody looks by the clock here: a lost wake-up stays lost."""
    monkeypatch.setattr(lanes_module, "LOOK_EVERY_SECONDS", 3600.0)
    dice = random.Random(seed)
    lanes = bench.open(linger_seconds=0.0)
    running = asyncio.create_task(lanes.run())
    try:
        for _ in range(60):
            await asyncio.gather(*(bench.add(f"ep_{dice.randrange(3)}") for _ in range(dice.randrange(1, 3))))
            for _ in range(dice.randrange(25)):
                await asyncio.sleep(0)
        async with asyncio.timeout(30):
            while await bench.left():  # noqa: ASYNC110 (rows ring nobody)
                await asyncio.sleep(0.001)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await bench.rig.database.write(rows.mend) == []


async def test_an_arrival_while_the_database_is_asked_for_the_next_claim_is_heard(bench: Bench) -> None:
    lanes = bench.open(linger_seconds=30)
    await lanes.run_once()
    lanes.ring(ENDPOINT, bench.rig.clock() + 1000 * SECOND)  # a plan from before
    database = bench.rig.database
    read = database.read

    async def reading(unit):  # type: ignore[no-untyped-def]
        answer = await read(unit)
        database.read = read  # type: ignore[method-assign]
        await bench.add()  # after the snapshot, before its answer is looked at
        return answer

    database.read = reading  # type: ignore[method-assign]
    await lanes.run_once()
    assert lanes._rung.is_set()
    assert lanes._next_claim_at is not None and lanes._next_claim_at <= bench.rig.clock()


async def test_a_worker_that_fails_keeps_its_lane_and_is_tried_again(bench: Bench) -> None:
    bench.faults += [ValueError("a bug of ours"), Unavailable("the disk is full"), KeyError("another")]
    lanes = bench.open(linger_seconds=0.01)
    await bench.add()
    await lanes.run_once()
    for _ in range(3):
        await until(lambda: lanes.worker(ENDPOINT) is not None)
        left = len(bench.faults)
        bench.made[0].ring(0)  # no need to wait the pause out
        await until(lambda left=left: len(bench.faults) < left or not bench.faults)  # type: ignore[misc]
    await until(lambda: bench.made[0].done == 1)
    assert len(bench.made) == 1
    await until(lambda: lanes.worker(ENDPOINT) is None)


async def test_a_failing_worker_is_turned_ever_more_seldom(bench: Bench) -> None:
    bench.faults += [ValueError("a bug of ours")] * 100
    lanes = bench.open(linger_seconds=0.01)
    await bench.add()
    await lanes.run_once()
    waits: list[float] = []
    worker = bench.made[0]

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)
        if len(waits) >= 12:
            bench.faults.clear()

    worker.wait = wait  # type: ignore[method-assign]
    worker.ring(0)
    await until(lambda: len(waits) >= 12)
    assert waits[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_stop_gives_every_lane_back_with_the_time_its_rows_say(bench: Bench) -> None:
    lanes = bench.open(linger_seconds=30)
    await bench.add("ep_1")
    await bench.add("ep_2")
    await lanes.run_once()
    await until(lambda: sum(worker.done for worker in bench.made) == 2)
    await bench.add("ep_2", tell=False, later=50 * SECOND)
    async with asyncio.timeout(30):
        await lanes.stop()
    assert all(worker.stopped for worker in bench.made)
    assert (await bench.rig.lane(*ENDPOINT)).next_due_at is None
    kept = await bench.rig.lane(LaneKind.ENDPOINT, "ep_2")
    assert (kept.owner, kept.next_due_at) == (None, bench.rig.clock() + 50 * SECOND)


async def test_what_does_not_end_is_let_go_and_its_lane_given_back_all_the_same(bench: Bench) -> None:
    lanes = bench.open(linger_seconds=30, stop_seconds=0.05)
    await bench.add("ep_1")
    await bench.add("ep_2")
    await lanes.run_once()
    await until(lambda: sum(worker.done for worker in bench.made) == 2)
    stuck, free = bench.made
    stuck.busy = asyncio.Event()
    async with asyncio.timeout(30):
        await lanes.stop()
    assert stuck.busy.is_set() and stuck.stopped and free.stopped
    for key in ("ep_1", "ep_2"):
        assert (await bench.rig.lane(LaneKind.ENDPOINT, key)).owner is None


async def test_a_claim_that_was_cut_off_leaves_no_lane_behind(bench: Bench) -> None:
    """The process is told to stop between the commit of a claim and its worker."""
    lanes = bench.open(linger_seconds=30)
    await bench.add()
    claiming = asyncio.create_task(lanes.run_once())
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    async with asyncio.timeout(30):
        while (await bench.rig.lane(*ENDPOINT)).owner is None:  # noqa: ASYNC110 (rows ring nobody)
            await asyncio.sleep(0.001)  # the cut-off claim is on its way
    assert bench.made == []
    await lanes.heartbeat()
    assert (await bench.rig.lane(*ENDPOINT)).owner is None
    assert await lanes.run_once() == 1
    await until(lambda: bench.made[0].done == 1)


async def test_a_lane_without_a_worker_is_given_back_although_another_claim_is_always_on_its_way(bench: Bench) -> None:
    """Claims and heartbeats may keep step; whoever looked between claims only would never look."""
    lanes = bench.open(linger_seconds=30)
    await bench.add()
    claiming = asyncio.create_task(lanes.run_once())
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    async with asyncio.timeout(30):
        while (await bench.rig.lane(*ENDPOINT)).owner is None:  # noqa: ASYNC110 (rows ring nobody)
            await asyncio.sleep(0.001)
    lanes._claiming = 1
    await lanes.heartbeat()
    assert (await bench.rig.lane(*ENDPOINT)).owner is not None, "it may be the one that is being claimed"
    await lanes.heartbeat()
    assert (await bench.rig.lane(*ENDPOINT)).owner is None
    lanes._claiming = 0


async def test_heartbeats_keep_leases_and_tell_whoever_lost_one(bench: Bench) -> None:
    bench.rig.ttl_seconds = 60.0
    lanes = bench.open(linger_seconds=30)
    await bench.add("ep_1")
    await lanes.run_once()
    worker = bench.made[0]
    for _ in range(5):
        bench.rig.clock.advance(50)
        assert await lanes.heartbeat() == 1
        assert worker.lane.until == bench.rig.clock() + 60 * SECOND
    bench.rig.clock.advance(61)
    assert await lanes.heartbeat() == 0
    assert worker.lost
    await until(lambda: lanes.worker(ENDPOINT) is None)
    assert worker.stopped
    assert (await bench.rig.lane(*ENDPOINT)).owner is not None, "what is not ours any more is not given back"


async def test_a_lapsed_lane_that_is_claimed_anew_ends_its_first_worker(bench: Bench) -> None:
    bench.rig.ttl_seconds = 60.0
    lanes = bench.open(linger_seconds=30)
    await bench.add()
    await lanes.run_once()
    await until(lambda: bench.made[0].done == 1)
    bench.rig.clock.advance(61)  # the process slept; no heartbeat came in between
    await bench.add(tell=False)
    assert await lanes.run_once() == 1
    first, second = bench.made
    assert first.lost and not second.lost
    await until(lambda: first.stopped and first.done + second.done == 2)  # its last turn may have been under way
    assert lanes.worker(ENDPOINT) is second
    assert await lanes.heartbeat() == 1
    assert not second.lost


async def test_a_dead_owners_lane_is_taken_over_when_its_lease_ends(bench: Bench) -> None:
    bench.rig.ttl_seconds = 60.0
    await bench.add()
    await bench.rig.claim()  # by a process that dies here, without a word
    bench.rig.workers.clear()
    bench.rig.owner = "successor"
    lanes = bench.open(linger_seconds=30)
    assert await lanes.run_once() == 0
    assert lanes._next_claim_at == bench.rig.clock() + 60 * SECOND
    bench.rig.clock.advance(60)
    assert await lanes.run_once() == 1
    await until(lambda: bench.made[0].done == 1)
    assert bench.made[0].lane.epoch == 2


async def test_two_owners_never_hold_one_lane_at_once(bench: Bench) -> None:
    other = await open_rig(bench.rig.path, bench.rig.clock, None)
    other.owner, other.ttl_seconds = "other", 60.0
    try:
        for number in range(20):
            await bench.add(f"ep_{number}", tell=False)
        mine, theirs = await asyncio.gather(bench.rig.claim(), other.claim())
        assert mine + theirs == 20
        assert not bench.rig.workers.keys() & other.workers.keys()
    finally:
        other.workers.clear()
        bench.rig.workers.clear()
        await other.close()


async def test_a_lane_of_an_account_nobody_configured_is_left_alone(still: Rig) -> None:
    await still.task(await still.project())
    del still.accounts["cloudsway"]
    lanes = still.running_lanes()
    assert await lanes.run_once() == 0
    assert lanes._next_claim_at is None


async def test_fresh_deliveries_reach_a_held_lane_and_are_not_read_back(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, events="task.*", status=EndpointStatus.ACTIVE)
    lanes = rig.running_lanes(linger_seconds=30)
    task = await rig.task(project)
    await rig.run("UPDATE lanes SET next_due_at = NULL")
    await rig.bound(task, "18")
    await lanes.run_once()
    async with asyncio.timeout(30):
        await rig.subscriber.until(1)
    worker = lanes.worker((LaneKind.ENDPOINT, endpoint))
    assert worker is not None
    await until(lambda: worker.idle)
    reads = 0
    read = rig.database.read

    async def counted(unit):  # type: ignore[no-untyped-def]
        nonlocal reads
        reads += 1
        return await read(unit)

    rig.database.read = counted  # type: ignore[method-assign]
    for claim in (Claim.RUNNING, Claim.FAILED):
        await rig.see(task, claim, job="18")
    async with asyncio.timeout(30):
        await rig.subscriber.until(3)
    assert reads == 0
    rig.database.read = read  # type: ignore[method-assign]


# What other replicas do


async def test_an_arrival_that_nobody_told_of_is_found_by_looking(bench: Bench) -> None:
    lanes = bench.open(linger_seconds=60.0)
    await bench.add()
    assert await lanes.run_once() == 1
    await until(lambda: bench.made[0].done == 1)
    await lanes.look()
    turns = bench.made[0].turns
    await until(lambda: bench.made[0].turns > turns or bench.made[0].next_at() is None)
    bench.rig.clock.advance(1)
    await bench.add("ep_2", tell=False)
    lanes._rung.clear()
    await lanes.look()
    assert lanes._rung.is_set()  # somebody else's lane became due
    assert await lanes.run_once() == 1


async def test_a_claim_that_came_away_empty_from_a_due_lane_waits_a_little(bench: Bench) -> None:
    """Its row is locked by whoever is at it; asked again at once, the database would do nothing else."""
    lanes = bench.open()
    lanes._next_claim_at = None
    lanes._plan(-5_000_000)
    assert lanes._next_claim_at == bench.rig.clock() + 20_000
    lanes._plan(1_000)
    assert lanes._next_claim_at == bench.rig.clock() + 1_000


async def test_a_process_that_may_not_work_gives_its_lanes_back_and_takes_none_until_it_may(bench: Bench) -> None:
    released: list[tuple[LaneKey, int]] = []
    lanes = bench.open(linger_seconds=60.0, released=lambda key, at: released.append((key, at)))
    await bench.add()
    assert await lanes.run_once() == 1
    await until(lambda: bench.made[0].done == 1)
    await bench.add(tell=False, later=10 * SECOND)  # near enough to be waited for by who may work
    due_at = bench.rig.clock() + 10 * SECOND
    lanes.fit(False)
    await until(lambda: lanes.worker(ENDPOINT) is None)
    lane = await bench.rig.lane(*ENDPOINT)
    assert (lane.owner, lane.next_due_at) == (None, due_at)
    assert released == [(ENDPOINT, due_at)]  # for another to take
    bench.rig.clock.advance(10)
    assert await lanes.run_once() == 0 and await bench.left() == 1
    lanes.fit(True)
    assert await lanes.run_once() == 1
    await until(lambda: len(bench.made) == 2 and bench.made[1].done == 1)
