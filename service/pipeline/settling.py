"""What the attempts of a lane brought and is not yet written: results, the endpoint's health, and whether it is given up.

Written together, in batches: a commit for each would cost more than the request it records. What a crash may repeat is one batch
and what is in flight: while so much is unwritten, nothing more is sent, however long the database takes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from service.core.delivery import BLOCKED, Verdict
from service.core.health import WELL, Health, after_failure
from service.net.sender import Sent
from service.pipeline import operations
from service.pipeline.ledger import Ledger
from service.pipeline.recorder import Recorder
from service.telemetry import failpoints
from storage import endpoints, lanes, outbox
from storage.database import Connection
from storage.outbox import Settled
from storage.records import DeliveryStatus, Endpoint, Lane

SETTLE_AT = 64
SETTLE_WITHIN = 5_000  # microseconds


@dataclass(frozen=True, slots=True)
class Alarm:
    """What the owner is to be told of a failing endpoint."""

    since: int
    used: int
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A URL that asked for no more. `instead`: the attempt's result, should the endpoint not be there any more."""

    url: str
    reason: str
    instead: Settled


@dataclass(slots=True)
class Unwritten:
    """What is written in one go. `disable`: why the endpoint is given up, if not because it said that it is gone."""

    results: list[Settled] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    disable: str | None = None
    gone: list[Gone] = field(default_factory=list)

    @property
    def giving_up(self) -> bool:
        return self.disable is not None or bool(self.gone)


class Settling:
    """Gathers what attempts brought, and writes it under the lane's epoch."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._batch = Unwritten()
        self._being_written = 0
        self._written = asyncio.Event()
        self._by = 0
        self._health = WELL
        self._stored: str | None = None

    def __len__(self) -> int:
        return len(self._batch.results)

    @property
    def room(self) -> int:
        """How many more results may wait beside those that are being written. Below 0 by what was in flight when there was none."""
        return SETTLE_AT - len(self._batch.results) - self._being_written

    @property
    def giving_up(self) -> bool:
        """Whether the endpoint is to be disabled: nothing more goes to it."""
        return self._batch.giving_up

    def follow(self, endpoint: Endpoint) -> None:
        """Go on with the health that is stored: as the last owner left it, or as it was reset by hand."""
        if endpoint.health != self._stored:
            self._stored = endpoint.health
            self._health = Health.load(endpoint.health)

    def due_at(self, now: int, *, more_to_come: bool) -> int:
        """When to write: now, if the batch is full, old enough, or none is to join it."""
        waiting = self._by - SETTLE_WITHIN <= now < self._by  # before that: the clock was set back
        ready = len(self._batch.results) >= SETTLE_AT or not waiting or not more_to_come
        return now if ready else self._by

    def add(self, result: Settled, now: int) -> bool:
        """Take a result. Returns whether whoever writes should look again: it is the first, or the batch is full."""
        results = self._batch.results
        results.append(result)
        if len(results) == 1:
            self._by = now + SETTLE_WITHIN
            return True
        return len(results) == SETTLE_AT

    def judge(self, verdict: Verdict, sent: Sent, now: int) -> None:
        """What an attempt says of the endpoint's health."""
        if verdict.status is DeliveryStatus.DELIVERED:
            self._health = WELL
            return
        found = after_failure(self._health, now, blocked=sent.error_class == BLOCKED)
        self._health = found.health
        reason = verdict.reason or "it failed"
        if found.warn is not None:
            self._batch.alarms.append(Alarm(found.health.since or now, found.warn, reason))
        if found.disable and not self.giving_up:
            self._batch.disable = f"no success for 5 days; the last attempt: {reason}"

    def gone(self, said: Gone) -> None:
        """Take the receiver's wish to be left alone."""
        self._batch.gone.append(said)

    async def written(self) -> None:
        """Until the next write has ended, well or not; or until there is nothing to wait for."""
        await self._written.wait()

    def let_go_on(self) -> None:
        """Wake whoever waits now."""
        self._written.set()
        self._written.clear()

    async def write(self, held: Lane, lane: Lane, endpoint: Endpoint | None, *, now: int) -> tuple[Unwritten, bool]:
        """Write what there is, and the lane's row if it is another than `held`.

        Returns what was written, and whether the lane is still ours; if not, only the history was kept.
        """
        batch, self._batch = self._batch, Unwritten()
        self._being_written = len(batch.results)
        health = self._health.dump() if self._health is not WELL else None

        async def unit(tx: Connection, ledger: Ledger) -> Unwritten | None:
            if not await lanes.hold(tx, lane):
                await outbox.note_attempts(tx, [one.attempt for one in batch.results])
                return None
            found, stands = batch, None
            if health != self._stored or batch.alarms or batch.giving_up:
                stands = await endpoints.lock_by_id(tx, lane.key)
                found = _as_it_stands(batch, stands, self._stored)
            await outbox.settle(tx, found.results, now=now)
            if stands is not None and stands.health == self._stored != health:
                await endpoints.note_health(tx, lane.key, health)
            if endpoint is not None:
                await _tell(tx, ledger, stands or endpoint, found)
            if lane is not held:
                await lanes.save_own_health(tx, lane)
            failpoints.reach("before_settle_commit")
            return found

        try:
            written = await self._recorder.write(unit)
        except BaseException:
            self._take_back(batch)
            raise
        finally:
            self._being_written = 0
            self.let_go_on()
        failpoints.reach("after_settle")
        self._stored = health
        return written or batch, written is not None

    def _take_back(self, batch: Unwritten) -> None:
        """What could not be written waits again, before what has come since."""
        since = self._batch
        self._batch = Unwritten(
            batch.results + since.results,
            batch.alarms + since.alarms,
            batch.disable or since.disable,
            batch.gone + since.gone,
        )


def _as_it_stands(batch: Unwritten, stands: Endpoint | None, known: str | None) -> Unwritten:
    """What of it is still to be said of the endpoint, which somebody may have changed since the attempts began.

    `known`: its health as it was gone on from. Whoever reset that has said that what failed before does not count; and whoever
    asked for no more may not be where the endpoint is now: an attempt under way ends where it began.
    """
    if stands is None or stands.health != known:
        batch = replace(batch, alarms=[], disable=None)
    if not batch.gone:
        return batch
    if stands is None or any(one.url == stands.url for one in batch.gone):
        return replace(batch, disable=batch.gone[-1].reason)
    instead = {one.instead.delivery_id: one.instead for one in batch.gone}
    return replace(batch, results=[instead.get(one.delivery_id, one) for one in batch.results])


async def _tell(tx: Connection, ledger: Ledger, endpoint: Endpoint, batch: Unwritten) -> None:
    for one in batch.alarms:
        await operations.warn(tx, ledger, endpoint, since=one.since, used=one.used, reason=one.reason)
    if batch.disable is not None:
        await operations.disable(tx, ledger, endpoint, batch.disable)
