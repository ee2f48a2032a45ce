"""Keeps a project's books: adds what waits, sets aside what a new task needs, notes what a recorded task comes to now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from service.core import budget, money
from service.core.budget import Refusal, Slots, Standing
from storage import books
from storage.books import Move
from storage.database import Connection
from storage.records import Allowance, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What a project may have, and what counts against it."""

    allowance: Allowance
    sums: Slots

    def standing(self, now: int) -> Standing:
        return budget.standing(self.sums, self.allowance, now)

    def view(self, now: int) -> dict[str, object]:
        return budget.view(self.allowance, self.standing(now), now)

    def refusal(self, task: Task, now: int) -> Refusal | None:
        """Why the task may not be made."""
        wanted = self.allowance.budget
        needed = budget.needs(task, wanted.currency) if wanted is not None else budget.NOTHING
        return budget.refusal(self.allowance, self.standing(now), needed, task.project_id)


async def read(tx: Connection, project_id: str) -> Balance:
    """As it stands in this snapshot."""
    allowance = await books.allowance(tx, project_id)
    if not allowance.booking:
        return Balance(allowance=allowance, sums={})
    kept = _decimals(await books.sums(tx, project_id))
    return Balance(allowance=allowance, sums=budget.total(dict(kept), _decimals(await books.waiting(tx, project_id))))


async def hold(tx: Connection, project_id: str) -> Balance:
    """The same, and nobody else makes a booked task of this project before the transaction ends. What waited is added."""
    allowance = await books.turn(tx, project_id)
    waited = list(_decimals(await books.take(tx, project_id)))
    kept = dict(_decimals(await books.sums(tx, project_id)))
    sums = budget.total(kept, waited)
    await _keep(tx, project_id, {slot: sums[slot] for slot, _ in waited})
    return Balance(allowance=allowance, sums=sums)


async def enter(tx: Connection, balance: Balance, task: Task) -> None:
    """Add a new task to the books that are held."""
    added = budget.slots_of(task.booked)
    await _keep(
        tx,
        task.project_id,
        {slot: money.plus(balance.sums.get(slot, budget.NOTHING), amount) for slot, amount in added.items()},
    )


async def forget(tx: Connection, gone: Iterable[tuple[str, str]]) -> None:
    """Tasks are taken away, of which project and booked how: what is left in the books without a task can still be told to the cent."""
    texts: dict[str, list[str]] = {}
    for project_id, text in gone:
        texts.setdefault(project_id, []).append(text)
    for project_id in sorted(texts):
        await books.turn(tx, project_id)
        kept, added = dict(_decimals(await books.sums(tx, project_id))), budget.gone(texts[project_id])
        sums = budget.total(kept, added.items())
        await _keep(tx, project_id, {slot: sums[slot] for slot in added})


def rebooked(changed: Sequence[tuple[Task, Task]]) -> tuple[list[tuple[Task, Task]], list[Move]]:
    """Changed tasks, each beside what was read, as they stand in the books now; and what that moves."""
    pairs = [(budget.booked(task), read) if task.booked is not None else (task, read) for task, read in changed]
    return pairs, [move for task, read in pairs if task.booked != read.booked for move in moves(task, read.booked)]


def moves(task: Task, before: str | None) -> Iterator[Move]:
    for slot, amount in budget.moved(before, task.booked).items():
        yield Move(task.project_id, task.id, task.version, slot, str(amount) if amount < 0 else money.plain(amount))


async def _keep(tx: Connection, project_id: str, amounts: Slots) -> None:
    await books.keep(tx, project_id, {slot: money.plain(amount) for slot, amount in amounts.items()})


def _decimals(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Decimal]]:
    for slot, amount in rows:
        yield slot, Decimal(amount)
