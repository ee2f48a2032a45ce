"""`budget` and `max_open_tasks` of a project: how they are read from a body, stored and shown. The routes are those of projects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from service.core import money
from service.core.request import Fault, pointer, shown
from service.pipeline import allowance, books
from storage.database import Connection, Database
from storage.records import Allowance, Budget, BudgetPeriod, light

MEMBERS: Final = ("budget", "max_open_tasks")
PARTS: Final = ("amount", "currency", "period")
CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
MOST_OPEN: Final = 1_000_000
AMOUNT = 'This must be an amount as a text, such as "50.00", and more than nothing.'


@light(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a body says of the two. What it does not name stays as it is."""

    names: tuple[str, ...] = ()
    budget: Budget | None = None
    max_open_tasks: int | None = None

    def __bool__(self) -> bool:
        return bool(self.names)

    def of(self, now: Allowance) -> Allowance:
        """What the project is to have, given what it has."""
        return Allowance(
            budget=self.budget if "budget" in self.names else now.budget,
            max_open_tasks=self.max_open_tasks if "max_open_tasks" in self.names else now.max_open_tasks,
        )

    @property
    def detail(self) -> dict[str, object]:
        """For the trail."""
        budget = self.budget
        told = None if budget is None else {name: getattr(budget, name) for name in PARTS}
        both: dict[str, object] = {"budget": told, "max_open_tasks": self.max_open_tasks}
        return {name: both[name] for name in self.names}


def read_allowance(members: Mapping[str, object], faults: list[Fault]) -> Wish:
    """From the members of a body, each of which may be missing; null takes a bound away."""
    names = tuple(name for name in MEMBERS if name in members)
    budget = _budget(members["budget"], faults) if members.get("budget") is not None else None
    most = members.get("max_open_tasks")
    if most is not None and (type(most) is not int or not 1 <= most <= MOST_OPEN):
        faults.append(
            Fault(pointer="/max_open_tasks", detail=f"This must be a whole number from 1 to {MOST_OPEN}, or null.")
        )
        most = None
    return Wish(names=names, budget=budget, max_open_tasks=most)


async def prepare_allowance(database: Database, project_id: str, wish: Wish, now: int) -> None:
    """Before `store_allowance`, for a project that may have tasks: books those that count, each once. May take its time."""
    if wish:
        has = await database.read(lambda tx: books.read(tx, project_id))
        await allowance.prepare(database, project_id, wish.of(has.allowance), now)


async def store_allowance(tx: Connection, project_id: str, wish: Wish) -> None:
    """In the transaction that makes or changes the project."""
    if wish:
        await allowance.settle(tx, project_id, wish.of)


async def allowance_view(tx: Connection, project_id: str, now: int) -> dict[str, object]:
    """The two members of a project's view: `budget` with what is used, reserved and left of it, and `max_open_tasks`."""
    return (await books.read(tx, project_id)).view(now)


def _budget(given: object, faults: list[Fault]) -> Budget | None:
    if not isinstance(given, dict):
        faults.append(
            Fault(pointer="/budget", detail='This must be an object {"amount", "currency", "period"}, or null.')
        )
        return None
    found = len(faults)
    for name in given:
        if name not in PARTS:
            faults.append(Fault(pointer=pointer("budget", name), detail=f'There is no "{shown(name)}". Leave it out.'))
    amount, currency, period = (given.get(name) for name in PARTS)
    value = _amount(amount)
    if not value:
        faults.append(Fault(pointer="/budget/amount", detail=AMOUNT))
    if not isinstance(currency, str) or not CURRENCY.fullmatch(currency):
        faults.append(
            Fault(pointer="/budget/currency", detail='This must be a currency in three capitals, such as "USD".')
        )
    if period not in list(BudgetPeriod):
        faults.append(
            Fault(
                pointer="/budget/period", detail="This must be month (of tasks made in a calendar month, UTC) or total."
            )
        )
    if len(faults) > found or value is None:
        return None
    return Budget(amount=money.plain(value), currency=str(currency), period=BudgetPeriod(str(period)))


def _amount(given: object) -> Decimal | None:
    """A float is no exact amount."""
    try:
        return money.amount(str(given)) if isinstance(given, str) or type(given) is int else None
    except money.BadAmount:
        return None
