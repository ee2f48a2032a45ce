"""The books of a project, on every engine."""

from __future__ import annotations

import asyncio

from storage import books, tasks
from storage.books import Move
from storage.database import Connection, Database
from storage.records import Allowance, Budget, BudgetPeriod
from tests.storage.builders import PROJECT, finished, plant, project, task

BUDGET = Budget(amount="50", currency="USD", period=BudgetPeriod.MONTH)


def move(slot: str, amount: str, version: int = 1, task_id: str = "task_1") -> Move:
    return Move(PROJECT, task_id, version, slot, amount)


async def test_what_a_project_may_have_comes_back_as_it_was_set(database: Database) -> None:
    await plant(database)
    assert await database.read(lambda tx: books.allowance(tx, PROJECT)) == Allowance()
    assert await database.read(lambda tx: books.allowance(tx, "prj_none")) == Allowance()
    wanted = Allowance(budget=BUDGET, max_open_tasks=7, booking=True)
    await database.write(lambda tx: books.set_allowance(tx, PROJECT, wanted))
    assert await database.write(lambda tx: books.turn(tx, PROJECT)) == wanted
    await database.write(lambda tx: books.set_allowance(tx, PROJECT, Allowance()))
    assert await database.read(lambda tx: books.allowance(tx, PROJECT)) == Allowance()
    await database.write(lambda tx: books.begin(tx, PROJECT))
    assert (await database.read(lambda tx: books.allowance(tx, PROJECT))).booking


async def test_what_waits_is_taken_once_and_of_this_project_alone(database: Database) -> None:
    await plant(database, project("prj_2"))
    noted = [move("open", "-1"), move("2026-11 USD used", "0.5"), move("open", "1", version=2)]
    other = Move("prj_2", "task_9", 1, "open", "1")
    await database.write(lambda tx: books.note(tx, [*noted, other]))
    both = sorted((one.slot, one.amount) for one in noted)
    assert sorted(await database.read(lambda tx: books.waiting(tx, PROJECT))) == both
    assert sorted(await database.write(lambda tx: books.take(tx, PROJECT))) == both
    assert await database.write(lambda tx: books.take(tx, PROJECT)) == []
    assert await database.read(lambda tx: books.waiting(tx, "prj_2")) == [("open", "1")]


async def test_a_slot_is_kept_as_it_was_last_set(database: Database) -> None:
    await plant(database)
    await database.write(lambda tx: books.keep(tx, PROJECT, {"open": "3", "2026-11 USD used": "0.000000000001"}))
    await database.write(lambda tx: books.keep(tx, PROJECT, {"open": "4"}))
    assert sorted(await database.read(lambda tx: books.sums(tx, PROJECT))) == [
        ("2026-11 USD used", "0.000000000001"),
        ("open", "4"),
    ]


async def test_what_does_not_stand_in_the_books_is_found_stretch_by_stretch(database: Database) -> None:
    rows = [task("task_1"), finished("task_2"), task("task_3", booked="{}"), task("task_4")]
    await plant(database, *rows, project("prj_2"), task("task_5", project_id="prj_2"))

    async def found(after: str = "", batch: int = 9, *, only_open: bool = False) -> list[str]:
        async def unit(tx: Connection) -> list[str]:
            stretch = await books.unbooked(tx, PROJECT, after=after, batch=batch, only_open=only_open)
            return [one.id for one in stretch]

        return await database.write(unit)

    assert await found() == ["task_1", "task_2", "task_4"]
    assert await found("task_1", 1) == ["task_2"]
    assert await found(only_open=True) == ["task_1", "task_4"]
    await database.write(lambda tx: tasks.book(tx, [task("task_1", booked='{"slots":{}}')]))
    assert await found() == ["task_2", "task_4"]
    assert await database.read(lambda tx: books.has_tasks(tx, "prj_2"))
    assert not await database.read(lambda tx: books.has_tasks(tx, "prj_3"))


async def test_who_looks_second_sees_what_the_first_has_kept(database: Database, other_handle: Database) -> None:
    """Both read, add one and write: without the turn, one of two would be lost."""
    await plant(database)

    async def add(tx: Connection) -> None:
        await books.turn(tx, PROJECT)
        amounts = dict(await books.sums(tx, PROJECT))
        await books.keep(tx, PROJECT, {"open": str(int(amounts.get("open", "0")) + 1)})

    await asyncio.gather(*(one.write(add) for one in (database, other_handle) * 10))
    assert await database.read(lambda tx: books.sums(tx, PROJECT)) == [("open", "20")]
