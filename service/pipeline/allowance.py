"""Gives a project a budget or a bound of open tasks. First every task that counts is in its books; then the bound holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from service.core import budget, ids
from service.pipeline import books
from storage import books as rows
from storage import tasks
from storage.database import Connection, Database, Unit, behind
from storage.errors import Stale
from storage.records import Allowance, BudgetPeriod

BATCH = 1_000  # tasks that are booked in one transaction


async def prepare(database: Database, project_id: str, wanted: Allowance, now: int) -> None:
    """Book what the project has made so far, as far as it counts. Before `settle`; what a kill leaves undone the next one does."""
    if wanted.budget is None and wanted.max_open_tasks is None:
        return
    await database.write(lambda tx: rows.begin(tx, project_id))
    after: str | None = ""
    if wanted.budget is not None:
        if wanted.budget.period is BudgetPeriod.MONTH:
            after = ids.floor(ids.TASK, budget.month_starts(now))
        while after is not None:
            after = await _stretch(database, project_id, after, only_open=False)
        after = ""
    while after is not None:
        after = await _stretch(database, project_id, after, only_open=True)
    await database.write(behind(_adding(project_id), project_id))


async def settle(tx: Connection, project_id: str, wanted: Callable[[Allowance], Allowance]) -> None:
    """The bound holds from here on. `wanted`: what the project is to have, given what it has.

    Raises `Stale` where nothing was prepared, or somebody took the bounds away meanwhile: tasks may have slipped by.
    """
    has = await rows.turn(tx, project_id)
    wish = wanted(has)
    bounded = wish.budget is not None or wish.max_open_tasks is not None
    if bounded and not has.booking and await rows.has_tasks(tx, project_id):
        raise Stale(f"the tasks of {project_id} are not booked")
    await rows.set_allowance(tx, project_id, replace(wish, booking=bounded))


async def _stretch(database: Database, project_id: str, after: str, *, only_open: bool) -> str | None:
    """Book the next tasks that are not; returns the id behind which to go on, None at the end."""

    async def unit(tx: Connection) -> str | None:
        found = await rows.unbooked(tx, project_id, after=after, batch=BATCH, only_open=only_open)
        entered = [budget.booked(task) for task in found]
        await tasks.book(tx, entered)
        await rows.note(tx, [move for task in entered for move in books.moves(task, None)])
        return found[-1].id if len(found) == BATCH else None

    return await database.write(unit)


def _adding(project_id: str) -> Unit[None]:
    async def unit(tx: Connection) -> None:
        await books.hold(tx, project_id)

    return unit
