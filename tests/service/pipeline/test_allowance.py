"""Giving a project a bound: what it has made so far is booked first, each task once, however often that is begun."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.pipeline import allowance, books
from storage import books as rows
from storage.errors import Stale
from storage.records import Allowance, Budget, BudgetPeriod, Task
from tests.service.pipeline.rig import Rig

MONTH = Allowance(budget=Budget(amount="5", currency="USD", period=BudgetPeriod.MONTH))
TOTAL = Allowance(budget=Budget(amount="5", currency="USD", period=BudgetPeriod.TOTAL))
COST: dict[str, Any] = {"cost_unit": "unit", "cost_estimated": "4", "unit_price": "0.01 USD"}


async def booked(rig: Rig) -> int:
    [(count,)] = await rig.rows("SELECT count(*) FROM tasks WHERE booked IS NOT NULL")
    return int(str(count))


async def used(rig: Rig, project: str) -> str:
    balance = await rig.database.read(lambda tx: books.read(tx, project))
    return str(balance.standing(rig.clock()).taken)


async def settle(rig: Rig, project: str, wanted: Allowance) -> None:
    await rig.database.write(lambda tx: allowance.settle(tx, project, lambda has: wanted))


async def made(rig: Rig, project: str, count: int) -> list[Task]:
    rig.clock.advance(0.002)
    return [await rig.task(project, **COST) for _ in range(count)]


async def test_what_was_made_is_booked_stretch_by_stretch(still: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "BATCH", 2)
    project = await still.project()
    await made(still, project, 5)
    await allowance.prepare(still.database, project, TOTAL, still.clock())
    await settle(still, project, TOTAL)
    assert (await booked(still), await used(still, project)) == (5, "0.2")
    await allowance.prepare(still.database, project, TOTAL, still.clock())
    assert await used(still, project) == "0.2", "each of them once"
    assert await still.rows("SELECT count(*) FROM bookings") == [(0,)], "and nothing waits for the next task"


async def test_what_a_kill_left_half_done_is_done_by_the_next_who_asks(
    still: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "BATCH", 2)
    project = await still.project()
    await made(still, project, 5)
    await still.database.write(lambda tx: rows.begin(tx, project))
    await allowance._stretch(still.database, project, "", only_open=False)
    assert await booked(still) == 2
    await allowance.prepare(still.database, project, TOTAL, still.clock())
    await settle(still, project, TOTAL)
    assert (await booked(still), await used(still, project)) == (5, "0.2")


async def test_of_a_month_only_its_tasks_and_what_is_open_are_looked_at(still: Rig) -> None:
    project = await still.project()
    old, gone = await made(still, project, 2)
    await still.bound(gone)
    await still.run("UPDATE tasks SET finished_at = 1, status = 'succeeded' WHERE id = :id", id=gone.id)
    still.touched = True
    still.clock.advance(40 * 86_400)
    await made(still, project, 1)
    await allowance.prepare(still.database, project, MONTH, still.clock())
    await settle(still, project, MONTH)
    assert (await booked(still), await used(still, project)) == (2, "0.04")
    assert (await still.now(old)).booked is not None and (await still.now(gone)).booked is None
    await allowance.prepare(still.database, project, TOTAL, still.clock())
    await settle(still, project, TOTAL)
    assert (await booked(still), await used(still, project)) == (3, "0.12")


async def test_a_bound_does_not_hold_where_tasks_may_have_slipped_by(still: Rig) -> None:
    project = await still.project()
    await settle(still, project, TOTAL)
    assert (await still.database.read(lambda tx: rows.allowance(tx, project))).booking, "it had none yet"
    await settle(still, project, Allowance())
    await made(still, project, 1)
    with pytest.raises(Stale):
        await settle(still, project, TOTAL)
    await settle(still, project, Allowance())
    await allowance.prepare(still.database, project, Allowance(), still.clock())
    assert await booked(still) == 0, "without a bound nothing needs to be booked"
    await allowance.prepare(still.database, project, replace(TOTAL, max_open_tasks=1), still.clock())
    await settle(still, project, TOTAL)
