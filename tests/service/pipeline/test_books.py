"""Whatever happens to tasks: the books of their project are what its tasks stand there with, and each stands where it should."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.core import budget
from service.core.budget import Slots
from service.core.observation import Claim, Source
from service.core.request import Alternative, TaskRequest
from service.pipeline import allowance, books
from service.pipeline.create import CreateDesk, create
from service.pipeline.spending import Refused
from service.providers.registry import PROVIDERS
from storage.database import Connection
from storage.records import Allowance, Budget, BudgetPeriod, Output, Task
from storage.tasks import COLUMNS, from_row
from tests.service.pipeline.rig import POLICY, Rig

VIDEO = (Output(url="https://cdn.example.net/a.mp4"),)
OF_PROJECT = f"SELECT {COLUMNS} FROM tasks t WHERE t.project_id = :id"  # noqa: S608 (ours)
BOUNDS = (
    Allowance(),
    Allowance(max_open_tasks=3),
    Allowance(budget=Budget(amount="0.5", currency="USD", period=BudgetPeriod.MONTH)),
    Allowance(budget=Budget(amount="2.5", currency="USD", period=BudgetPeriod.TOTAL), max_open_tasks=5),
)


@dataclass
class Life:
    """One project, and what is done to its tasks."""

    rig: Rig
    project: str
    made: list[Task] = field(default_factory=list)
    bound: Allowance = BOUNDS[0]

    def desk(self) -> CreateDesk:
        return CreateDesk(
            database=self.rig.database,
            providers=PROVIDERS,
            accounts=self.rig.accounts,
            disabled={},
            policy=POLICY,
            clock=self.rig.clock,
            mint=self.rig.mint,
            ring=lambda key, at: None,
        )

    async def limit(self, which: int) -> None:
        self.bound = BOUNDS[which % len(BOUNDS)]
        await allowance.prepare(self.rig.database, self.project, self.bound, self.rig.clock())
        await self.rig.database.write(lambda tx: allowance.settle(tx, self.project, lambda has: self.bound))

    async def create(self, which: int) -> None:
        dear = Alternative(provider="ulazai", model="kling-3.0")
        wanted = TaskRequest(
            provider="cloudsway",
            model="kling-3.0-turbo",
            input={"prompt": "A paper boat."},
            fallbacks=(dear,) if which % 2 else (),
            deadline_seconds=7200,
        )
        before = await self.standing()
        try:
            self.made.append((await create(wanted, self.project, self.desk())).task)
        except Refused:
            return
        now, wish = await self.standing(), self.bound.budget
        if wish is not None:
            assert now.taken <= Decimal(wish.amount), "the last one went beyond it"
        assert self.bound.max_open_tasks is None or now.open <= self.bound.max_open_tasks
        assert now.taken >= before.taken

    async def standing(self) -> budget.Standing:
        balance = await self.rig.database.read(lambda tx: books.read(tx, self.project))
        return balance.standing(self.rig.clock())

    async def say(self, which: int, claim: Claim, source: Source = Source.POLL, **reading: Any) -> None:
        if not self.made:
            return
        task = await self.rig.now(self.made[which % len(self.made)])
        job = reading.pop("job", f"job-{task.id}")
        await self.rig.see(task, claim, job=job, source=source, **reading)

    async def submit(self, which: int, claim: Claim) -> None:
        if not self.made:
            return
        task = await self.rig.now(self.made[which % len(self.made)])
        submission = await self.rig.intend(task)
        job = f"job-{task.id}" if claim is Claim.ACCEPTED else None
        await self.rig.see(task, claim, job=job, submission=submission, source=Source.SUBMIT)

    async def wait(self, which: int) -> None:
        self.rig.clock.advance((60, 8000, 32 * 86_400)[which % 3])

    async def look(self, which: int) -> None:
        await self.rig.database.write(lambda tx: books.hold(tx, self.project))


OPERATOR: dict[str, Any] = {"source": Source.OPERATOR, "job": None}
DEEDS: dict[str, Callable[[Life, int], Awaitable[None]]] = {
    "limit": Life.limit,
    "create": Life.create,
    "create again": Life.create,
    "look": Life.look,
    "wait": Life.wait,
    "accepted": lambda life, n: life.submit(n, Claim.ACCEPTED),
    "refused": lambda life, n: life.submit(n, Claim.REFUSED),
    "ambiguous": lambda life, n: life.submit(n, Claim.AMBIGUOUS),
    "succeeded": lambda life, n: life.say(n, Claim.SUCCEEDED, outputs=VIDEO),
    "charged": lambda life, n: life.say(n, Claim.SUCCEEDED, outputs=VIDEO, charged="12.5"),
    "refunded": lambda life, n: life.say(n, Claim.FAILED, refunded=True),
    "failed": lambda life, n: life.say(n, Claim.FAILED, charged="3", cost_unit="credit"),
    "too many": lambda life, n: life.say(n, Claim.RUNNING, Source.LOOK_UP, job=f"other-{n}"),
    "overdue": lambda life, n: life.say(n, Claim.OVERDUE, Source.DEADLINE, job=None),
    "cancel": lambda life, n: life.say(n, Claim.CANCEL, **OPERATOR),
    "adopt": lambda life, n: life.say(n, Claim.ADOPT, Source.OPERATOR),
    "resubmit": lambda life, n: life.say(n, Claim.RESUBMIT, **OPERATOR),
    "abandon": lambda life, n: life.say(n, Claim.ABANDON, **OPERATOR),
}
LIVES = st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), st.integers(0, 11)), max_size=25)


async def agrees(life: Life) -> None:
    """The books hold the sum of what the tasks are booked with, and each is booked with what it comes to."""

    async def unit(tx: Connection) -> tuple[Slots, list[Task]]:
        found = (await books.read(tx, life.project)).sums
        return found, [from_row(row) for row in await tx.fetch(OF_PROJECT, {"id": life.project})]

    kept, tasks = await life.rig.database.read(unit)
    booked = [task for task in tasks if task.booked is not None]
    sums: Slots = {}
    for task in booked:
        assert budget.booked(task) == task
        sums = budget.total(sums, budget.slots_of(task.booked).items())
    if life.bound == BOUNDS[0]:
        return  # nobody looks at books that bound nothing
    assert {slot: amount for slot, amount in kept.items() if amount} == {s: a for s, a in sums.items() if a}
    if life.bound.budget is not None and life.bound.budget.period is BudgetPeriod.TOTAL:
        assert len(booked) == len(tasks)
    assert all(task.booked is not None for task in tasks if task.finished_at is None)


async def live(rig: Rig, deeds: list[tuple[str, int]]) -> None:
    for name, provider in (("cloudsway", None), ("ulazai", "ulazai")):
        rig.accounts[name] = replace(rig.account(name, provider=provider), unit_price="0.01 USD")
    life = Life(rig, await rig.project())
    for name, which in deeds:
        rig.clock.advance(1)
        await DEEDS[name](life, which)
        await agrees(life)


EXAMPLES: dict[str, Any] = {
    "deadline": None,
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@settings(max_examples=12, **EXAMPLES)
@given(deeds=LIVES)
async def test_the_books_are_what_the_tasks_stand_there_with(still: Rig, deeds: list[tuple[str, int]]) -> None:
    await live(still, deeds)


@pytest.mark.slow
@settings(max_examples=300, **EXAMPLES)
@given(deeds=LIVES)
async def test_the_books_are_what_the_tasks_stand_there_with_at_length(
    still: Rig, deeds: list[tuple[str, int]]
) -> None:
    await live(still, deeds)


async def test_a_second_purchase_and_a_job_too_many_are_booked(still: Rig) -> None:
    """The way through that chance finds seldom."""
    deeds = ["ambiguous", "wait", "resubmit", "ambiguous", "look", "adopt", "too many", "charged", "too many"]
    await live(still, [("limit", 3), ("create", 0), *((name, 0) for name in deeds)])


async def test_recording_without_a_budget_writes_nothing_more(still: Rig) -> None:
    task = await still.task(await still.project())
    await still.bound(task)
    assert books.rebooked([(task, task)]) == ([(task, task)], [])
    assert await still.rows("SELECT count(*) FROM bookings") == [(0,)]
