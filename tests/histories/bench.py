"""The bench on which histories are recorded: the real flow and the sandbox, with every clock and every id the same each time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch
from uuid import UUID

from service.core import fallback, ids, lifecycle
from service.core.fallback import Candidate
from service.core.observation import Claim, Observation, Reading, Source
from service.core.request import TaskRequest
from service.core.step import Rules, Step
from service.pipeline.account import AccountLane
from service.pipeline.accounts import AccountDesk
from service.pipeline.ledger import Desk, Recorded
from service.pipeline.sweep import Sweep
from service.sandbox import script
from service.sandbox.jobs import Job
from storage.database import open_database
from storage.records import LaneKind, OnAmbiguous, Output, Task, TaskStatus
from tests.service.pipeline.parties import SECOND, Clock, Network, open_network
from tests.service.pipeline.rig import Rig

START = 1_767_225_600 * SECOND  # 2026-01-01
KEY = b"histories"  # of event ids
PROMPT = "A paper boat."
VIDEO = (Output(url="https://video.sandbox.example/v.mp4"),)
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0


class Draws:
    """Random bytes that are the same in every run."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, count: int) -> bytes:
        self.drawn += 1
        return sha256(str(self.drawn).encode()).digest()[:count]

    def uuid4(self) -> UUID:
        return UUID(bytes=self(16), version=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """One call of the reducer, whatever it made of it."""

    task: Task
    seen: Observation
    rules: Rules
    taken: bool
    step: Step


@dataclass
class Bench(Rig):
    """The rig, with words for what happens in scenarios."""

    draws: Draws = field(default_factory=Draws)
    advanced: list[Advanced] = field(default_factory=list)

    def desk(self) -> Desk:
        return replace(super().desk(), entropy=self.draws, event_key=KEY)

    def mint(self, prefix: str) -> str:
        return ids.mint(prefix, self.clock(), self.draws(10))

    async def order(
        self,
        account: str = "cloudsway",
        orders: str = "",
        *,
        model: str | None = None,
        deadline_seconds: float = 2 * HOUR,
        fallbacks: tuple[str, ...] = (),
        on_ambiguous: OnAmbiguous = OnAmbiguous.HOLD,
        project: str | None = None,
    ) -> Task:
        """A new task. `orders`: to the sandbox. `fallbacks`: accounts."""
        first, *others = [self._candidate(one, orders, model) for one in (account, *fallbacks)]
        return await self.task(
            project or await self.project(),
            account=account,
            deadline_seconds=deadline_seconds,
            model=first.model,
            input=first.input,
            cost_unit=first.cost_unit,
            cost_estimated=first.cost_estimated,
            fallbacks=fallback.dump(others),
            on_ambiguous=on_ambiguous,
        )

    def _candidate(self, name: str, orders: str, model: str | None) -> Candidate:
        account = self.accounts.get(name) or self.account(name)
        contract = account.provider
        prompt = f"{PROMPT} [sandbox: {orders}]" if orders else PROMPT
        chosen = model if model in contract.models else next(iter(contract.models))
        ready = contract.prepare(TaskRequest(provider=contract.name, model=str(chosen), input={"prompt": prompt}))
        amount = ready.estimate.amount
        return Candidate(
            account=name,
            provider=contract.name,
            model=str(chosen),
            input=json.dumps(ready.input),
            cost_unit=ready.estimate.unit,
            cost_estimated=str(amount) if amount is not None else None,
        )

    # What the provider does

    def script(self, creates: str = "", queries: str = "", times: int = 1) -> None:
        """Orders for the next requests, whatever they ask for."""
        for order, steps in ((creates, self.world.script.creates), (queries, self.world.script.queries)):
            if order:
                steps.append(script.Step(directive=order, times=times))

    def only(self) -> Job:
        """The one job there is."""
        [job] = self.world.jobs.values()
        return job

    def begin(self) -> None:
        self.world.begin(self.only().id)

    def finish(self, *, failed: bool | None = None) -> None:
        self.world.finish(self.only().id, failed=failed)

    async def heard(self) -> None:
        """Carry the pushes in, and do what they ask for."""
        await self.pushes()
        await self.settle()

    async def says(self, word: str) -> None:
        """The provider pushes this word, true or not."""
        await self.world.push(self.only().id, word)
        await self.heard()

    # What else happens

    async def down(self, seconds: float) -> None:
        """The service is off for a while."""
        self.clock.advance(seconds)
        await self.settle()

    async def hear(self, task: Task, claim: Claim, source: Source = Source.POLL, **more: object) -> Recorded:
        """An answer as an adapter would give it, where the sandbox cannot be made to say so."""
        return await self.see(task, claim, source=source, **more)

    async def tell(self, task: Task, claim: Claim, **reading: object) -> Recorded:
        """A person's word."""
        return await self.recorder.record(
            Observation(
                task_id=task.id,
                source=Source.OPERATOR,
                reading=Reading(claim=claim, **reading),  # type: ignore[arg-type]
                at=self.clock(),
            )
        )

    async def push(self, task: Task, claim: Claim, **reading: object) -> Recorded:
        """A push for the task's latest submission that claims this."""
        submission = (await self.submissions(task))[-1]
        body = repr([claim, sorted(reading.items())]).encode()
        return await self.recorder.record(self.callback(submission.id, claim, body=body, **reading))  # type: ignore[arg-type]

    async def linked(self, orders: str = "link-seconds=3600") -> Task:
        """A job that has ended, with a link that is good for an hour."""
        task = await self.order(orders=orders)
        await self.settle()
        self.begin()
        await self.heard()
        await self.stretch(30)
        self.finish()
        await self.heard()
        return task

    async def followed(self, task: Task) -> None:
        """Somebody follows our link to the output."""
        wanted = Reading(claim=Claim.WANTED)
        wish = Observation(task_id=task.id, source=Source.READER, reading=wanted, at=self.clock(), verified=False)
        await self.recorder.record(wish)
        await self.settle()

    async def successor(self) -> None:
        """The process dies; another takes its lanes."""
        self.workers.clear()
        await self.run("UPDATE lanes SET owner = NULL, until = 0, next_due_at = 0")
        await self.settle()

    async def swept(self) -> None:
        await Sweep(self.database, self.recorder, clock=self.clock).run_once()

    def forget(self, account: str) -> AccountDesk:
        """The account is no longer configured."""
        self.workers.pop((LaneKind.ACCOUNT, account), None)
        return self.accounts.pop(account)

    async def lane_of(self, account: str) -> AccountLane:
        worker = await self.worker(LaneKind.ACCOUNT, account)
        assert isinstance(worker, AccountLane)
        return worker

    async def is_now(self, task: Task, status: TaskStatus) -> Task:
        """The task, which must have come this far."""
        now = await self.now(task)
        assert now.status is status, f"{now.status}: {now.failure}"
        return now


@asynccontextmanager
async def open_bench(folder: Path) -> AsyncIterator[Bench]:
    clock, draws = Clock(), Draws()
    clock.now = START
    advanced: list[Advanced] = []

    def advance(task: Task, seen: Observation, rules: Rules, *, taken: bool = False) -> Step:
        step = lifecycle.advance(task, seen, rules, taken=taken)
        advanced.append(Advanced(task=task, seen=seen, rules=rules, taken=taken, step=step))
        return step

    listened = SimpleNamespace(advance=advance, rings=lifecycle.rings)
    with patch("uuid.uuid4", draws.uuid4), patch("service.pipeline.fold.lifecycle", listened):
        network: Network = await open_network(clock)
        database = await open_database(f"sqlite:///{folder}/t.db", clock=clock)
        bench = Bench(path=folder, clock=clock, database=database, network=network, draws=draws, advanced=advanced)
        bench.account()
        try:
            yield bench
        finally:
            for server in network.servers:
                await server.stop()
            await bench.close()
