"""The worker of an account's lane: decides what to ask of one provider account, when, and how much at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.core import lifecycle
from service.core.lifecycle import Rules
from service.core.observation import Claim, Observation, Reading, Source
from service.core.schedule import Breaker, Bucket
from service.pipeline.accounts import AccountDesk
from service.pipeline.clues import gather
from service.pipeline.ledger import Fresh
from service.pipeline.poll import PollDesk, look_up, query
from service.pipeline.submit import SubmitDesk, submit
from storage import callbacks, lanes, tasks
from storage.database import Connection, Database
from storage.errors import StorageError
from storage.records import Lane, Task, TaskStatus

log = logging.getLogger("taskrelay.account")

SECOND = 1_000_000
READ = 200  # rows of a kind looked at in one round
SUBMITS_IN_FLIGHT = 16
QUERIES_IN_FLIGHT = 8
ASK_AGAIN_SECONDS = 2.0  # pushes of one task cause one query in this time at most
CREDENTIALS_HOLD_SECONDS = 300.0
ENDS = (Claim.SUCCEEDED, Claim.FAILED)
ENDED_SOFTLY = (TaskStatus.EXPIRED, TaskStatus.FAILED)


@dataclass(slots=True)
class Round:
    """What the database shows to be due."""

    bells: list[tuple[str, str, str, int]]
    rung: dict[str, Task]
    queued: list[Task]
    unconfirmed: list[Task]
    bound: list[Task]
    open_at_provider: int
    next_due_at: int | None


class AccountLane:
    """Submits, polls, looks up and verifies for one account, within its rate, its cap of open tasks and its breaker."""

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
        self._bucket = bucket or Bucket(account.rate, now=self._clock())
        self._breaker = Breaker.load(lane.breaker)
        self._held_until = lane.held_until or 0  # submits only: the key or balance is refused, or we were told to wait
        self._held_reason = lane.held_reason
        self._submits: dict[str, asyncio.Task[None]] = {}
        self._queries: set[asyncio.Task[None]] = set()
        self._asking: set[str] = set()
        self._asked_at: dict[str, int] = {}  # when a push last made us ask after a task
        self._queried_at: dict[str, int] = {}  # when anything did
        self._next_at: int | None = self._clock()
        self._recovered = False
        self._wake = asyncio.Event()

    @property
    def idle(self) -> bool:
        return not (self._submits or self._queries)

    def ring(self, at: int) -> None:
        if self._next_at is None or at < self._next_at:
            self._next_at = at
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

    async def next_due(self, tx: Connection) -> int | None:
        times = {status: await tasks.next_due(tx, self.lane.key, status) for status in DUE_STATUSES}
        if (queued := times[TaskStatus.QUEUED]) is not None:
            times[TaskStatus.QUEUED] = max(queued, self._held_until)
        bell = await callbacks.oldest_unverified(tx, self.lane.key)
        known = [at for at in (*times.values(), bell) if at is not None]
        return max(min(known), self._breaker.next_probe_at or 0) if known else None

    async def run_once(self) -> int:
        """Start what is due and allowed; never waits for the provider."""
        self._wake.clear()
        if not self._recovered:
            await self._recover()
        now = self._clock()
        self._next_at = None
        if not self._breaker.admit(now):
            self._next_at = self._breaker.next_probe_at
            return 0
        buying = set(self._submits)
        found = await self._database.read(self._read_due)
        # Purchases under way whose intent the database did not show yet take up room as well.
        found.open_at_provider += sum(task.id in buying for task in found.queued)
        started = await self._verify(found)
        started += self._query_due(found)
        started += await self._resolve(found)
        started += await self._submit_due(found)
        if found.next_due_at is not None:
            self._later(found.next_due_at)
        return started

    async def _recover(self) -> None:
        """What a dead owner left `submitting` may or may not have been bought."""
        adrift = await self._database.read(lambda tx: tasks.adrift(tx, self.lane.key))
        reading = Reading(claim=Claim.AMBIGUOUS, detail="the process ended while it was submitting")
        for task_id, submission_id in adrift:
            if task_id not in self._submits:
                await self._polling.recorder.record(
                    Observation(
                        task_id=task_id,
                        source=Source.SUBMIT,
                        reading=reading,
                        at=self._clock(),
                        submission_id=submission_id,
                        account=self.lane.key,
                    )
                )
        self._recovered = True

    async def _read_due(self, tx: Connection) -> Round:
        now, account = self._clock(), self.lane.key
        bells = await callbacks.unverified(tx, account, batch=READ)
        rung = await tasks.read(tx, {bell[0] for bell in bells}) if bells else {}
        bound = await tasks.due(tx, account, TaskStatus.PROCESSING, now=now, batch=READ)
        for status in ENDED_SOFTLY:
            bound += await tasks.due(tx, account, status, now=now, batch=READ)
        following = [await tasks.next_due_after(tx, account, status, now=now) for status in DUE_STATUSES]
        return Round(
            bells=bells,
            rung=rung,
            queued=await tasks.due(tx, account, TaskStatus.QUEUED, now=now, batch=READ),
            unconfirmed=await tasks.due(tx, account, TaskStatus.UNCONFIRMED, now=now, batch=READ),
            bound=bound,
            open_at_provider=await tasks.open_at_provider(tx, account),
            next_due_at=min((at for at in following if at is not None), default=None),
        )

    async def _verify(self, found: Round) -> int:
        """Answer doorbells: one query for all pushes of a task, at most every two seconds."""
        claims: dict[str, Claim] = {}
        heard: dict[str, int] = {}
        needed: set[str] = set()
        for task_id, word, _, seen_at in found.bells:
            claim = Claim(word)
            if task_id not in claims or claim in ENDS:
                claims[task_id] = claim
            heard[task_id] = seen_at
            if task_id in found.rung and self._worth_asking(found.rung[task_id], claim):
                needed.add(task_id)
        needless = [task_id for task_id in claims if task_id not in needed]
        if needless:
            answered = [(self.lane.key, task_id, heard[task_id]) for task_id in needless]
            await self._database.write(lambda tx: callbacks.answer(tx, answered, now=self._clock()))
        ringing = [found.rung[task_id] for task_id in claims if task_id not in needless]
        bound: list[Task] = []
        started = 0
        for task in ringing:
            if task.id in self._asking or task.id in self._submits:
                continue  # its answer is on the way; the bell stays until a later query answers it
            again_at = self._asked_at.get(task.id, 0) + int(ASK_AGAIN_SECONDS * SECOND)
            if again_at > self._clock():
                self._later(again_at)
            elif task.provider_task_id is not None and task.account == self.lane.key:
                bound.append(task)
            # The contract's own ability: a late push leads to a job even where nothing else of this account could.
            elif self._account.provider.traits.look_up and self._may_query():
                self._note_asked(task.id)
                self._start_query([task], self._look_up(task))
                started += 1
        return started + self._ask_in_batches(bound, claims)

    def _worth_asking(self, task: Task, claim: Claim) -> bool:
        """Of a task that has gone on to another account only a job too many matters, and that can only be looked for."""
        if task.account != self.lane.key:
            return self._account.provider.traits.look_up
        return lifecycle.rings(task, Reading(claim=claim))

    def _query_due(self, found: Round) -> int:
        due = [task for task in found.bound if task.provider_task_id is not None and not self._just_asked(task)]
        return self._ask_in_batches(due, {})

    def _just_asked(self, task: Task) -> bool:
        """A task that is still due although it was just asked after (its answer could not be stored) waits a moment."""
        again_at = self._queried_at.get(task.id, 0) + int(ASK_AGAIN_SECONDS * SECOND)
        if task.id in self._asking or again_at <= self._clock():
            return False
        self._later(again_at)
        return True

    def _ask_in_batches(self, wanted: Sequence[Task], claims: dict[str, Claim]) -> int:
        waiting = [task for task in wanted if task.id not in self._asking]
        started = 0
        size = self._account.provider.traits.batch
        for start in range(0, len(waiting), size):
            if not self._may_query():
                break
            batch = waiting[start : start + size]
            prompts = {task.id: claims[task.id] for task in batch if task.id in claims}
            for task_id in prompts:
                self._note_asked(task_id)
            self._start_query(batch, self._query(batch, prompts))
            started += 1
        return started

    async def _resolve(self, found: Round) -> int:
        """Unconfirmed purchases: look for them, send once more where that is safe, or let their deadline end them."""
        started = 0
        for task in found.unconfirmed:
            if task.id in self._asking or task.id in self._submits:
                continue
            if lifecycle.may_resend(task, self._rules()):
                started += self._start_submit(task)
            elif not self._account.look_up:
                await self._overdue(task)
            elif not self._just_asked(task) and self._may_query():
                self._start_query([task], self._look_up(task))
                started += 1
        return started

    async def _submit_due(self, found: Round) -> int:
        started = 0
        room = self._account.max_open_tasks - found.open_at_provider
        for task in found.queued:
            if task.id in self._submits:
                continue
            if self._clock() >= task.deadline_at:
                await self._overdue(task)
            elif self._held_until > self._clock():
                self._later(min(self._held_until, task.deadline_at))
            elif room > 0 and self._start_submit(task):
                room -= 1
                started += 1
        return started

    async def _overdue(self, task: Task) -> None:
        reading = Reading(claim=Claim.OVERDUE)
        await self._polling.recorder.record(
            Observation(task_id=task.id, source=Source.DEADLINE, reading=reading, at=self._clock())
        )

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

    def _may_query(self) -> bool:
        return len(self._queries) < QUERIES_IN_FLIGHT and self._may_ask()

    def _may_ask(self) -> bool:
        """Take a token of the account's rate; while the breaker is open, one probe at a time."""
        now = self._clock()
        if self.lost or (self._breaker.open and not self.idle):
            return False
        if not self._bucket.take(now):
            self._later(self._bucket.ready_at(now))
            return False
        self._breaker = self._breaker.sent(now)
        return True

    def _start_submit(self, task: Task) -> bool:
        if len(self._submits) >= SUBMITS_IN_FLIGHT or self._lease_too_short() or not self._may_ask():
            return False
        running = asyncio.create_task(self._submit(task))
        self._submits[task.id] = running
        running.add_done_callback(lambda _: self._submit_ended(task.id))
        return True

    def _start_query(self, batch: Sequence[Task], work: Coroutine[Any, Any, None]) -> None:
        ids = {task.id for task in batch}
        self._asking |= ids
        for task_id in ids:
            _note(self._queried_at, task_id, self._clock())
        running = asyncio.create_task(work)
        self._queries.add(running)
        running.add_done_callback(lambda ended: self._query_ended(ended, ids))

    def _lease_too_short(self) -> bool:
        """Start no purchase that could outlive our lease."""
        return self.lane.until - self._clock() < int((self._account.submit_deadline_seconds + 5) * SECOND)

    def _submit_ended(self, task_id: str) -> None:
        self._submits.pop(task_id, None)
        self.ring(self._clock())

    def _query_ended(self, ended: asyncio.Task[None], ids: set[str]) -> None:
        self._queries.discard(ended)
        self._asking -= ids
        self.ring(self._clock())

    async def _submit(self, task: Task) -> None:
        try:
            reading = await submit(task, self._account, self._submitting)
        except Exception:
            log.exception("submitting %s failed", task.id)
            self._recovered = False  # should its intent be committed, nobody else would look after it
            return
        if reading is not None:
            await self._note_health(reading, bought=True)

    async def _query(self, batch: Sequence[Task], prompts: dict[str, Claim]) -> None:
        try:
            readings = await query(batch, self._account, self._polling, prompted_by=prompts)
        except Exception:
            log.exception("asking %s failed", self.lane.key)
            return
        await self._note_health(readings[0], bought=False)

    async def _look_up(self, task: Task) -> None:
        try:
            clues = await self._database.read(lambda tx: gather(tx, task, self._polling.read_token))
            reading = await look_up(task, self._account, self._polling, clues)
        except Exception:
            log.exception("looking up %s failed", task.id)
            return
        await self._note_health(reading, bought=False)

    async def _note_health(self, reading: Reading, *, bought: bool) -> None:
        """Learn from an answer whether the account may be asked at all, and keep what a next owner must know."""
        now = self._clock()
        failed = reading.claim is Claim.UNREACHABLE or (bought and reading.claim is Claim.AMBIGUOUS)
        never_sent = reading.claim is Claim.DEFERRED and reading.failure is None and not reading.account_refused
        self._breaker = self._breaker.record(now, not (failed or never_sent))
        wait = CREDENTIALS_HOLD_SECONDS if reading.account_refused else reading.retry_after_seconds
        if bought and wait:
            self._held_until = max(self._held_until, now + int(wait * SECOND))
            self._held_reason = (
                reading.failure.message if reading.failure is not None else "the provider asked us to wait"
            )
        elif bought and reading.claim is Claim.ACCEPTED:
            self._held_until, self._held_reason = 0, None
        lane = replace(
            self.lane,
            breaker=self._breaker.dump() if self._breaker.since is not None else None,
            held_until=self._held_until if self._held_until > now else None,
            held_reason=self._held_reason,
        )
        if (lane.breaker, lane.held_until) != (self.lane.breaker, self.lane.held_until):
            try:
                await self._database.write(lambda tx: lanes.save_health(tx, lane))
            except StorageError as error:
                log.error("the health of %s was not stored: %s", self.lane.key, error)
                return
            self.lane = replace(lane, until=self.lane.until)

    def _note_asked(self, task_id: str) -> None:
        _note(self._asked_at, task_id, self._clock())

    def _later(self, at: int) -> None:
        if self._next_at is None or at < self._next_at:
            self._next_at = at


def _note(times: dict[str, int], task_id: str, now: int) -> None:
    """Remember when a task was asked after; what is too old to matter is forgotten."""
    if len(times) > 1000:
        oldest = now - int(ASK_AGAIN_SECONDS * SECOND)
        for known in [known for known, at in times.items() if at <= oldest]:
            del times[known]
    times[task_id] = now


DUE_STATUSES = (TaskStatus.QUEUED, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING, *ENDED_SOFTLY)
