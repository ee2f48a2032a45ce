"""Step 4 of the flow: the worker of an endpoint's lane. Reads due deliveries, signs, sends, settles in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from service.core.delivery import RENDER
from service.net.hosts import Hosts, party_of
from service.net.sender import Sender, Sent
from service.pipeline import attempt, orders
from service.pipeline import telling_attempts as telling
from service.pipeline.backlog import Backlog
from service.pipeline.ledger import Fresh
from service.pipeline.orders import Orders, Sealed
from service.pipeline.pace import Pace
from service.pipeline.recorder import Recorder
from service.pipeline.settling import Gone, Settling
from service.telemetry import failpoints, traces
from storage import endpoints, lanes, outbox
from storage.database import Connection, Database
from storage.outbox import Due
from storage.records import Endpoint, EndpointStatus, Lane

log = logging.getLogger("taskrelay.relay")

SECOND = 1_000_000
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
    hosts: Hosts = field(default_factory=Hosts)


class EndpointLane:
    """Sends one subscriber its events. Events of one task start in order; a failing one never holds back a later one."""

    def __init__(self, lane: Lane, desk: RelayDesk) -> None:
        self.lane = lane
        self.lost = False
        self._desk = desk
        self._orders: Orders | None = None  # None: not read yet, or not to be sent to
        self._endpoint: Endpoint | None = None  # as last read
        self._stale_at = 0
        self._rung = False
        self._backlog = Backlog()
        self._pace = Pace(lane)
        self._settling = Settling(desk.recorder)
        self._senders: set[asyncio.Task[None]] = set()
        self._setting_out = 0  # of those, have taken nothing yet
        self._surplus = 0  # of those, are to end because the cap was lowered
        self._party = ""  # whose places the attempts take
        self._in_line = False  # for a place there
        self._next_due_at: int | None = None
        self._stopping = False
        self._wake = asyncio.Event()

    # What the owner of lanes asks of a worker

    @property
    def idle(self) -> bool:
        return not (self._backlog.known or self._settling or self._senders)

    def ring(self, at: int) -> None:
        self._rung = True  # perhaps it was paused, moved or deleted: however much waits in memory, that is heard first
        self._due_by(at)
        self._wake.set()

    def hand(self, fresh: Fresh) -> None:
        """Take a delivery straight from its commit, unless older ones wait in the database or memory is full."""
        now = self._desk.clock()
        if self._sending(now) and not self._outdated(now):
            self._backlog.offer(fresh.due)
        else:
            self._backlog.refuse()
        self._wake.set()

    def next_at(self) -> int | None:
        now = self._desk.clock()
        if self._settling:
            return self._settling.due_at(now, more_to_come=bool(self._senders))
        at = self._next_due_at
        if (self._wanted(now) > 0 and not self._in_line) or self._backlog.hungry:
            at = now
        return None if at is None else max(at, self._pace.open_at(now))

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def next_due(self, tx: Connection) -> int | None:
        now = self._desk.clock()
        if await self._forgiven(tx):
            self._forgive()
        endpoint = await endpoints.by_id(tx, self.lane.key)
        if endpoint is None or endpoint.status is EndpointStatus.DISABLED:
            # Another replica may have owed it something before it could see that it is gone; nobody else would settle that.
            await outbox.cancel_pending(tx, self.lane.key, now=now)
            return None
        if not orders.sendable(endpoint, now):
            return None
        due = await outbox.next_due(tx, self.lane.key)
        return None if due is None else max(due, self._pace.open_at(now))

    async def stop(self) -> None:
        """Let what is in flight end, and settle it."""
        self._stopping = True
        self._settling.let_go_on()
        if self._senders:
            await asyncio.wait(list(self._senders))
        while self._settling:
            await self._settle()

    def let_go(self) -> None:
        """An attempt that is broken off is made again, with the same id and bytes."""
        for running in self._senders:
            running.cancel()

    async def run_once(self) -> int:
        """Settle what ended, read what is due, keep senders busy. Never waits for the subscriber."""
        self._wake.clear()
        now = self._desk.clock()
        done = 0
        if self._next_due_at is not None and self._next_due_at <= now:
            self._next_due_at = None
            self._backlog.look_again()
        if self._settling and self._settling.due_at(now, more_to_come=bool(self._senders)) <= now:
            done = await self._settle()
        if self._pace.open_at(now) > now + SET_ASIDE_SECONDS * SECOND:
            self._backlog.set_aside()  # a dead endpoint then costs neither memory nor a lane
        may_call = self._pace.open_at(now) <= now
        if self._rung or (may_call and (self._backlog.hungry or (self._backlog and self._outdated(now)))):
            done += await self._read(deliveries=may_call)
        return done + self._start_senders()

    # Reading

    async def _read(self, *, deliveries: bool) -> int:
        now, backlog, key = self._desk.clock(), self._backlog, self.lane.key
        hungry = [half for half in (backlog.firsts, backlog.agains) if deliveries and half.hungry]
        halves = [(half, backlog.read_limit(half)) for half in hungry]
        self._rung = False  # whoever rings from here on is read after

        async def unit(tx: Connection) -> tuple[Endpoint | Sealed | None, bool, list[list[Due]], int | None]:
            found, forgiven = await orders.read(tx, key, now=now), await self._forgiven(tx)
            if not isinstance(found, Sealed):
                return found, forgiven, [[] for _ in halves], None
            due = [
                await outbox.due(tx, key, now=now, batch=limit, again=half is backlog.agains) for half, limit in halves
            ]
            return found, forgiven, due, await outbox.next_due_after(tx, key, now=now)

        found, forgiven, due, following = await self._desk.database.read(unit)
        if forgiven:
            self._forgive()
        self._follow(found, now)
        if self._orders is None:
            backlog.set_aside()
        new = sum(backlog.fill(half, rows, limit) for (half, limit), rows in zip(halves, due, strict=True))
        if self._orders is None:
            backlog.firsts.more = backlog.agains.more = False
        self._due_by(following)
        return new

    def _follow(self, found: Endpoint | Sealed | None, now: int) -> None:
        """Go on with the endpoint as it was read."""
        self._stale_at = now + ENDPOINT_FRESH_SECONDS * SECOND
        if not isinstance(found, Sealed):
            self._orders, self._endpoint = None, found
            return
        if self._orders is None or self._orders.sealed != found:
            self._orders = Orders(found, self._desk.unseal)
            self._party, self._in_line = party_of(found.endpoint.url), False
            self._surplus = max(len(self._senders) - found.endpoint.max_in_flight, 0)
        self._endpoint = found.endpoint
        self._settling.follow(found.endpoint)
        self._pace.follow(found.endpoint.rate_limit, now)

    async def _forgiven(self, tx: Connection) -> bool:
        """Whether a person has wiped from the row why the endpoint is not to be called."""
        held = self.lane
        if held.breaker is None and held.held_until is None:
            return False
        row = await lanes.get(tx, held.kind, held.key)
        return row is not None and (row.epoch, row.breaker, row.held_until) == (held.epoch, None, None)

    def _forgive(self) -> None:
        self._pace.forget()
        self.lane = replace(self.lane, breaker=None, held_until=None)

    def _outdated(self, now: int) -> bool:
        """Whether the endpoint was read too long ago, or by a clock that was set back since."""
        return not now < self._stale_at <= now + ENDPOINT_FRESH_SECONDS * SECOND

    def _due_by(self, at: int | None) -> None:
        if at is not None and (self._next_due_at is None or at < self._next_due_at):
            self._next_due_at = at

    # Sending

    def _sending(self, now: int) -> bool:
        return self._orders is not None and orders.sendable(self._orders.endpoint, now)

    def _cap(self, now: int) -> int:
        """How many attempts may be in flight."""
        if self._orders is None or not self._sending(now):
            return 0
        return self._pace.cap(self._orders.endpoint.max_in_flight)

    def _lease_too_short(self, now: int) -> bool:
        return self.lane.until - now < int((self._desk.attempt_seconds + START_SLACK_SECONDS) * SECOND)

    @property
    def _closing(self) -> bool:
        return self._stopping or self.lost or self._settling.giving_up

    def _wanted(self, now: int) -> int:
        """How many more senders there is work for."""
        if self._lease_too_short(now):
            return 0
        return min(len(self._backlog) - self._setting_out, self._cap(now) - len(self._senders))

    def _start_senders(self) -> int:
        now, started = self._desk.clock(), 0
        if self._closing or self._pace.open_at(now) > now:
            return 0
        wanted = self._wanted(now)
        while started < wanted and self._desk.hosts.enter(self._party, self._admitted):
            self._start_sender()
            started += 1
        self._in_line = started < wanted
        return started

    def _admitted(self, party: str) -> bool:
        """Take the place that another lane gave up at this host, if it is still ours and there is something to send."""
        if party != self._party:
            return False
        now, self._in_line = self._desk.clock(), False
        self._wake.set()  # for further places, or if there is no use for this one now, it asks again itself
        if self._closing or self._pace.open_at(now) > now or self._wanted(now) < 1:
            return False
        self._start_sender()
        return True

    def _start_sender(self) -> None:
        party = self._party
        self._setting_out, self._surplus = self._setting_out + 1, 0
        task = asyncio.create_task(self._send_all(party))
        self._senders.add(task)
        task.add_done_callback(self._sender_ended)
        task.add_done_callback(lambda _: self._desk.hosts.leave(party))

    def _sender_ended(self, task: asyncio.Task[None]) -> None:
        self._senders.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("lane endpoint %s: a sender failed", self.lane.key, exc_info=task.exception())

    async def _send_all(self, party: str) -> None:
        """One sender: attempt after attempt while there is work, the endpoint may be called and nobody waits for the place."""
        desk, backlog, pace = self._desk, self._backlog, self._pace
        self._setting_out -= 1
        while (follow := self._orders) is not None and not self._closing:
            now = desk.clock()
            if self._surplus:
                self._surplus -= 1
                return
            if backlog and self._full(follow):
                # To end here and to be started again after each write cost five to ten percent of the speed.
                await self._settling.written()
                if self._full(follow):
                    return
                continue
            if not backlog or not self._may_send(follow.endpoint, now):
                return
            due = backlog.take()
            try:
                body, headers = follow.message(due, now, desk.user_agent)
            except Exception as error:  # whatever it is: it is this event's own trouble, and others must flow
                log.error("delivery %s cannot be made: %s: %s", due.id, type(error).__name__, error)
                self._note(due, Sent(None, RENDER, 0), started_at=now, follow=follow)
                continue
            pace.sent(now)
            failpoints.reach("before_post")
            span = _traced(due, headers) if due.traceparent is not None else None
            sent = await desk.sender.post(due.url or follow.endpoint.url, body, headers)
            failpoints.reach("after_post")
            if span is not None:
                span.end(status=sent.status_code, error=sent.error_class)
            self._note(due, sent, started_at=now, follow=follow)
            if pace.shut or self._party != party or desk.hosts.crowded(party):
                return

    def _full(self, follow: Orders) -> bool:
        """Whether a crash could repeat as much as it may already: what is in flight, and one batch of results."""
        return len(self._senders) > follow.endpoint.max_in_flight + self._settling.room

    def _may_send(self, endpoint: Endpoint, now: int) -> bool:
        """Whether the next attempt may start now; takes its place in the rate."""
        if self._lease_too_short(now) or (endpoint.expires_at is not None and now >= endpoint.expires_at):
            return False
        return self._pace.take(now)

    # What came of it

    def _note(self, due: Due, sent: Sent, *, started_at: int, follow: Orders) -> None:
        now, jitter = self._desk.clock(), self._desk.chance()
        telling.attempted(due, sent, now)
        moved = self._orders is not None and self._orders.endpoint.url != follow.endpoint.url
        verdict = attempt.judge(due, sent, follow, now=now, jitter=jitter, moved=moved)
        if sent.error_class != RENDER and not moved:  # else it says nothing of where the endpoint is now
            shut = self._pace.shut
            self._pace.answered(now, well=sent.status_code is not None and sent.status_code < 500)
            if self._pace.shut is not shut:
                telling.breaker(self.lane.key, opened=not shut)
            if not (due.test or follow.endpoint.hidden):
                self._settling.judge(verdict, sent, now)
        self._pace.slow(verdict.slow_until)
        if verdict.disable_endpoint:
            anew = attempt.judge(due, sent, follow, now=now, jitter=jitter, moved=True)
            instead = attempt.settled(due, sent, anew, started_at)
            self._settling.gone(Gone(follow.endpoint.url, verdict.reason or "", instead))
        if self._settling.add(attempt.settled(due, sent, verdict, started_at), now):
            self._wake.set()

    async def _settle(self) -> int:
        """Write results back under the lane's epoch. If the lane is someone else's now, only the history is kept."""
        held, now = self.lane, self._desk.clock()
        lane = self._pace.onto(held, now)
        written, ours = await self._settling.write(held, lane, self._endpoint, now=now)
        self.lost = self.lost or not ours
        self.lane = replace(lane, until=self.lane.until)
        if written.giving_up:
            self._orders = None  # read again before anything more is sent
            self._backlog.set_aside()
        telling.settled(written, lane, self._endpoint)
        for one in written.results:
            self._backlog.settled(one.delivery_id)
            self._due_by(one.due_at)
        return len(written.results)


def _traced(due: Due, headers: dict[str, str]) -> traces.Span | None:
    """Tell the subscriber which trace this belongs to: the client's own, continued by a span of ours where anybody wants spans."""
    span = traces.begin(
        "deliver", due.traceparent, "client", delivery=due.id, event=due.event_id, attempt=due.attempts + 1
    )
    headers[traces.NAME] = span.traceparent if span is not None else due.traceparent or ""
    return span
