"""The state of the sandbox: what was asked, bought, pushed and queried. One per server, all of it in memory, all of it bounded.

It is also the oracle of the kill tests: `accepted` counts what a provider would have charged for.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

import orjson

from service.sandbox import outputs
from service.sandbox.accounts import Account
from service.sandbox.directives import Directives, in_prompt, parse
from service.sandbox.jobs import Asked, Change, Contract, Found, Job, Knobs, Phase, Push, Query
from service.sandbox.postman import Clock, Postman, Sleep
from service.sandbox.rules import Book, Rules, Scope
from service.sandbox.script import Kind, Script

MOST_JOBS = 100_000  # past it creates are refused: forgetting a purchase would blind the oracle
MOST_ACCOUNTS = 10_000
WAITING_SHARE = 0.25  # of a job's time, spent before it is worked on


class World:
    """Everything one sandbox knows. Jobs move by the clock, or by hand with `begin`, `finish` and `push`."""

    def __init__(
        self,
        knobs: Knobs | None = None,
        *,
        rules: Mapping[Scope, Mapping[str, object]] | None = None,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
        postman: Postman | None = None,
    ) -> None:
        self.knobs = knobs or Knobs()
        self.clock = clock
        self.sleep = sleep
        self._at_start = replace(self.knobs), dict(rules or {})
        self._postman = postman or Postman(clock, sleep)
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._last: dict[str, asyncio.Task[None]] = {}  # per job, so that its pushes leave in order
        # A provider never uses an id twice, not even after a restart; neighbours differ by less than a double can tell.
        self._next_id = 900_000_000_000_000_000 + int(clock() * 1_000_000) % 90_000_000_000_000_000
        self._stirred = asyncio.Event()
        self._closed = False
        self._forget()

    def _forget(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.by_external_id: dict[tuple[str, str], list[Job]] = {}
        self.accepted: dict[str, Counter[str]] = {}
        self.open: Counter[str] = Counter()
        self.requests: deque[Asked] = deque(maxlen=5_000)
        self.accounts: dict[tuple[str, str], Account] = {}
        self.book = Book(self._at_start[1])
        self.script = Script()

    def account(self, company: str, key: str) -> Account | None:
        """This credential's standing at this company; None when the sandbox cannot remember one more."""
        account = self.accounts.get((company, key))
        if account is None and len(self.accounts) < MOST_ACCOUNTS:
            account = self.accounts[company, key] = Account(company=company, key=key)
        return account

    def rules(self, contract: str, key: str) -> Rules:
        return self.book.resolve(self.knobs, contract, key)

    def balance(self, contract: Contract, account: Account) -> Decimal:
        return self.rules(contract.name, account.key).credits - account.spent

    def orders(self, kind: Kind, contract: str, standing: str, prompt: str = "") -> Directives:
        """What the standing faults, the script and the prompt order for this request. Raises `UnknownDirective`."""
        written = in_prompt(prompt)
        self.stir()
        parse(written)  # a misspelt prompt must not use up a step of the script
        return parse(standing, self.script.take(kind, contract), written)

    def new_id(self) -> str:
        """An 18-digit decimal id above 2^53, as Kling's."""
        self._next_id += 7
        return str(self._next_id)

    def accept(self, job: Job) -> Job:
        """Take a create: from here on it counts as bought."""
        contract = job.contract
        key = job.external_id if contract.counts_by == "external_id" else job.prompt
        self.accepted.setdefault(contract.name, Counter())[key or ""] += 1
        self.jobs[job.id] = job
        self.open[contract.name] += 1
        job.account.open[contract.name] += 1
        job.account.spent += job.credits
        if job.external_id is not None:
            self.by_external_id.setdefault((contract.name, job.external_id), []).append(job)
        self._move(job, contract.first)
        self._start(job)
        return job

    @property
    def full(self) -> bool:
        return len(self.jobs) >= MOST_JOBS

    def find(self, contract: str, job_id: str) -> Job | None:
        job = self.jobs.get(job_id)
        return job if job is not None and job.contract.name == contract else None

    def note_query(self, jobs: Iterable[Job], by: Found) -> None:
        for job in jobs:
            job.queries.append(Query(at=self.clock(), by=by))
            job.queried += 1
            outputs.grow_old(job, self.clock())

    def begin(self, job_id: str) -> None:
        """By hand: the job is being worked on."""
        self._stop(job_id)
        self._move(self.jobs[job_id], Phase.RUNNING)

    def finish(self, job_id: str, *, failed: bool | None = None) -> None:
        """By hand: the job ends, as its directives say unless told. An ended job takes a contradicting verdict too."""
        self._stop(job_id)
        self._end(self.jobs[job_id], failed)

    def purge(self, job_id: str, *, keep_record: bool = False) -> None:
        """By hand: delete the output of a job, and its record unless that is kept."""
        outputs.purge(self.jobs[job_id], keep_record=keep_record)
        self.stir()

    async def push(self, job_id: str, word: str) -> Push:
        """By hand: push this status word now, true or not, and wait for the answer."""
        job = self.jobs[job_id]
        if job.contract.pushed is None or job.callback_url is None:
            raise ValueError(
                f"{job_id} has nowhere to push to: {job.contract.name} pushes none, or it sent no callback URL"
            )
        phase = next((phase for phase, name in job.contract.words.items() if name == word), Phase.RUNNING)
        push = self._written(replace(job, phase=phase, word=word, updated_at=self.clock()))
        job.pushes.append(push)
        await self._postman.deliver(push, job.callback_url, self.knobs, self._secret(job))
        return push

    async def quiet(self) -> None:
        """Until every push so far has been delivered or given up."""
        while self._deliveries:
            await asyncio.wait(set(self._deliveries))

    async def pushed(self, job: Job) -> None:
        """Until every push of this job so far has been delivered or given up."""
        if (last := self._last.get(job.id)) is not None:
            await asyncio.wait({last})

    @property
    def closed(self) -> bool:
        return self._closed

    async def until(self, holds: Callable[[], bool]) -> None:
        """Until something is true of this world; looked at after each request, change and push."""
        while not holds():
            await self._stirred.wait()

    def stir(self) -> None:
        """Wake whoever waits in `until`."""
        self._stirred.set()
        self._stirred = asyncio.Event()

    async def reset(self) -> None:
        """Forget everything and stop what is under way. Knobs and rules return to what the world was made with."""
        await self._drop_tasks()
        self.knobs = replace(self._at_start[0])
        self._forget()
        self.stir()

    def open_up(self) -> None:
        """Let jobs live again after a `close`."""
        self._closed = False

    async def close(self) -> None:
        """Stop what is under way; what is still accepted in this moment neither lives nor pushes."""
        self._closed = True
        self.stir()
        await self._drop_tasks()
        await self._postman.close()

    def _start(self, job: Job) -> None:
        seconds = job.directives.seconds if job.directives.seconds is not None else self.knobs.job_seconds
        if seconds is None or self._closed:
            return
        if seconds == 0:
            self._move(job, Phase.RUNNING)
            if not job.directives.stuck:
                self._end(job)
            return
        life = asyncio.get_running_loop().create_task(self._live(job, seconds))
        self._lives[job.id] = life
        life.add_done_callback(lambda _: self._lives.pop(job.id, None))

    async def _live(self, job: Job, seconds: float) -> None:
        waiting = seconds * WAITING_SHARE if job.contract.first is Phase.WAITING else 0
        await self.sleep(waiting)
        self._move(job, Phase.RUNNING)
        await self.sleep(seconds - waiting)
        if not job.directives.stuck:
            self._end(job)

    def _stop(self, job_id: str) -> None:
        if (life := self._lives.get(job_id)) is not None:
            life.cancel()

    def _end(self, job: Job, failed: bool | None = None) -> None:
        failed = job.directives.fail if failed is None else failed
        self._move(job, Phase.FAILED if failed else Phase.SUCCEEDED)

    def _move(self, job: Job, phase: Phase) -> None:
        word = job.contract.words[phase]
        if phase is Phase.RUNNING and job.directives.unknown_word:
            word = "reviewing"
        if word == job.word:
            return
        was_open = not job.phase.ended
        job.phase, job.word, job.updated_at = phase, word, self.clock()
        job.reason = "The generation failed" if phase is Phase.FAILED else ""
        job.changes.append(Change(at=job.updated_at, word=word))
        if phase.ended:
            job.finished_at = job.link_at = job.updated_at
            self.open[job.contract.name] -= was_open
            job.account.open[job.contract.name] -= was_open
            if phase is Phase.FAILED:
                job.account.spent, job.credits = job.account.spent - job.credits, Decimal(0)
        self._tell(job)
        self.stir()

    def _tell(self, job: Job) -> None:
        if job.contract.pushed is None or job.callback_url is None or self._closed:
            return
        if job.contract.pushes_once and not job.phase.ended:
            return
        push = self._written(job)
        push.dropped = job.directives.no_push
        job.pushes.append(push)
        if push.dropped or (job.directives.out_of_order and not job.phase.ended):
            return
        waiting = [push, *(other for other in reversed(job.pushes[:-1]) if not other.attempts)]
        for sent in waiting if job.directives.out_of_order else [push]:
            for _ in range(1 + job.directives.push_twice):
                self._deliver(job, job.callback_url, sent)

    def _written(self, job: Job) -> Push:
        body = orjson.dumps(job.contract.pushed(job)) if job.contract.pushed else b""
        return Push(webhook_id=str(uuid.uuid4()), word=job.word, at=self.clock(), body=body)

    def _deliver(self, job: Job, url: str, push: Push) -> None:
        delivery = asyncio.get_running_loop().create_task(self._post(job, url, push, after=self._last.get(job.id)))
        self._last[job.id] = delivery
        self._deliveries.add(delivery)
        delivery.add_done_callback(lambda _: self._delivered(job, delivery))

    def _delivered(self, job: Job, delivery: asyncio.Task[None]) -> None:
        self._deliveries.discard(delivery)
        self.stir()
        if self._last.get(job.id) is delivery:
            del self._last[job.id]

    async def _post(self, job: Job, url: str, push: Push, *, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait({after})
        late = push.at + (job.directives.late_push or 0) - self.clock()
        if late > 0:
            await self.sleep(late)
        await self._postman.deliver(push, url, self.knobs, self._secret(job))

    def _secret(self, job: Job) -> str | None:
        return self.rules(job.contract.name, job.account.key).webhook_secret if job.contract.signs else None

    async def _drop_tasks(self) -> None:
        tasks = [*self._lives.values(), *self._deliveries]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
