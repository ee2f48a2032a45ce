"""The gauges of the whole database, read for whoever looks at /metrics: at most every five seconds, however often that is."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.core.care import care_of, pauses
from service.core.schedule import Breaker
from service.core.times import HOUR, SECOND
from service.pipeline import due
from service.pipeline.accounts import AccountDesk
from service.telemetry import metrics
from storage import account_tasks, ends, lanes, load
from storage.database import Connection, Database
from storage.ends import End
from storage.errors import StorageError
from storage.load import TASKS_COUNTED, Load
from storage.records import Lane, LaneKind

log = logging.getLogger("taskrelay.metrics")

FRESH_SECONDS = 5
ENDS_FRESH_SECONDS = 30  # the dearest of all to read
ENDS_LOOKED_AT = 500
STATUSES = ("submitting", "unconfirmed", "processing")


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands. `due_at`: of its oldest work."""

    lane: Lane | None
    due_at: int | None
    queued: int
    open: Mapping[str, int]


class Gauges:
    """One in a process. Whoever asks while it is being read waits for that."""

    def __init__(self, database: Database, accounts: Mapping[str, AccountDesk], *, clock: Callable[[], int]) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock
        self._read_at = -FRESH_SECONDS * SECOND
        self._ends_read_at = -ENDS_FRESH_SECONDS * SECOND
        self._turn = asyncio.Lock()

    async def refresh(self) -> None:
        """Bring them up to date, unless they are. A database that does not answer leaves them as they were."""
        async with self._turn:
            now = self._clock()
            metrics.database_waiting.labels().set(self._database.waiting)
            if now - self._read_at < FRESH_SECONDS * SECOND:
                return
            with_ends = now - self._ends_read_at >= ENDS_FRESH_SECONDS * SECOND
            try:
                await self._refresh(now, with_ends)
            except StorageError as error:
                metrics.gauges_failed.labels().inc()
                log.warning("the gauges of the database are as they were: %s", error)
                return
            self._read_at = now
            metrics.gauges_read_seconds.labels().set(now / SECOND)

    async def _refresh(self, now: int, with_ends: bool) -> None:
        async def unit(tx: Connection) -> tuple[Load, dict[str, Standing], list[End] | None]:
            found = await load.read(tx, now=now)
            standing = {name: await _standing(tx, name) for name in self._accounts}
            told = await ends.latest(tx, since=now - HOUR, most=ENDS_LOOKED_AT) if with_ends else None
            return found, standing, told

        found, standing, told = await self._database.read(unit)
        self._show_lanes(found, standing, now)
        for name, one in standing.items():
            _show_account(name, one, now)
        if told is not None:
            self._ends_read_at = now
            self._show_misses(told)

    def _show_lanes(self, found: Load, standing: Mapping[str, Standing], now: int) -> None:
        oldest = min((one.due_at for one in standing.values() if one.due_at is not None), default=None)
        metrics.oldest_due_seconds.labels("account").set(_age(oldest, now))
        metrics.oldest_due_seconds.labels("endpoint").set(_age(found.oldest_delivery_at, now))
        for kind in LaneKind:
            metrics.lanes_waiting.labels(kind.value).set(found.waiting.get(kind.value, 0))
        metrics.endpoint_breakers_open.labels().set(found.breakers)

    def _show_misses(self, told: list[End]) -> None:
        """Of providers that should push to us: of the others every end is polled, and rightly."""
        of = {name: one.provider.name for name, one in self._accounts.items() if one.pushes}
        expected = Counter(of[end.account] for end in told if end.account in of)
        seen = Counter(of[end.account] for end in told if end.account in of and end.pushed)
        for provider in set(of.values()):
            ratio = 1 - seen[provider] / expected[provider] if expected[provider] else math.nan
            metrics.callback_miss_ratio.labels(provider).set(ratio)


async def _standing(tx: Connection, name: str) -> Standing:
    return Standing(
        lane=await lanes.get(tx, LaneKind.ACCOUNT, name),
        due_at=await due.next_due(tx, name, {}, 0),
        queued=await account_tasks.queued_at_most(tx, name, bound=TASKS_COUNTED),
        open=await load.open_tasks(tx, name),
    )


def _show_account(name: str, one: Standing, now: int) -> None:
    metrics.account_oldest_due_seconds.labels(name).set(_age(one.due_at, now))
    metrics.open_tasks.labels(name, "queued").set(one.queued)
    for status in STATUSES:
        metrics.open_tasks.labels(name, status).set(one.open.get(status, 0))
    breaker = Breaker.load(one.lane.breaker if one.lane is not None else None)
    metrics.breaker_open.labels(name).set(breaker.open)
    metrics.account_paused.labels(name).set(bool(pauses(one.lane)))
    metrics.account_pushes_missing.labels(name).set(care_of(one.lane).silent_since is not None)


def _age(at: int | None, now: int) -> float:
    return max(now - at, 0) / SECOND if at is not None else 0.0
