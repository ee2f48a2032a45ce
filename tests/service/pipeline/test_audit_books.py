"""The books against the tasks: agreement is silent, every other thing is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from service.core.observation import Claim
from service.pipeline import allowance, audit, audit_books, books
from service.pipeline.audit import Scope
from service.pipeline.audit_part import Part
from service.pipeline.retention import Retention
from service.providers.registry import PROVIDERS
from storage.records import Allowance, Budget, BudgetPeriod
from tests.races.test_creating import ask
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.test_retention import KEEP, settle


async def audited(rig: Rig, project: str) -> Part:
    whole = Part()
    async for part in audit.all_of(rig.database, Scope(project_id=project, providers=PROVIDERS)):
        whole.add(part)
    return whole


async def test_books_that_were_touched_are_told_of(still: Rig) -> None:
    still.accounts["cloudsway"] = replace(still.accounts["cloudsway"], unit_price="0.01 USD")
    project = await still.project()
    wanted = Allowance(max_open_tasks=9)
    await still.database.write(lambda tx: allowance.settle(tx, project, lambda has: wanted))
    for _ in range(3):
        task = (await ask(still, project)).task
    await still.bound(task)
    await still.see(task, Claim.FAILED, job=f"job-{task.id}", refunded=True)
    assert (await audited(still, project)).unexplained == []
    await still.run("DELETE FROM bookings")
    told = (await audited(still, project)).unexplained
    assert {one.kind for one in told} == {"books_differ"}
    assert "the books have 3 as open, and the tasks stand there with 2" in [one.text for one in told]
    await still.database.write(lambda tx: allowance.settle(tx, project, lambda has: Allowance()))
    assert (await audited(still, project)).unexplained == [], "nobody looks at them any more"


async def test_books_can_be_held_against_the_tasks_also_after_retention_took_some(still: Rig) -> None:
    still.accounts["cloudsway"] = replace(still.accounts["cloudsway"], unit_price="0.01 USD")
    project = await still.project()
    wanted = Allowance(budget=Budget(amount="9", currency="USD", period=BudgetPeriod.TOTAL))
    await still.database.write(lambda tx: allowance.settle(tx, project, lambda has: wanted))
    for number in range(7):  # more than go in one unit
        task = (await ask(still, project)).task
        await still.bound(task, f"job-{number}")
        await still.see(task, Claim.FAILED, job=f"job-{number}")
    before = (await still.database.read(lambda tx: books.read(tx, project))).standing(still.clock())
    await settle(still)
    still.clock.advance(120 * 86_400)
    await ask(still, project)
    await Retention(still.database, KEEP, clock=still.clock, rest=lambda seconds: asyncio.sleep(0)).run_once()
    assert await still.rows("SELECT count(*) FROM tasks") == [(1,)]
    after = (await still.database.read(lambda tx: books.read(tx, project))).standing(still.clock())
    assert after.used == before.used > 0, "what was spent stays spent"
    assert (await audited(still, project)).unexplained == []
    await still.run("UPDATE books SET amount = '1000' WHERE slot LIKE '% used'")
    [told] = (await audited(still, project)).unexplained
    assert told.kind == "books_differ" and "of it those that retention took away" in told.text


@pytest.mark.parametrize(
    ("kept", "stand", "slots"),
    [
        ({"open": "1"}, {"open": "1"}, []),
        ({"open": "2"}, {"open": "1"}, ["open"]),
        ({}, {"2026-11 USD used": "1"}, ["2026-11 USD used"]),
        ({"2026-11 USD used": "1"}, {}, ["2026-11 USD used"]),
        ({"2026-11 USD used": "3", "2026-11 USD gone": "1"}, {"2026-11 USD used": "2"}, []),
        ({"2026-11 USD used": "3", "2026-11 USD gone": "2"}, {"2026-11 USD used": "2"}, ["2026-11 USD used"]),
        ({"2026-11 USD gone": "1"}, {}, ["2026-11 USD used"]),
        ({"2026-11 USD used": "1", "2026-10 USD gone": "1"}, {}, ["2026-10 USD used", "2026-11 USD used"]),
        ({"2026-11 USD reserved": "1"}, {}, ["2026-11 USD reserved"]),
        ({"2026-11 USD reserved": "0"}, {}, []),
    ],
)
def test_books_are_right_when_they_are_what_tasks_use_and_what_those_that_went_had_used(
    kept: Mapping[str, str], stand: Mapping[str, str], slots: list[str]
) -> None:
    part = audit_books.judge(*({slot: Decimal(amount) for slot, amount in one.items()} for one in (kept, stand)))
    assert [one.names["slot"] for one in part.unexplained] == slots
