"""Step 4 of the flow: the worker of an endpoint's lane. Reads due deliveries, signs, sends, settles in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.core import delivery, signature
from service.core.schedule import Breaker
from service.net.sender import Sender, Sent
from service.pipeline.ledger import Fresh
from service.telemetry import failpoints
from storage import endpoints, lanes, outbox, projects
from storage.database import Connection, Database
from storage.errors import Missing
from storage.outbox import Due, Settled
from storage.records import Attempt, Endpoint, EndpointStatus, Lane

log = logging.getLogger("taskrelay.relay")

SECOND = 1_000_000
READ_AHEAD = 256  # deliveries of one lane in memory at most
LOW_WATER = 64
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
    sender: Sender
    unseal: Callable[[str, str], str]
    clock: Callable[[], int]
    chance: Callable[[], float]
    user_agent: str
    attempt_seconds: float = 15.0


class EndpointLane:
    """Sends one subscriber its events. Events of one task start in order; a failing one never holds back a later one."""

    def __init__(self, lane: Lane, desk: RelayDesk) -> None:
        self.lane = lane
        self.lost = False
        self._desk = desk
        self._endpoint: Endpoint | None = None
        self._stale_at = 0
        self._keys: list[bytes] = []
        self._sealed: tuple[str, str] | None = None  # the secret the keys came from
        self._ready: deque[Due] = deque()
        self._known: set[str] = set()  # ready, in flight, or not yet settled: the reader skips these
        self._results: list[Settled] = []
        self._settle_by = 0
        self._disable: str | None = None
        self._senders: set[asyncio.Task[None]] = set()
        self._breaker = Breaker.load(lane.breaker)
        self._slow_until = lane.held_until or 0
        self._more = True  # the database may hold due rows that are not in memory
        self._missed = False  # a delivery came that was not taken; a read under way may not have seen it
        self._next_due_at: int | None = None
        self._stopping = False
        self._wake = asyncio.Event()

    @property
    def idle(self) -> bool:
        return not (self._known or self._results or self._senders)

    def ring(self, at: int) -> None:
        if self._next_due_at is None or at < self._next_due_at:
            self._next_due_at = at
        self._wake.set()

    def hand(self, fresh: Fresh) -> None:
        """Take a delivery straight from its commit, unless older ones wait in the database or memory is full."""
        full = len(self._known) >= READ_AHEAD or fresh.due.id in self._known
        if self._more or full or not self._sending() or self._desk.clock() >= self._stale_at:
            self._more = self._missed = True
        else:
            self._known.add(fresh.due.id)
            self._ready.append(fresh.due)
        self._wake.set()

    def next_at(self) -> int | None:
        now = self._desk.clock()
        if self._results:
            return now if self._must_settle(now) else self._settle_by
        at = self._next_due_at
        startable = self._ready and len(self._senders) < self._cap() and not self._lease_too_short(now)
        if startable or (self._more and len(self._ready) < LOW_WATER):
            at = now
        return None if at is None else max(at, self._open_at())

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def next_due(self, tx: Connection) -> int | None:
        endpoint = await endpoints.by_id(tx, self.lane.key)
        if endpoint is None or endpoint.status is not EndpointStatus.ACTIVE:
            return None
        due = await outbox.next_due(tx, self.lane.key)
        return None if due is None else max(due, self._open_at())

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
            self._more, self._next_due_at = True, None
        if done:
            await self._settle()
        if self._open_at() > now + SET_ASIDE_SECONDS * SECOND:
            self._set_aside()
        refill = self._more and len(self._ready) < LOW_WATER and self._open_at() <= now
        if refill:
            done += await self._read()
        return done + self._start_senders()

    def _must_settle(self, now: int) -> bool:
        """Whether results have waited for company long enough, or none is to come."""
        return bool(self._results) and (len(self._results) >= SETTLE_AT or now >= self._settle_by or not self._senders)

    def _sending(self) -> bool:
        return self._endpoint is not None and self._endpoint.status is EndpointStatus.ACTIVE

    def _set_aside(self) -> None:
        """Forget what waits in memory; its rows stay due. A dead endpoint then costs neither memory nor a lane."""
        if self._ready:
            self._known -= {due.id for due in self._ready}
            self._ready.clear()
            self._more = True

    def _open_at(self) -> int:
        """The earliest instant at which the endpoint may be called."""
        return max(self._slow_until, self._breaker.next_probe_at or 0)

    def _cap(self) -> int:
        """How many attempts may be in flight; a probe goes alone."""
        if self._endpoint is None or not self._sending():
            return 0
        return 1 if self._breaker.open else self._endpoint.max_in_flight

    async def _read(self) -> int:
        now = self._desk.clock()
        limit = READ_AHEAD + len(self._known)

        async def unit(tx: Connection) -> tuple[Endpoint | None, tuple[str, str] | None, list[Due], int | None]:
            endpoint = await endpoints.by_id(tx, self.lane.key)
            if endpoint is None or endpoint.status is not EndpointStatus.ACTIVE:
                return endpoint, None, [], None
            secret = (endpoint.secret, "endpoint-secret") if endpoint.secret is not None else None
            if secret is None and (project := await projects.get(tx, endpoint.project_id)) is not None:
                secret = (project.secret, "project-secret")
            if secret is None:
                raise Missing(f"endpoint {endpoint.id} has no secret to sign with: its project is gone")
            due = await outbox.due(tx, self.lane.key, now=now, batch=limit)
            return endpoint, secret, due, await outbox.next_due_after(tx, self.lane.key, now=now)

        self._missed = False
        endpoint, secret, found, following = await self._desk.database.read(unit)
        if secret is not None and secret != self._sealed:
            self._keys, self._sealed = [signature.decode_secret(self._desk.unseal(*secret))], secret
        self._endpoint, self._stale_at = endpoint, now + ENDPOINT_FRESH_SECONDS * SECOND
        if not self._sending():
            self._set_aside()
        unknown = [due for due in found if due.id not in self._known]
        new = unknown[: READ_AHEAD - len(self._ready)]
        self._ready.extend(new)
        self._known.update(due.id for due in new)
        self._more = self._missed or len(unknown) > len(new) or len(found) == limit
        if following is not None and (self._next_due_at is None or following < self._next_due_at):
            self._next_due_at = following
        return len(new)

    def _start_senders(self) -> int:
        endpoint, now = self._endpoint, self._desk.clock()
        if endpoint is None or self._stopping or self.lost or self._disable or self._open_at() > now:
            return 0
        if self._lease_too_short(now):
            return 0
        wanted = min(len(self._ready), self._cap() - len(self._senders))
        for _ in range(wanted):
            task = asyncio.create_task(self._send_all(endpoint))
            self._senders.add(task)
            task.add_done_callback(self._sender_ended)
        return max(wanted, 0)

    def _sender_ended(self, task: asyncio.Task[None]) -> None:
        self._senders.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("lane endpoint %s: a sender failed", self.lane.key, exc_info=task.exception())

    async def _send_all(self, endpoint: Endpoint) -> None:
        """One sender: attempt after attempt while there is work and the endpoint may be called."""
        desk = self._desk
        while self._ready and not (self._stopping or self.lost or self._disable):
            now = desk.clock()
            if self._open_at() > now or not self._breaker.admit(now) or self._lease_too_short(now):
                return
            self._breaker = self._breaker.sent(now)
            due = self._ready.popleft()
            url = due.url or endpoint.url
            stamp = now // SECOND
            headers = delivery.headers_for(
                due.event_id,
                stamp,
                signature.sign(self._keys, due.event_id, stamp, due.body),
                due.attempts + 1,
                due.event_type,
                desk.user_agent,
            )
            failpoints.reach("before_post")
            sent = await desk.sender.post(url, due.body, headers)
            failpoints.reach("after_post")
            self._note(due, sent, started_at=now, endpoint=endpoint)
            if self._breaker.open:
                return

    def _lease_too_short(self, now: int) -> bool:
        return self.lane.until - now < int((self._desk.attempt_seconds + START_SLACK_SECONDS) * SECOND)

    def _note(self, due: Due, sent: Sent, *, started_at: int, endpoint: Endpoint) -> None:
        now = self._desk.clock()
        verdict = delivery.judge(
            status_code=sent.status_code,
            error_class=sent.error_class,
            retry_after=sent.retry_after,
            attempts_made=due.attempts + 1,
            now=now,
            jitter=self._desk.chance(),
            created_at=due.created_at,
            hidden=endpoint.hidden,
        )
        self._breaker = self._breaker.record(now, sent.status_code is not None and sent.status_code < 500)
        if verdict.slow_until is not None:
            self._slow_until = max(self._slow_until, verdict.slow_until)
        if verdict.disable_endpoint:
            self._disable = verdict.reason
        if not self._results:
            self._settle_by = now + int(SETTLE_WITHIN_SECONDS * SECOND)
            self._wake.set()
        elif len(self._results) + 1 == SETTLE_AT:
            self._wake.set()
        self._results.append(
            Settled(
                delivery_id=due.id,
                was=due.attempts,
                status=verdict.status.value,
                due_at=verdict.due_at,
                attempt=Attempt(
                    delivery_id=due.id,
                    number=due.attempts + 1,
                    at=started_at,
                    duration_ms=sent.duration_ms,
                    status_code=sent.status_code,
                    error_class=sent.error_class,
                    response_head=sent.response_head,
                ),
            )
        )

    async def _settle(self) -> None:
        """Write results back under the lane's epoch. If the lane is someone else's now, only the history is kept."""
        results, self._results = self._results, []
        disable, self._disable = self._disable, None
        now = self._desk.clock()
        health = self._breaker.dump() if self._breaker.since is not None else None
        held = self._slow_until if self._slow_until > now else None
        changed = health != self.lane.breaker or held != self.lane.held_until
        lane = replace(self.lane, breaker=health, held_until=held)

        async def unit(tx: Connection) -> bool:
            if not await lanes.hold(tx, lane):
                await outbox.note_attempts(tx, [one.attempt for one in results])
                return False
            await outbox.settle(tx, results, now=now)
            if disable is not None and await endpoints.disable(tx, lane.key, disable, now=now):
                await outbox.cancel_pending(tx, lane.key, now=now)
            if changed:
                await lanes.save_health(tx, lane)
            failpoints.reach("before_settle_commit")
            return True

        try:
            held_still = await self._desk.database.write(unit)
        except BaseException:
            self._results = results + self._results
            self._disable = disable or self._disable
            raise
        failpoints.reach("after_settle")
        self.lost = self.lost or not held_still
        self.lane = replace(lane, until=self.lane.until)
        if disable is not None:
            self._endpoint = None  # read again before anything more is sent
            self._set_aside()
        for one in results:
            self._known.discard(one.delivery_id)
            if one.due_at is not None and (self._next_due_at is None or one.due_at < self._next_due_at):
                self._next_due_at = one.due_at
