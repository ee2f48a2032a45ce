"""May the project make this task? Held against its books, which nobody else adds a task to before the answer is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from service.core import budget
from service.core.budget import Refusal
from service.core.request import Fault
from service.core.usage import worth_of
from service.pipeline import books
from service.pipeline.accounts import AccountDesk
from service.pipeline.books import Balance
from service.pipeline.choosing import Choice, candidate_of, choose_accounts
from storage.database import Connection
from storage.records import Budget, Task


class Refused(Exception):
    """The project may not make this task now."""


class NotAllowed(Refused):
    """Its budget is used up, or as many tasks are open as it may have. `balance`: as it stood at `at`."""

    def __init__(self, refusal: Refusal, balance: Balance, at: int) -> None:
        super().__init__(refusal.text)
        self.code = refusal.code
        self.balance = balance
        self.at = at


class PriceUnknown(Refused):
    """Under a budget only that may be bought whose price is known in its currency. Each fault is at who cannot tell it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(faults[0].detail)
        self.faults = tuple(faults)


Draft = Callable[[Sequence[AccountDesk]], Task]


async def admit(
    tx: Connection, choices: Sequence[Choice], accounts: Sequence[AccountDesk], draft: Draft, now: int
) -> Task:
    """The task as it is to be stored, entered in the books that are held to the end of the transaction. Raises `Refused`."""
    task = draft(accounts)
    balance = await books.hold(tx, task.project_id)
    chosen = await priced(tx, balance.allowance.budget, choices, accounts)
    task = budget.booked(task if chosen is accounts else draft(chosen))
    refuse(balance, task, now)
    await books.enter(tx, balance, task)
    return task


def refuse(balance: Balance, task: Task, now: int) -> None:
    """Raises `NotAllowed` when the task is too dear, or one too many."""
    refusal = balance.refusal(task, now)
    if refusal is not None:
        raise NotAllowed(refusal, balance, now)


async def priced(
    tx: Connection, wanted: Budget | None, choices: Sequence[Choice], accounts: Sequence[AccountDesk]
) -> Sequence[AccountDesk]:
    """An account for each choice whose price is known: those given where they will do. Raises `PriceUnknown`."""
    if wanted is None or all(_tells(*one, wanted.currency) for one in zip(choices, accounts, strict=True)):
        return accounts
    left = [
        replace(choice, accounts=[one for one in choice.accounts if _tells(choice, one, wanted.currency)])
        for choice in choices
    ]
    faults = [_fault(choice, account, wanted.currency) for choice, account in zip(left, accounts, strict=True)]
    if any(faults):
        raise PriceUnknown([fault for fault in faults if fault is not None])
    return await choose_accounts(tx, left)


def _tells(choice: Choice, account: AccountDesk, currency: str) -> bool:
    one = candidate_of(choice, account)
    worth = worth_of(one.cost_unit, one.cost_estimated, one.unit_price)
    return worth is not None and worth[0] == currency


def _fault(choice: Choice, account: AccountDesk, currency: str) -> Fault | None:
    if choice.accounts:
        return None
    name = account.account.name
    settings = f"TASKRELAY_ACCOUNTS__{name.upper()}__"
    estimate = candidate_of(choice, account)
    if estimate.cost_estimated is None:
        why, how = "what it costs is not known", f"{settings}UNITS_PER_SECOND"
    else:
        why = (
            "it has no price" if account.unit_price is None else f"its price is in {account.unit_price.split(' ')[-1]}"
        )
        how = f'{settings}UNIT_PRICE="<price> {currency}"'
    detail = f"The project has a budget in {currency}, and of account {name} {why}. Whoever runs taskrelay sets {how} and starts it again."
    return Fault(pointer=choice.place, detail=detail)
