"""Step 4 of the flow: the worker of an endpoint's lane. Reads due deliveries, signs, sends, settles in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.core import delivery
from service.core.delivery import BLOCKED, RENDER, Verdict
from service.core.health import WELL, Health, after_failure
from service.core.schedule import Breaker, Bucket
from service.net.sender import Sender, Sent
from service.pipeline import operations, orders
from service.pipeline.backlog import Backlog
from service.pipeline.ledger import Fresh, Ledger
from service.pipeline.orders import Orders, Sealed
from service.pipeline.recorder import Recorder
from service.telemetry import failpoints
from storage import endpoints, lanes, outbox
from storage.database import Connection, Database
from storage.outbox import Due, Settled
from storage.records import Attempt, DeliveryStatus, Endpoint, Lane

log = logging.getLogger("taskrelay.relay")

SECOND = 1_000_000
# Results are settled together: a commit for each would cost more than the request it records. What a crash may repeat is one batch.
SETTLE_AT = 64
SETTLE_WITHIN_SECONDS = 0.005
ENDPOINT_FRESH_SECONDS = 2  # another replica may pause it, or change its URL or secret, and rings nobody here
SET_ASIDE_SECONDS = 10  # an endpoint that may not be called for longer keeps nothing in memory
START_SLACK_SECONDS = 5.0  # start nothing that cannot end this long before the lease


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayDesk:
    """What relaying needs beside its lane. `unseal`: (sealed text, purpose) → the secret to sign with."""

    database: Database
    recorder: Recorder
    sender: Sender
    unseal: Callable[[str, str], str]
    clock: Callable[[], int]
    chance: Callable[[], float]
    user_agent: str
    attempt_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """What the owner is to be told of a failing endpoint."""

    since: int
    used: int
    reason: str


class EndpointLane:
    """Sends one subscriber its events. Events of one task start in order; a failing one never holds back a later one."""

    def __init__(self, lane: Lane, desk: RelayDesk) -> None:
        self.lane = lane
        self.lost = False
        self._desk = desk
        self._orders: Orders | None = None  # None: not read yet, or not to be sent to
        self._endpoint: Endpoint | None = None  # as last read
        self._stale_at = 0
        self._backlog = Backlog()
        self._results: list[Settled] = []
        self._settle_by = 0
        self._disable: str | None = None
        self._health = WELL
        self._health_stored: str | None = None
        self._alarms: list[Alarm] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._breaker = Breaker.load(lane.breaker)
        self._bucket: Bucket | None = None
        self._rate: int | None = None
        self._slow_until = lane.held_until or 0
        self._next_due_at: int | None = None
        self._stopping = False
        self._wake = asyncio.Event()

    @property
    def idle(self) -> bool:
        return not (self._backlog.known or self._results or self._senders)

    def ring(self, at: int) -> None:
        if self._next_due_at is None or at < self._next_due_at:
            self._next_due_at = at
        self._wake.set()

    def hand(self, fresh: Fresh) -> None:
        """Take a delivery straight from its commit, unless older ones wait in the database or memory is full."""
        now = self._desk.clock()
        if self._sending(now) and now < self._stale_at:
            self._backlog.offer(fresh.due)
        else:
            self._backlog.refuse()
        self._wake.set()

    def next_at(self) -> int | None:
        now = self._desk.clock()
        if self._results:
            return now if self._must_settle(now) else self._settle_by
        at = self._next_due_at
        startable = self._backlog and len(self._senders) < self._cap(now) and not self._lease_too_short(now)
        if startable or self._backlog.hungry:
            at = now
        return None if at is None else max(at, self._open_at(now))

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def next_due(self, tx: Connection) -> int | None:
        now = self._desk.clock()
        endpoint = await endpoints.by_id(tx, self.lane.key)
        if endpoint is None or not orders.sendable(endpoint, now):
            return None
        due = await outbox.next_due(tx, self.lane.key)
        return None if due is None else max(due, self._open_at(now))

    async def stop(self) -> None:
        """Let what is in flight end, and settle it."""
        self._stopping = True
        if self._senders:
            await asyncio.wait(list(self._senders))
        while self._results:
            await self._settle()

    def let_go(self) -> None:
        """An attempt that is broken off is made again, with the same id and bytes."""
        for running in self._senders:
            running.cancel()

    async def run_once(self) -> int:
        """Settle what ended, read what is due, keep senders busy. Never waits for the subscriber."""
        self._wake.clear()
        now = self._desk.clock()
        done = len(self._results) if self._must_settle(now) else 0
        if self._next_due_at is not None and self._next_due_at <= now:
            self._next_due_at = None
            self._backlog.look_again()
        if done:
            await self._settle()
        if self._open_at(now) > now + SET_ASIDE_SECONDS * SECOND:
            self._backlog.set_aside()  # a dead endpoint then costs neither memory nor a lane
        if self._backlog.hungry and self._open_at(now) <= now:
            done += await self._read()
        return done + self._start_senders()

    def _must_settle(self, now: int) -> bool:
        """Whether results have waited for company long enough, or none is to come."""
        return bool(self._results) and (len(self._results) >= SETTLE_AT or now >= self._settle_by or not self._senders)

    def _sending(self, now: int) -> bool:
        return self._orders is not None and orders.sendable(self._orders.endpoint, now)

    def _open_at(self, now: int) -> int:
        """The earliest instant at which the endpoint may be called."""
        at = max(self._slow_until, self._breaker.next_probe_at or 0)
        return at if self._bucket is None else max(at, self._bucket.ready_at(now))

    def _cap(self, now: int) -> int:
        """How many attempts may be in flight; a probe goes alone."""
        if self._orders is None or not self._sending(now):
            return 0
        return 1 if self._breaker.open else self._orders.endpoint.max_in_flight

    async def _read(self) -> int:
        now, backlog, key = self._desk.clock(), self._backlog, self.lane.key
        halves = [(half, backlog.read_limit(half)) for half in (backlog.firsts, backlog.agains) if half.hungry]

        async def unit(tx: Connection) -> tuple[Endpoint | Sealed | None, list[list[Due]], int | None]:
            found = await orders.read(tx, key, now=now)
            if not isinstance(found, Sealed):
                return found, [[] for _ in halves], None
            due = [
                await outbox.due(tx, key, now=now, batch=limit, again=half is backlog.agains) for half, limit in halves
            ]
            return found, due, await outbox.next_due_after(tx, key, now=now)

        found, due, following = await self._desk.database.read(unit)
        self._follow(found, now)
        if self._orders is None:
            backlog.set_aside()
        new = sum(backlog.fill(half, rows, limit) for (half, limit), rows in zip(halves, due, strict=True))
        if self._orders is None:
            backlog.firsts.more = backlog.agains.more = False
        if following is not None and (self._next_due_at is None or following < self._next_due_at):
            self._next_due_at = following
        return new

    def _follow(self, found: Endpoint | Sealed | None, now: int) -> None:
        """Go on with the endpoint as it was read."""
        self._stale_at = now + ENDPOINT_FRESH_SECONDS * SECOND
        if not isinstance(found, Sealed):
            self._orders, self._endpoint = None, found
            return
        if self._orders is None or self._orders.sealed != found:
            self._orders = Orders(found, self._desk.unseal)
        endpoint = self._endpoint = found.endpoint
        if endpoint.health != self._health_stored:
            self._health_stored = endpoint.health  # as its last owner left it, or reset by hand
            self._health = Health.load(endpoint.health)
        if endpoint.rate_limit != self._rate:
            self._rate = endpoint.rate_limit
            self._bucket = Bucket(self._rate, now=now) if self._rate is not None else None

    def _start_senders(self) -> int:
        now = self._desk.clock()
        if self._stopping or self.lost or self._disable or self._open_at(now) > now or self._lease_too_short(now):
            return 0
        wanted = min(len(self._backlog), self._cap(now) - len(self._senders))
        for _ in range(wanted):
            task = asyncio.create_task(self._send_all())
            self._senders.add(task)
            task.add_done_callback(self._sender_ended)
        return max(wanted, 0)

    def _sender_ended(self, task: asyncio.Task[None]) -> None:
        self._senders.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("lane endpoint %s: a sender failed", self.lane.key, exc_info=task.exception())

    async def _send_all(self) -> None:
        """One sender: attempt after attempt while there is work and the endpoint may be called."""
        desk, backlog = self._desk, self._backlog
        while (follow := self._orders) is not None and not (self._stopping or self.lost or self._disable):
            now = desk.clock()
            if not backlog or not self._may_send(follow.endpoint, now):
                return
            due = backlog.take()
            try:
                body, headers = follow.message(due, now, desk.user_agent)
            except Exception as error:  # whatever it is: it is this event's own trouble, and others must flow
                log.error("delivery %s cannot be made: %s: %s", due.id, type(error).__name__, error)
                self._note(due, Sent(None, RENDER, 0), started_at=now, follow=follow)
                continue
            self._breaker = self._breaker.sent(now)
            failpoints.reach("before_post")
            sent = await desk.sender.post(due.url or follow.endpoint.url, body, headers)
            failpoints.reach("after_post")
            self._note(due, sent, started_at=now, follow=follow)
            if self._breaker.open:
                return

    def _may_send(self, endpoint: Endpoint, now: int) -> bool:
        """Whether the next attempt may start now; takes its place in the rate."""
        if self._slow_until > now or not self._breaker.admit(now) or self._lease_too_short(now):
            return False
        if endpoint.expires_at is not None and now >= endpoint.expires_at:
            return False
        return self._bucket is None or self._bucket.take(now)

    def _lease_too_short(self, now: int) -> bool:
        return self.lane.until - now < int((self._desk.attempt_seconds + START_SLACK_SECONDS) * SECOND)

    def _note(self, due: Due, sent: Sent, *, started_at: int, follow: Orders) -> None:
        now = self._desk.clock()
        verdict = delivery.judge(
            status_code=sent.status_code,
            error_class=sent.error_class,
            retry_after=sent.retry_after,
            attempts_made=due.attempts + 1,
            now=now,
            jitter=self._desk.chance(),
            created_at=due.since,
            hidden=follow.endpoint.hidden,
            spent=due.spent,
            schedule=follow.schedule,
        )
        if due.test and verdict.status is DeliveryStatus.PENDING:
            verdict = replace(verdict, status=DeliveryStatus.EXHAUSTED, due_at=None)
        if sent.error_class != RENDER:
            self._breaker = self._breaker.record(now, sent.status_code is not None and sent.status_code < 500)
            if not (due.test or follow.endpoint.hidden):
                self._judge_health(verdict, sent, now)
        if verdict.slow_until is not None:
            self._slow_until = max(self._slow_until, verdict.slow_until)
        if verdict.disable_endpoint and not due.test:
            self._disable = verdict.reason
        if not self._results:
            self._settle_by = now + int(SETTLE_WITHIN_SECONDS * SECOND)
            self._wake.set()
        elif len(self._results) + 1 == SETTLE_AT:
            self._wake.set()
        self._results.append(settled(due, sent, verdict, started_at))

    def _judge_health(self, verdict: Verdict, sent: Sent, now: int) -> None:
        if verdict.status is DeliveryStatus.DELIVERED:
            self._health = WELL
            return
        found = after_failure(self._health, now, blocked=sent.error_class == BLOCKED)
        self._health = found.health
        reason = verdict.reason or "it failed"
        if found.warn is not None:
            self._alarms.append(Alarm(found.health.since or now, found.warn, reason))
        if found.disable:
            self._disable = self._disable or f"no success for 5 days; the last attempt: {reason}"

    async def _settle(self) -> None:
        """Write results back under the lane's epoch. If the lane is someone else's now, only the history is kept."""
        results, self._results = self._results, []
        disable, self._disable = self._disable, None
        alarms, self._alarms = self._alarms, []
        endpoint = self._endpoint
        now = self._desk.clock()
        breaker = self._breaker.dump() if self._breaker.since is not None else None
        held = self._slow_until if self._slow_until > now else None
        changed = breaker != self.lane.breaker or held != self.lane.held_until
        lane = replace(self.lane, breaker=breaker, held_until=held)
        health = self._health.dump() if self._health is not WELL else None

        async def unit(tx: Connection, ledger: Ledger) -> bool:
            if not await lanes.hold(tx, lane):
                await outbox.note_attempts(tx, [one.attempt for one in results])
                return False
            await outbox.settle(tx, results, now=now)
            if health != self._health_stored:
                await endpoints.note_health(tx, lane.key, health)
            if endpoint is not None:
                for one in alarms:
                    await operations.warn(tx, ledger, endpoint, since=one.since, used=one.used, reason=one.reason)
                if disable is not None:
                    await operations.disable(tx, ledger, endpoint, disable)
            if changed:
                await lanes.save_health(tx, lane)
            failpoints.reach("before_settle_commit")
            return True

        try:
            held_still = await self._desk.recorder.write(unit)
        except BaseException:
            self._results = results + self._results
            self._disable = disable or self._disable
            self._alarms = alarms + self._alarms
            raise
        failpoints.reach("after_settle")
        self.lost = self.lost or not held_still
        self._health_stored = health
        self.lane = replace(lane, until=self.lane.until)
        if disable is not None:
            self._orders = None  # read again before anything more is sent
            self._backlog.set_aside()
        self._forget(results)

    def _forget(self, results: list[Settled]) -> None:
        for one in results:
            self._backlog.known.discard(one.delivery_id)
            if one.due_at is not None and (self._next_due_at is None or one.due_at < self._next_due_at):
                self._next_due_at = one.due_at


def settled(due: Due, sent: Sent, verdict: Verdict, started_at: int) -> Settled:
    """What is written of an attempt. Of a test neither time nor body is kept: it must not be of use for looking around."""
    return Settled(
        delivery_id=due.id,
        was=due.attempts,
        status=verdict.status.value,
        due_at=verdict.due_at,
        attempt=Attempt(
            delivery_id=due.id,
            number=due.attempts + 1,
            at=started_at,
            duration_ms=0 if due.test else sent.duration_ms,
            status_code=sent.status_code,
            error_class=sent.error_class,
            response_head=None if due.test else sent.response_head,
        ),
    )
