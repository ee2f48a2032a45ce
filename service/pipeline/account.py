"""The worker of an account's lane: decides what to ask of one provider account, when, and how much at once.

A turn reads what is due, tells what needs no request, and starts what may be started. Requests of four sorts share the
account's rate: each sort that has something waiting gets its turn, so no backlog starves another.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from service.core import lifecycle
from service.core.care import Care
from service.core.lifecycle import Outcome, Rules
from service.core.observation import Claim, Reading
from service.core.schedule import Bucket
from service.pipeline import due, foregone
from service.pipeline.account_events import keep_health
from service.pipeline.accounts import AccountDesk
from service.pipeline.clues import gather
from service.pipeline.due import READ, Limits, Round
from service.pipeline.health import KIND_OF, Health, Kind
from service.pipeline.ledger import Fresh, Ledger, Recorded
from service.pipeline.poll import PollDesk, look_up, query
from service.pipeline.questions import Question, Questions
from service.pipeline.submit import LaneLost, SubmitDesk, submit
from service.pipeline.turns import Lot, Turns, probe
from service.telemetry.facts import tell
from storage import account_tasks, callbacks
from storage.database import Connection, Database
from storage.errors import StorageError
from storage.records import Lane, LaneKind, Task, TaskStatus

log = logging.getLogger("taskrelay.account")

SECOND = 1_000_000
SUBMITS_IN_FLIGHT = 16
QUERIES_IN_FLIGHT = 8
LOOK_SECONDS = 5.0  # while it cannot be asked: how often an owner looks for deadlines …
LOOK_IDLE_SECONDS = 60.0  # … and somebody takes the lane to look


Wanted = Mapping[Lot, deque[Question | Task]]


class AccountLane:
    """Submits, polls, looks up and verifies for one account, within its rate, its cap of open tasks and its health."""

    def __init__(
        self,
        lane: Lane,
        account: AccountDesk,
        *,
        database: Database,
        submitting: SubmitDesk,
        polling: PollDesk,
        bucket: Bucket | None = None,
    ) -> None:
        """`bucket`: the account's rate in this process, which outlives the lane; a new one starts empty."""
        self.lane = lane
        self.lost = False
        self._account = account
        self._database = database
        self._submitting = submitting
        self._polling = polling
        self._clock = polling.clock
        bucket = bucket or Bucket(account.rate, now=self._clock())
        self._health = Health(lane, bucket, clock=self._clock, secret=account.channel.api_key)
        self._submits: dict[str, asyncio.Task[None]] = {}
        self._queries: set[asyncio.Task[None]] = set()
        self._questions = Questions(account, clock=self._clock, later=self._later, buying=self._submits)
        self._turns = Turns[Question | Task]()
        self._served = ""  # the project that was last bought for
        self._looked_at = 0
        self._next_at: int | None = self._clock()
        self._recovered = False
        self._wake = asyncio.Event()

    @property
    def idle(self) -> bool:
        return not (self._submits or self._queries)

    def ring(self, at: int) -> None:
        self._later(at)
        self._wake.set()

    def hand(self, fresh: Fresh) -> None:
        raise TypeError("deliveries go to endpoints")

    def next_at(self) -> int | None:
        return self._next_at

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def stop(self) -> None:
        """Let purchases and queries in flight end: their answers are worth having."""
        if running := [*self._submits.values(), *self._queries]:
            await asyncio.wait(running)

    def let_go(self) -> None:
        """A purchase that is broken off is of unknown fate: the lane's next owner looks for it, as after a crash."""
        for running in (*self._submits.values(), *self._queries):
            running.cancel()

    async def next_due(self, tx: Connection) -> int | None:
        if await account_tasks.adrift(tx, self.lane.key):
            return self._clock()  # a purchase that was let go: nobody else would look for it
        at_last = self._clock() + int(LOOK_IDLE_SECONDS * SECOND)  # deadlines pass whether it can be asked or not
        shut = {kind: min(self._health.shut_until(kind) or 0, at_last) for kind in Kind}
        not_before = {status: shut[KIND_OF.get(status, Kind.QUERY)] for status in due.DUE_STATUSES}
        return await due.next_due(tx, self.lane.key, not_before, shut[Kind.QUERY])

    async def run_once(self) -> int:
        """Start what is due and allowed; never waits for the provider."""
        self._wake.clear()
        if not self._recovered:
            await self._recover()
        closed = self._health.closed()
        if len(closed) == len(KIND_OF) and self._clock() < (look_at := self._looked_at + int(LOOK_SECONDS * SECOND)):
            opens_at = (self._health.shut_until(kind) for kind in Kind)  # whatever rings before, there is nothing to do
            self._next_at = min(look_at, *(at for at in opens_at if at is not None))
            return 0
        self._next_at, self._looked_at = None, self._clock()
        buying, limits = set(self._submits), self._limits(closed)
        found = await self._database.read(lambda tx: due.read(tx, self.lane.key, limits, now=self._clock()))
        self._health.heed(Care.load(found.care))
        # Purchases under way whose intent the database did not show yet take up room as well.
        found.open_at_provider += sum(task.id in buying for task in found.queued)
        if TaskStatus.QUEUED in closed and found.queued:
            self._served = found.queued[-1].project_id  # nothing can be bought: the next look goes on with others
        told = await self._tell(found)
        wanted = await self._wanted(found)
        take = probe if self._health.probing else self._turns.take
        started = take(wanted, self._start)
        self._plan(found)
        return told + started

    def _limits(self, closed: tuple[TaskStatus, ...]) -> Limits:
        """Beside what can be started: what is on its way is still due in the rows, and a few that are not to be asked."""
        spare = self._health.spare() + 1
        purchases = len(self._submits) + min(spare, SUBMITS_IN_FLIGHT)
        questions = min(spare, QUERIES_IN_FLIGHT)
        size = self._account.provider.traits.batch
        return Limits(
            purchases=READ if TaskStatus.QUEUED in closed else purchases + READ // 4,
            questions=len(self._questions) + questions + READ // 4,
            tasks_asked_after=len(self._questions) + questions * size + READ // 4,
            closed=closed,
            probe=self._health.probing and not closed,
            served=self._served,
        )

    async def _recover(self) -> None:
        """What a dead owner left `submitting` may or may not have been bought."""
        found = await self._database.read(lambda tx: account_tasks.adrift(tx, self.lane.key))
        ours = [one for one in found if one[0] not in self._submits]
        told = foregone.adrift(ours, self.lane, now=self._clock())
        self._heed(await self._polling.recorder.record_all(list(told)))
        self._recovered = True

    def _heed(self, recorded: list[Recorded]) -> list[Recorded]:
        """Learn from what became of our own words whether the lane is still ours."""
        self.lost = self.lost or any(one.void for one in recorded)
        return recorded

    async def _tell(self, found: Round) -> int:
        """Record what needs no request. Returns how many tasks that changed; these are done with for this turn."""
        told = [
            one
            for one in foregone.tell(found, self._health, self.lane, look_up=self._account.look_up, now=self._clock())
            if not self._questions.busy(one.task_id)
        ]
        if not told:
            return 0
        recorded = self._heed(await self._polling.recorder.record_all(told))
        done = {one.task_id for one in told}
        found.queued = [task for task in found.queued if task.id not in done]
        found.unconfirmed = [task for task in found.unconfirmed if task.id not in done]
        found.bound = [task for task in found.bound if task.id not in done]
        return sum(one.outcome is not Outcome.IGNORED for one in recorded)

    async def _wanted(self, found: Round) -> Wanted:
        """What there is to ask, by lot, oldest first."""
        bells = self._questions.bells(found)
        if bells.needless:
            await self._database.write(lambda tx: callbacks.rest(tx, bells.needless, now=self._clock()))
        verify = list(self._questions.of_bells(bells))
        rung = {task.id for question in verify for task in question.tasks}
        rules = self._rules()
        resent = {task.id: task for task in found.unconfirmed if lifecycle.may_resend(task, rules)}
        lost = [task for task in found.unconfirmed if task.id not in resent] if self._account.look_up else []
        room = max(self._account.max_open_tasks - found.open_at_provider, 0)
        queued = [task for task in found.queued if task.id not in self._submits]
        return {
            Lot.VERIFY: deque(verify),
            Lot.SUBMIT: deque(
                [*(task for task in resent.values() if not self._questions.busy(task.id)), *queued[:room]]
            ),
            Lot.LOOK_UP: deque(self._questions.of_unconfirmed(lost, without=rung)),
            Lot.POLL: deque(self._questions.of_bound(found.bound, without=rung)),
        }

    def _rules(self) -> Rules:
        rules = self._account.rules()
        return Rules(
            now=self._clock(),
            jitter=0.0,
            pushes=rules.pushes,
            look_up=rules.look_up,
            expected_seconds=rules.expected_seconds,
            settle_seconds=rules.settle_seconds,
            resend=rules.resend,
        )

    # Starting work within the limits

    def _start(self, item: Question | Task) -> bool:
        if isinstance(item, Question):
            if len(self._queries) >= QUERIES_IN_FLIGHT or not self._admitted(Kind.QUERY):
                return False
            self._questions.begin(item)
            asking = asyncio.create_task(self._look_up(item) if item.look_up else self._query(item))
            self._queries.add(asking)
            asking.add_done_callback(lambda ended: self._query_ended(ended, item))
            return True
        if len(self._submits) >= SUBMITS_IN_FLIGHT or self._lease_too_short() or not self._admitted(Kind.SUBMIT):
            return False
        if item.status is TaskStatus.QUEUED:
            self._served = item.project_id
        buying = asyncio.create_task(self._submit(item))
        self._submits[item.id] = buying
        buying.add_done_callback(lambda _: self._submit_ended(item.id))
        return True

    def _admitted(self, kind: Kind) -> bool:
        if self.lost:
            return False
        buying, asking = len(self._submits), len(self._queries)
        alike, others = (buying, asking) if kind is Kind.SUBMIT else (asking, buying)
        if self._health.admit(kind, alike=alike, others=others):
            return True
        if (at := self._health.ready_at(kind)) is not None:
            self._later(at)
        return False

    def _lease_too_short(self) -> bool:
        """Start no purchase that could outlive our lease."""
        return self.lane.until - self._clock() < int((self._account.submit_deadline_seconds + 5) * SECOND)

    def _submit_ended(self, task_id: str) -> None:
        self._submits.pop(task_id, None)
        self.ring(self._clock())

    def _query_ended(self, ended: asyncio.Task[None], question: Question) -> None:
        self._queries.discard(ended)
        self._questions.end(question)
        self.ring(self._clock())

    async def _submit(self, task: Task) -> None:
        sent_at = self._clock()
        try:
            refused_since = self._health.hold(Kind.SUBMIT).refused_since
            reading = await submit(task, self._account, self._submitting, lane=self.lane, refused_since=refused_since)
        except LaneLost:
            self.lost = True
            return
        except Exception:
            log.exception("submitting %s failed", task.id)
            self._recovered = False  # should its intent be committed, nobody else would look after it
            return
        if reading is not None:
            await self._learn(reading, bought=True, sent_at=sent_at)

    async def _query(self, question: Question) -> None:
        sent_at = self._clock()
        try:
            readings = await query(
                question.tasks, self._account, self._polling, prompted_by=question.prompts, heard=question.heard
            )
        except Exception:
            log.exception("asking %s failed", self.lane.key)
            return
        told = next((one for one in readings if one.claim is not Claim.UNREACHABLE), readings[0])
        await self._learn(told, bought=False, sent_at=sent_at)

    async def _look_up(self, question: Question) -> None:
        sent_at, [task] = self._clock(), question.tasks
        try:
            clues = await self._database.read(lambda tx: gather(tx, task, self._polling.read_token))
            reading = await look_up(task, self._account, self._polling, clues)
        except Exception:
            log.exception("looking up %s failed", task.id)
            return
        await self._learn(reading, bought=False, sent_at=sent_at)

    async def _learn(self, reading: Reading, *, bought: bool, sent_at: int) -> None:
        """Note what an answer says of the account, and keep what a next owner must know."""
        shut = self._health.probing
        changed = self._health.learn(reading, bought=bought, sent_at=sent_at)
        if self._health.probing is not shut:
            tell(log, "breaker closed" if shut else "breaker open", logging.WARNING, account=self.lane.key)
        if not changed:
            return

        async def unit(tx: Connection, ledger: Ledger) -> Lane | None:
            return await keep_health(tx, ledger, self._account, self.lane, self._health)

        try:
            kept = await self._polling.recorder.write(unit, locks=(LaneKind.ACCOUNT, self.lane.key))
        except StorageError as error:
            log.error("the health of %s was not stored: %s", self.lane.key, error)
            return
        if kept is not None:
            self.lane = replace(kept, until=self.lane.until)

    # When there is more to do

    def _plan(self, found: Round) -> None:
        if found.next_due_at is not None:
            self._later(found.next_due_at)
        if self._health.closed():
            self._later(self._clock() + int(LOOK_SECONDS * SECOND))

    def _later(self, at: int) -> None:
        if self._next_at is None or at < self._next_at:
            self._next_at = at
