"""Owns lanes: claims those that are due, runs one worker each, keeps the leases alive, and gives idle lanes back.

A lane is an island: its worker alone reads and settles that party's rows, so caps, rate, breaker and order are plain
local state, and a slow or dead party costs nobody else anything. What a worker holds in memory a restart can rebuild from the rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from service.pipeline.ledger import Batch, Fresh, LaneKey
from service.telemetry import failpoints, metrics
from service.telemetry.facts import tell
from storage import lanes
from storage.database import Connection, Database, apart
from storage.errors import StorageError
from storage.records import Lane, LaneKind

log = logging.getLogger("taskrelay.lanes")

SECOND = 1_000_000
CLAIM_AT_ONCE = 200
SOONEST = 20_000  # microseconds
LINGER_SECONDS = 2.0  # an idle lane is kept this long: the next event then needs no claim
LOOK_EVERY_SECONDS = 5.0  # for lanes whose owner died elsewhere; everything of our own rings
STOP_SECONDS = (
    22.0  # for what is in flight; with a database that is waited for, still below the 30 s that supervisors grant
)
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0  # after a failed turn, doubled each time


class Worker(Protocol):
    """Works one lane. `run_once` starts and settles what it can without waiting, and says how much that was."""

    lane: Lane
    lost: bool  # someone else owns the lane now

    async def run_once(self) -> int: ...

    def next_at(self) -> int | None:
        """When `run_once` will have something to do without being rung; None: never."""

    @property
    def idle(self) -> bool:
        """Nothing is in flight or waits in memory."""

    def ring(self, at: int) -> None:
        """Work arrived that is due at this instant."""

    def hand(self, fresh: Fresh) -> None:
        """A delivery was just committed."""

    async def wait(self, seconds: float) -> None:
        """Until rung, or something in flight ends, or the time is over."""

    async def next_due(self, tx: Connection) -> int | None:
        """When the party's rows say there is work. Called with the lane's row locked."""

    async def stop(self) -> None:
        """Start nothing more; return when nothing is in flight."""

    def let_go(self) -> None:
        """Break off what is in flight, so that `stop` returns. What it means is found again by the rows, as after a crash."""


class Lanes:
    """All lanes this process owns."""

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        accounts: Sequence[str],
        clock: Callable[[], int],
        make: Callable[[Lane], Worker],
        ttl_seconds: float = 60.0,
        linger_seconds: float = LINGER_SECONDS,
        stop_seconds: float = STOP_SECONDS,
        released: Callable[[LaneKey, int], None] | None = None,
    ) -> None:
        """`released`: told of a lane that is given back though work is due at that time: others may want it."""
        self._database = database
        self._owner = owner
        self._accounts = list(accounts)
        self._clock = clock
        self._make = make
        self._ttl = ttl_seconds
        self._linger = int(linger_seconds * SECOND)
        self._stop_seconds = stop_seconds
        self._workers: dict[LaneKey, Worker] = {}
        self._running: dict[LaneKey, asyncio.Task[None]] = {}
        self._rung = asyncio.Event()
        self._next_claim_at: int | None = 0
        self._failures: dict[LaneKey, int] = {}
        self._claiming = 0
        self._versions: dict[LaneKey, int] = {}  # of our lanes' rows, as last looked at
        self._released = released
        self._seen_astray: set[tuple[LaneKind, str, int]] = set()
        self._stopping = False
        self._suspended = False

    @property
    def _leaving(self) -> bool:
        return self._stopping or self._suspended

    def fit(self, fit: bool) -> None:
        """Whether this process may work lanes at all. While not, it gives them back and takes none."""
        if fit is not self._suspended:
            return
        self._suspended = not fit
        for worker in list(self._workers.values()):
            worker.ring(self._clock())
        self._look_again()

    def arrived(self, batch: Batch) -> None:
        """Tell the lanes of a commit. Lanes we do not hold are claimed when their time comes."""
        handed: set[LaneKey] = set()
        for fresh in batch.fresh:
            key = LaneKind.ENDPOINT, fresh.endpoint_id
            if (holder := self._workers.get(key)) is not None:
                holder.hand(fresh)
                handed.add(key)
        for key, at in batch.arrivals.items():
            if key not in handed:  # ringing too would make it read back what it was just given
                self.ring(key, at)

    def ring(self, key: LaneKey, at: int) -> None:
        holder = self._workers.get(key)
        if holder is not None:
            holder.ring(at)
        elif self._next_claim_at is None or at < self._next_claim_at:
            self._next_claim_at = at
            self._rung.set()

    def worker(self, key: LaneKey) -> Worker | None:
        """The worker of a lane we hold."""
        return self._workers.get(key)

    async def run_once(self) -> int:
        """Claim what is due; returns how many lanes were taken."""
        if self._suspended:
            self._next_claim_at = None
            return 0
        self._next_claim_at = None  # from here on whatever rings is heard, also while the database is being asked
        self._claiming += 1
        try:
            asked_at = self._clock()
            taken = await self._database.write(
                apart(
                    lambda tx: lanes.claim(
                        tx,
                        owner=self._owner,
                        accounts=self._accounts,
                        now=self._clock(),
                        ttl_seconds=self._ttl,
                        batch=CLAIM_AT_ONCE,
                    )
                )
            )
            if taken:
                failpoints.reach("after_claim")
            for lane in taken:
                self._start(replace(lane, until=asked_at + int(self._ttl * SECOND)))
        finally:
            self._claiming -= 1
        if len(taken) < CLAIM_AT_ONCE:
            self._plan(await self._database.read(self._next_claim))
        return len(taken)

    async def _next_claim(self, tx: Connection) -> int | None:
        return await lanes.next_claim(tx, owner=self._owner, accounts=self._accounts, now=self._clock())

    async def look(self) -> None:
        """Find what other replicas did without a hint: work for lanes that are ours, and lanes that became due."""

        async def unit(tx: Connection) -> tuple[dict[LaneKey, int], int | None]:
            return await lanes.versions(tx, owner=self._owner), await self._next_claim(tx)

        seen, span = await self._database.read(unit)
        for key, version in seen.items():
            # Also at the first look: something may have come between the claim and now. Heartbeats count too, and cost a read.
            if version != self._versions.get(key) and (holder := self._workers.get(key)) is not None:
                holder.ring(self._clock())
        self._versions = seen
        if span is not None and span <= 0:
            self._look_again()

    def _start(self, lane: Lane) -> None:
        key = lane.kind, lane.key
        if (before := self._workers.get(key)) is not None:  # its lease lapsed before a heartbeat could say so
            before.lost = True
            before.ring(self._clock())
        worker = self._workers[key] = self._make(lane)
        self._running[key] = asyncio.create_task(self._work(worker))
        metrics.lanes_claimed.labels(lane.kind.value).inc()
        if before is None:
            metrics.lanes_owned.labels(lane.kind.value).inc()
        _say("lane taken", lane, logging.INFO if lane.kind is LaneKind.ACCOUNT else logging.DEBUG)

    def _plan(self, span: int | None) -> None:
        """Claim again in so many microseconds. What is due already was just refused us: others took it, or it is held."""
        if span is not None:
            at = self._clock() + (span if span > 0 else SOONEST)
            self._next_claim_at = at if self._next_claim_at is None else min(at, self._next_claim_at)

    async def run(self) -> None:
        """Claim lanes as they become due, until cancelled."""
        while True:
            self._rung.clear()
            try:
                if await self.run_once() == CLAIM_AT_ONCE:
                    continue
            except StorageError as error:
                log.error("lanes cannot be claimed: %s", error)
                await asyncio.sleep(1.0)
                self._look_again()
            await self._pause()

    async def _pause(self) -> None:
        due = self._next_claim_at
        seconds = (
            LOOK_EVERY_SECONDS if due is None else min(max((due - self._clock()) / SECOND, 0.0), LOOK_EVERY_SECONDS)
        )
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            pass

    async def heartbeat(self) -> int:
        """Extend our leases; a worker whose lease is gone is told so. Returns how many live."""
        now = self._clock()
        before = list(self._workers.values())  # one that is claimed while the database is asked has its own lease
        claiming = self._claiming
        alive = await self._database.write(
            apart(lambda tx: lanes.heartbeat(tx, owner=self._owner, now=now, ttl_seconds=self._ttl))
        )
        for worker in before:
            if (worker.lane.kind, worker.lane.key, worker.lane.epoch) in alive:
                worker.lane = replace(worker.lane, until=now + int(self._ttl * SECOND))
            else:
                worker.lost = True
                worker.ring(now)
        held = {(one.lane.kind, one.lane.key, one.lane.epoch) for one in (*before, *self._workers.values())}
        strays, self._seen_astray = self._seen_astray, alive - held
        if not (claiming or self._claiming):
            strays = self._seen_astray
        # While a claim is on its way its lanes have no worker yet; one that had none a heartbeat ago is no part of it.
        await self._return_strays(strays & self._seen_astray)
        return len(alive)

    async def _return_strays(self, strays: set[tuple[LaneKind, str, int]]) -> None:
        """Give back lanes that are ours and have no worker: a claim was cut off. Else heartbeats would keep them for ever."""
        for kind, key, epoch in sorted(strays):  # lanes are locked in one order everywhere

            async def unit(tx: Connection, kind: LaneKind = kind, key: str = key, epoch: int = epoch) -> None:
                lane = await lanes.get(tx, kind, key)
                if (
                    lane is not None
                    and lane.epoch == epoch
                    and lane.owner == self._owner
                    and await lanes.hold_still(tx, lane)
                ):
                    await lanes.release(tx, lane, next_due_at=lane.next_due_at)

            await self._database.write(apart(unit, kind, key))
        if strays:
            self._look_again()

    def _look_again(self) -> None:
        self._next_claim_at = 0
        self._rung.set()

    async def stop(self) -> None:
        """Finish what is in flight and give every lane back, so that a successor need not wait for the leases.

        What has not ended after some time is let go: a supervisor would kill us a little later, with the lanes still ours.
        """
        self._stopping = True
        for worker in list(self._workers.values()):
            worker.ring(self._clock())
        if self._running:
            _, late = await asyncio.wait(list(self._running.values()), timeout=self._stop_seconds)
            for worker in list(self._workers.values()):
                log.warning("lane %s %s: what is in flight is let go", worker.lane.kind, worker.lane.key)
                worker.let_go()
            if late:
                await asyncio.wait(late)
        try:
            await self.heartbeat()  # finds what a cut-off claim left
        except StorageError as error:
            log.error("lanes may be held until their leases end: %s", error)

    async def _work(self, worker: Worker) -> None:
        given = False
        try:
            while not (given or worker.lost or self._leaving):
                given = await self._turn(worker)
        finally:
            await self._finish(worker)
            if worker.lost:
                metrics.lanes_lost.labels(worker.lane.kind.value).inc()
                _say("lane lost", worker.lane, logging.WARNING)
            elif not given:
                await self._give_back(worker)
            self._forget(worker)

    async def _finish(self, worker: Worker) -> None:
        try:
            await worker.stop()
        except Exception as error:
            self._complain(worker, "results were not stored", error)

    async def _turn(self, worker: Worker) -> bool:
        """One turn of a lane. Returns whether the lane was given back."""
        key = worker.lane.kind, worker.lane.key
        try:
            if await worker.run_once():
                self._failures.pop(key, None)
                return False
        except Exception as error:
            # Whatever it is, it is this lane's own trouble: the lane stays ours, and is tried again less and less often.
            self._complain(worker, "it is tried again", error)
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            await worker.wait(min(PAUSE_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_SECONDS))
            return False
        self._failures.pop(key, None)
        at = worker.next_at()
        seconds = None if at is None else max((at - self._clock()) / SECOND, 0.0)
        if not worker.idle:
            await worker.wait(LOOK_EVERY_SECONDS if seconds is None else min(seconds, LOOK_EVERY_SECONDS))
            return False
        if seconds is not None and seconds * SECOND <= self._linger:
            await worker.wait(seconds)
            return False
        before = worker.next_at()
        await worker.wait(self._linger / SECOND)
        if worker.next_at() != before or not worker.idle:
            return False
        return await self._give_back(worker)

    async def _give_back(self, worker: Worker) -> bool:
        """Release in two statements: lock first, then the time from the rows, so no arrival is lost in between."""

        async def unit(tx: Connection) -> tuple[bool, int | None]:
            if not await lanes.hold_still(tx, worker.lane):
                return True, None
            due = await worker.next_due(tx)
            if due is not None and not self._leaving and due <= self._clock() + self._linger:
                return False, due  # something came while we looked
            released = await lanes.release(tx, worker.lane, next_due_at=due)
            failpoints.reach("before_release_commit")
            return released, due

        due = None
        try:
            given, due = await self._database.write(apart(unit, worker.lane.kind, worker.lane.key))
        except Exception as error:
            self._complain(worker, "it cannot be given back", error)
            given = False
            worker.lost = not await self._still_ours(worker.lane)
        if given:
            failpoints.reach("after_release")
            self._forget(worker)
            self._look_again()  # what arrived since the release rang a worker that is gone
            if self._leaving and due is not None and self._released is not None:
                self._released((worker.lane.kind, worker.lane.key), due)
        else:
            worker.ring(self._clock())
        return given

    async def _still_ours(self, lane: Lane) -> bool:
        """Whether a release that ended in an error left us the lane: it may have been committed all the same.

        When in doubt, no: working a lane that is somebody else's by now repeats deliveries. If it still is ours, a heartbeat
        finds that it has no worker, and returns it.
        """
        try:
            found = await self._database.read(lambda tx: lanes.get(tx, lane.kind, lane.key))
        except StorageError:
            return False
        return found is not None and (found.owner, found.epoch) == (self._owner, lane.epoch)

    def _complain(self, worker: Worker, what: str, error: Exception) -> None:
        known = isinstance(error, StorageError)
        log.error(
            "lane %s %s: %s: %s", worker.lane.kind, worker.lane.key, what, error, exc_info=None if known else error
        )

    def _forget(self, worker: Worker) -> None:
        key = (worker.lane.kind, worker.lane.key)
        if self._workers.get(key) is worker:  # not the next owner of the same lane
            del self._workers[key]
            metrics.lanes_owned.labels(key[0].value).dec()
            del self._running[key]
            self._failures.pop(key, None)


def _say(what: str, lane: Lane, level: int) -> None:
    """Many lanes are an endpoint's and come and go with its events; an account's is taken once, by whoever serves."""
    tell(log, what, level, kind=lane.kind.value, lane=lane.key, epoch=lane.epoch)
