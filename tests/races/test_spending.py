"""Two replicas spend from one budget: what neither may exceed alone, both may not exceed together."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from service.core import budget
from service.core.observation import Claim, Source
from service.pipeline import allowance, books
from service.pipeline.create import Created
from service.pipeline.spending import NotAllowed
from storage.records import Allowance, Budget, BudgetPeriod
from tests.races.replicas import hand
from tests.races.test_creating import ask
from tests.service.pipeline.rig import Rig

pytestmark = pytest.mark.slow

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
PRICE = Decimal("0.04")  # of the task that `ask` asks for: 4 units


def usd(amount: str) -> Allowance:
    return Allowance(budget=Budget(amount=amount, currency="USD", period=BudgetPeriod.TOTAL))


async def bounded(rig: Rig, project: str, wanted: Allowance) -> None:
    await allowance.prepare(rig.database, project, wanted, rig.clock())
    await rig.database.write(lambda tx: allowance.settle(tx, project, lambda has: wanted))


async def standing(rig: Rig, project: str) -> budget.Standing:
    balance = await rig.database.read(lambda tx: books.read(tx, project))
    return balance.standing(rig.clock())


def priced(*replicas: Rig) -> None:
    for rig in replicas:
        rig.accounts["cloudsway"] = replace(rig.accounts["cloudsway"], unit_price="0.01 USD")


async def tried(rig: Rig, project: str) -> str:
    try:
        await ask(rig, project)
    except NotAllowed as refused:
        return refused.code
    return "made"


@pytest.mark.parametrize("wanted", [usd("0.14"), Allowance(max_open_tasks=3)])
async def test_of_fifty_at_the_edge_three_are_made(replicas: tuple[Rig, Rig], wanted: Allowance) -> None:
    priced(*replicas)
    one, _ = replicas
    for _ in range(4):
        project = await one.project()
        await bounded(one, project, wanted)
        told = Counter(await asyncio.gather(*(tried(rig, project) for rig in replicas for _ in range(25))))
        assert (told["made"], sum(told.values())) == (3, 50)
        assert (await standing(one, project)).open == 3


async def test_of_two_hundred_from_two_processes_as_many_are_made_as_there_is_money_for(
    replicas: tuple[Rig, Rig], address: str, tmp_path: Path
) -> None:
    one, _ = replicas
    project = await one.project()
    await bounded(one, project, usd("0.30"))
    command = (sys.executable, "-m", "tests.races.spender", address, str(tmp_path), project, "100")
    pipe = asyncio.subprocess.PIPE
    spenders = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(2)]
    async with asyncio.timeout(60):
        for spender in spenders:
            assert spender.stdout is not None and await spender.stdout.readline() == b"ready\n"
        ended = await asyncio.gather(*(spender.communicate(b"go\n") for spender in spenders))
    made, refused = (sum(column) for column in zip(*(map(int, line.split()) for line, _ in ended), strict=True))
    assert (made, refused) == (7, 193)
    assert (await standing(one, project)).taken == 7 * PRICE


async def test_two_hundred_and_their_ends_at_once_never_spend_more_than_there_is(replicas: tuple[Rig, Rig]) -> None:
    """Ends free money while creates take it, in several projects, in groups of both kinds: nobody waits in a circle."""
    priced(*replicas)
    one, _ = replicas
    projects, before = [await one.project() for _ in range(3)], await one.rows(DEADLOCKS)
    for project in projects:
        await bounded(one, project, usd("0.4"))

    async def life(rig: Rig, number: int) -> str:
        project = projects[number % 3]
        try:
            made = (await ask(rig, project)).task
        except NotAllowed as refused:
            return refused.code
        assert (await standing(rig, project)).taken <= Decimal("0.4")
        if number % 2:
            await rig.see(made, Claim.CANCEL, source=Source.OPERATOR)
        return "made"

    async with asyncio.timeout(30):
        told = Counter(await asyncio.gather(*(life(replicas[n % 2], n) for n in range(200))))
    assert told["made"] >= 30 and sum(told.values()) == 200
    for project in projects:
        now = await standing(one, project)
        found = await one.rows("SELECT id FROM tasks WHERE project_id = :id AND finished_at IS NULL", id=project)
        assert now == budget.Standing(reserved=PRICE * len(found), open=len(found))
    assert await one.rows(DEADLOCKS) == before


async def test_no_task_slips_by_who_sets_a_budget(replicas: tuple[Rig, Rig], address: str) -> None:
    """One create has looked and not yet written when another replica begins to book: it is waited for, and counted."""
    priced(*replicas)
    one, two = replicas
    project = await one.project()
    async with hand(address) as other:
        await other.run("LOCK TABLE endpoints IN ACCESS EXCLUSIVE MODE")
        making = asyncio.create_task(ask(one, project, webhook_url="http://127.0.0.1:9/hook"))
        await other.stopped(1)
        setting = asyncio.create_task(bounded(two, project, usd("0.07")))
        await other.stopped(2)
        assert not setting.done()
    made = await making
    await setting
    assert isinstance(made, Created) and (await standing(two, project)).taken == PRICE
    assert await tried(two, project) == "budget_exhausted"


async def test_what_was_made_before_is_booked_once_by_two_who_set_a_budget(replicas: tuple[Rig, Rig]) -> None:
    priced(*replicas)
    one, two = replicas
    project = await one.project()
    for _ in range(10):
        await ask(one, project)
    await asyncio.gather(*(bounded(rig, project, usd("5")) for rig in (one, two, one)))
    assert (await standing(one, project)).taken == 10 * PRICE


async def test_a_record_waits_for_no_create(replicas: tuple[Rig, Rig], address: str) -> None:
    """Somebody holds the project's row: creates of it wait, what is recorded of its tasks does not."""
    priced(*replicas)
    one, two = replicas
    project = await one.project()
    await bounded(one, project, usd("0.04"))
    made = (await ask(one, project)).task
    async with hand(address) as other:
        await other.run("SELECT 1 FROM projects WHERE id = $1 FOR NO KEY UPDATE", project)
        waiting = asyncio.create_task(tried(one, project))
        await other.stopped(1)
        async with asyncio.timeout(30):
            await two.see(made, Claim.CANCEL, source=Source.OPERATOR)
        assert not waiting.done()
    assert await waiting == "made", "the money was free again before its turn came"
