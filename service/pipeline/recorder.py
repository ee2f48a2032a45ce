"""Gathers observations from everywhere into batches for `record`, and tells the lanes what each commit brought."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from service.core.observation import Observation
from service.pipeline import telling
from service.pipeline.ledger import Batch, Callback, Desk, LaneKey, Ledger, Recorded
from service.pipeline.record import record
from service.telemetry import failpoints
from service.telemetry.context import for_all
from storage import lanes
from storage.callbacks import Orphaned
from storage.database import Connection, Database, apart
from storage.errors import Busy, Duplicate, Stale, StorageError, Unavailable

log = logging.getLogger("taskrelay.record")

T = TypeVar("T")

BATCH = 256
WAITING = 20_000
TRIES = 5


class Recording(Protocol):
    """Who runs units that change something else than tasks."""

    async def write(self, unit: Callable[[Connection, Ledger], Awaitable[T]]) -> T:
        """Run one; returns once it is durable."""


class Recorder:
    """The one door to `record`. What arrives while a batch is being committed is the next batch; nothing lingers."""

    def __init__(
        self,
        database: Database,
        desk: Desk,
        *,
        arrived: Callable[[Batch], None],
        heard: Callable[[Sequence[Observation | Callback], Sequence[Recorded]], None] | None = None,
    ) -> None:
        """`arrived`, `heard`: told of every commit."""
        self._heard = heard
        self._database = database
        self._desk = desk
        self._arrived = arrived
        self._waiting: deque[tuple[Observation | Callback, asyncio.Future[Recorded]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self.unknown_vocabulary: Counter[str] = Counter()  # by account, since this process started
        self.orphans: Counter[str] = Counter()  # pushes of tasks nobody knows, by provider, each counted once
        self._orphans_full = False

    async def record(self, seen: Observation | Callback) -> Recorded:
        """Fold one observation; returns once it is durable. Raises `Unavailable` when it could not be stored."""
        return await self.submit(seen)

    async def record_all(self, seen: Sequence[Observation | Callback]) -> list[Recorded]:
        """Fold several, in order."""
        return list(await asyncio.gather(*(self.submit(one) for one in seen)))

    async def record_surely(self, seen: Observation) -> Recorded:
        """Record evidence that must not get lost: tried again, with pauses, as long as the process lives.

        Should the process die first, the lane's next owner finds the submission without a fate and looks for it.
        """
        pause = 0.1
        while True:
            try:
                return await self.submit(seen)
            except StorageError as error:
                log.error("%s of %s is kept in memory, storage: %s", seen.claim, seen.task_id, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)

    async def write(self, unit: Callable[[Connection, Ledger], Awaitable[T]], *, locks: LaneKey | None = None) -> T:
        """Run a unit that changes something else than tasks and may tell of it; then tell the lanes. `locks`: a lane's row, if it does."""

        async def whole(tx: Connection) -> tuple[T, Ledger]:
            ledger = Ledger(desk=self._desk, now=self._desk.clock(), found={})
            result = await unit(tx, ledger)
            if ledger.arrivals:
                await lanes.arrive(tx, ledger.arrivals)
            return result, ledger

        result, ledger = await self._database.write(whole if locks is None else apart(whole, *locks))
        if ledger.arrivals or ledger.told:
            self._tell(
                Batch(
                    recorded=(),
                    arrivals=ledger.arrivals,
                    fresh=tuple(ledger.fresh),
                    told=frozenset(ledger.told),
                )
            )
        return result

    def submit(self, seen: Observation | Callback) -> asyncio.Future[Recorded]:
        if len(self._waiting) >= WAITING:
            raise Unavailable(f"{WAITING} observations are waiting already")
        done: asyncio.Future[Recorded] = asyncio.get_running_loop().create_future()
        self._waiting.append((seen, done))
        if self._runner is None:
            self._runner = for_all(self._run())
        return done  # a caller that is cancelled cancels this future, not the work: see `_commit`

    async def drain(self) -> None:
        """Wait until everything submitted so far is settled."""
        while self._runner is not None:
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
                try:
                    await self._commit(batch)
                except BaseException:  # only a loop that ends cancels us; nobody may wait for what will not come
                    for _, done in (*batch, *self._waiting):
                        done.cancel()
                    self._waiting.clear()
                    raise
        finally:
            self._runner = None

    async def _commit(self, batch: Sequence[tuple[Observation | Callback, asyncio.Future[Recorded]]]) -> None:
        """Commit a batch; a poison observation is isolated by halving, so that one costs its neighbours a few commits."""
        seen, began = [one for one, _ in batch], time.perf_counter()
        try:
            result = await self._write(seen)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Unavailable):
                half = len(batch) // 2
                await self._commit(batch[:half])
                await self._commit(batch[half:])
                return
            # Whoever came while a foreign writer was waited for would wait as long again, one batch after another.
            late = list(self._waiting) if isinstance(error, Busy) else []
            if late:
                self._waiting.clear()
            for _, done in (*batch, *late):
                if not done.done():
                    done.set_exception(error)
                    done.exception()  # a caller that went away is not an error of ours
            return
        if any(recorded.task is not None and recorded.task.finished_at for recorded in result.recorded):
            failpoints.reach("after_verdict")
        for account in result.unknown:
            self.unknown_vocabulary[account] += 1
            log.warning("%s answered in words we do not know; they are kept with the task", account)
        self._tell_of_orphans(result)
        if result.happened:
            telling.happened(result.happened, self._desk.accounts, time.perf_counter() - began)
        self._tell(result)
        if self._heard is not None:
            try:
                self._heard(seen, result.recorded)
            except Exception:
                log.exception("what was heard could not be learned from")
        for (_, done), recorded in zip(batch, result.recorded, strict=True):
            if not done.done():
                done.set_result(recorded)

    def _tell(self, batch: Batch) -> None:
        try:
            self._arrived(batch)
        except Exception:  # the batch is durable: whoever waits for it must hear so, and lanes find their rows anyway
            log.exception("the lanes could not be told of a commit")

    def _tell_of_orphans(self, batch: Batch) -> None:
        """A push for a submission nobody knows was paid for: the database is older than it (a backup), or lost its task."""
        for provider, submission_id, became in batch.orphans:
            if became is Orphaned.KNOWN:
                continue
            self.orphans[provider] += 1
            if became is Orphaned.KEPT:
                why = "this database is older than it (restored from a backup?) or has forgotten its task"
                log.error("%s pushed for %s: %s. The push is kept", provider, submission_id, why)
            elif not self._orphans_full:
                log.error("no more pushes of unknown tasks are kept: the table callbacks is full")
                self._orphans_full = True

    async def _write(self, seen: Sequence[Observation | Callback]) -> Batch:
        second_look = False
        for _ in range(TRIES):
            try:
                return await self._database.write(lambda tx: record(tx, seen, self._desk))
            except Stale:
                continue
            except Duplicate:
                if second_look:
                    raise
                second_look = True  # another replica bound the same job in this very moment; now its task can be seen
        raise StorageError(f"the tasks of this batch kept changing; gave up after {TRIES} tries")
