"""The books: what a project may have, and what its booked tasks come to, as exact decimals that are added elsewhere.

Whoever makes a task holds the project's row (`turn`) from the look at the books to the commit, so two cannot spend the same money. Whoever
records a task waits for nobody: what changed is a row of its own (`note`), which the next who holds the project's row adds (`take`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from storage.database import Connection
from storage.dialect import select
from storage.records import Allowance, Budget, BudgetPeriod, Task, light
from storage.tasks import COLUMNS, from_row

ALLOWANCE = "SELECT budget_amount, budget_currency, budget_period, max_open_tasks, booking FROM projects WHERE id = :id"

# Not FOR UPDATE: rows that refer to the project need not wait.
TURN = """
    SELECT budget_amount, budget_currency, budget_period, max_open_tasks, booking FROM projects
     WHERE id = :id /*postgres: FOR NO KEY UPDATE */
"""

# For this one they do: who makes a task holds the row from its look at the policy on, and so is over, or comes after.
STAND_STILL = "SELECT id FROM projects WHERE id = :id /*postgres: FOR UPDATE */"

BEGIN = "UPDATE projects SET booking = 1 WHERE id = :id"

SET = """
    UPDATE projects SET budget_amount = :amount, budget_currency = :currency, budget_period = :period,
           max_open_tasks = :max_open_tasks, booking = :booking
     WHERE id = :id
"""

HAS_TASKS = "SELECT 1 FROM tasks WHERE project_id = :id LIMIT 1"

SUMS = "SELECT slot, amount FROM books WHERE project_id = :id"

WAITING = "SELECT slot, amount FROM bookings WHERE project_id = :id"

TAKE = "DELETE FROM bookings WHERE project_id = :id RETURNING slot, amount"

KEEP = """
    INSERT INTO books (project_id, slot, amount) VALUES (:id, :slot, :amount)
    ON CONFLICT (project_id, slot) DO UPDATE SET amount = excluded.amount
"""

NOTE = """
    INSERT INTO bookings (project_id, task_id, version, slot, amount) VALUES (:project_id, :task_id, :version, :slot, :amount)
"""

# Those that were made before anything was booked, a stretch of ids at a time, locked.
UNBOOKED = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.project_id = :id AND t.id > :after AND t.booked IS NULL
     ORDER BY t.id LIMIT :batch /*postgres: FOR UPDATE */
""",
)
UNBOOKED_OPEN = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.finished_at IS NULL AND t.project_id = :id AND t.id > :after AND t.booked IS NULL
     ORDER BY t.id LIMIT :batch /*postgres: FOR UPDATE */
""",
)


@light(frozen=True, slots=True)
class Move:
    """What a task's change adds to a slot of its project's books."""

    project_id: str
    task_id: str
    version: int
    slot: str
    amount: str


async def allowance(tx: Connection, project_id: str) -> Allowance:
    rows = await tx.fetch(ALLOWANCE, {"id": project_id})
    return from_columns(rows[0]) if rows else Allowance()


async def turn(tx: Connection, project_id: str) -> Allowance:
    """What the project may have, held until the end of the transaction: nobody else makes a task that is booked."""
    rows = await tx.fetch(TURN, {"id": project_id})
    return from_columns(rows[0]) if rows else Allowance()


async def begin(tx: Connection, project_id: str) -> None:
    """From here on, every new task of the project is booked: those under way are waited for."""
    await tx.fetch(STAND_STILL, {"id": project_id})
    await tx.fetch(BEGIN, {"id": project_id})


async def set_allowance(tx: Connection, project_id: str, wanted: Allowance) -> None:
    budget = wanted.budget
    await tx.fetch(
        SET,
        {
            "id": project_id,
            "amount": budget.amount if budget is not None else None,
            "currency": budget.currency if budget is not None else None,
            "period": budget.period.value if budget is not None else None,
            "max_open_tasks": wanted.max_open_tasks,
            "booking": int(wanted.booking),
        },
    )


async def has_tasks(tx: Connection, project_id: str) -> bool:
    return bool(await tx.fetch(HAS_TASKS, {"id": project_id}))


async def unbooked(tx: Connection, project_id: str, *, after: str, batch: int, only_open: bool) -> list[Task]:
    """The next tasks behind an id that do not stand in the books, locked."""
    text = UNBOOKED_OPEN if only_open else UNBOOKED
    return [from_row(row) for row in await tx.fetch(text, {"id": project_id, "after": after, "batch": batch})]


async def sums(tx: Connection, project_id: str) -> list[tuple[str, str]]:
    """(slot, amount) of the books, without what waits to be added."""
    return _amounts(await tx.fetch(SUMS, {"id": project_id}))


async def waiting(tx: Connection, project_id: str) -> list[tuple[str, str]]:
    return _amounts(await tx.fetch(WAITING, {"id": project_id}))


async def take(tx: Connection, project_id: str) -> list[tuple[str, str]]:
    """What waits to be added, and now is yours to add. After `turn`."""
    return _amounts(await tx.fetch(TAKE, {"id": project_id}))


async def keep(tx: Connection, project_id: str, amounts: Mapping[str, str]) -> None:
    """What slots come to. After `turn`."""
    await tx.many(KEEP, [{"id": project_id, "slot": slot, "amount": amounts[slot]} for slot in sorted(amounts)])


async def note(tx: Connection, moves: Iterable[Move]) -> None:
    """What recorded tasks add."""
    rows = [
        {"project_id": m.project_id, "task_id": m.task_id, "version": m.version, "slot": m.slot, "amount": m.amount}
        for m in moves
    ]
    await tx.many(NOTE, rows)


def from_columns(row: Any) -> Allowance:
    """Budget's amount, currency and period, max_open_tasks, booking."""
    amount, currency, period, most, booking = row
    budget = None if amount is None else Budget(amount=amount, currency=currency, period=BudgetPeriod(period))
    return Allowance(budget=budget, max_open_tasks=most, booking=bool(booking))


def _amounts(rows: list[Any]) -> list[tuple[str, str]]:
    return [(slot, amount) for slot, amount in rows]
