"""Budgets: what each task of a project comes to in its books, and what may still be bought.

A task stands in the books slot by slot: `open` while it is, and by the month of its making and by currency what is `reserved` while it goes
on and `used` once that is spent, or may be. What a task came to is told by `core.usage`; here it only gets its slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import orjson

from service.core import fallback, money
from service.core.times import DAY, from_calendar, iso, spell_day
from service.core.usage import Part, part_of, worth_of
from storage.records import OPEN_STATUSES, Allowance, Budget, BudgetPeriod, Task, TaskStatus, evolve, light

OPEN: Final = "open"
RESERVED: Final = "reserved"
USED: Final = "used"
GONE: Final = "gone"  # of what is used: the part of tasks that retention took away
NOTHING: Final = Decimal(0)
MAY_GO_ON: Final = (TaskStatus.QUEUED, TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED)

Worth = tuple[str, Decimal]  # a currency, and how much of it
Slots = dict[str, Decimal]


# What a task is booked with


def booked(task: Task) -> Task:
    """A task as it is to stand in the books, be it for the first time or anew."""
    kept = orjson.loads(task.booked)["held"] if task.booked is not None else None
    held = _read(kept) if task.booked is not None else _dearest(task)
    slots = {slot: money.plain(amount) for slot, amount in sorted(_slots(task, held).items()) if amount}
    text = orjson.dumps({"held": None if held is None else f"{money.plain(held[1])} {held[0]}", "slots": slots})
    return evolve(task, booked=text.decode())


def slots_of(text: str | None) -> Slots:
    """How a task stands in the books."""
    found: dict[str, str] = orjson.loads(text)["slots"] if text is not None else {}
    return {slot: Decimal(amount) for slot, amount in found.items()}


def moved(before: str | None, after: str | None) -> Slots:
    """What has to be added to the books, so that a task stands there as after."""
    was, now = slots_of(before), slots_of(after)
    found = {slot: money.minus(now.get(slot, NOTHING), was.get(slot, NOTHING)) for slot in was | now}
    return {slot: amount for slot, amount in found.items() if amount}


def total(sums: Mapping[str, Decimal], more: Iterable[tuple[str, Decimal]]) -> Slots:
    """The books with what was not added to them yet."""
    found = dict(sums)
    for slot, amount in more:
        found[slot] = money.plus(found.get(slot, NOTHING), amount)
    return found


def gone(texts: Iterable[str]) -> Slots:
    """What is noted of tasks that stood in the books like this and are taken away: what they used stays used."""
    used = (item for text in texts for item in slots_of(text).items() if item[0].endswith(USED))
    return total({}, ((slot.removesuffix(USED) + GONE, amount) for slot, amount in used))


def month_of(at: int) -> str:
    """`2026-11`, UTC."""
    return spell_day(at // DAY)[:7]


def month_starts(at: int) -> int:
    """When the month of this instant began."""
    year, month = map(int, month_of(at).split("-"))
    return from_calendar(year, month, 1, 0, 0, 0) or 0


def _slots(task: Task, held: Worth | None) -> Slots:
    found: Slots = {OPEN: Decimal(1)} if task.status in OPEN_STATUSES else {}
    month = month_of(task.created_at)
    for side, worth in _sides(task, held):
        if worth is not None:
            slot = f"{month} {worth[0]} {side}"
            found[slot] = money.plus(found.get(slot, NOTHING), worth[1])
    return found


def _sides(task: Task, held: Worth | None) -> Iterator[tuple[str, Worth | None]]:
    """What a task came to, piece by piece. A piece that nobody can tell the worth of counts as what was set aside for the task."""
    part, amount = part_of(task.status, task.charge, task.cost_estimated, task.cost_charged)
    if part is not None:
        own = _known(worth_of(task.cost_unit, amount, task.unit_price), held)
        if part in (Part.OPEN, Part.POSSIBLE) and _may_go_on(task):
            own = _dearest(task) or own
        yield (RESERVED if part is Part.OPEN else USED), own
    # Each submission after one in doubt may have bought it once more, until the task has ended for good.
    for _ in range(min(task.resends, max(task.submissions - 1, 0)) if task.final_at is None else 0):
        yield USED, _known(worth_of(task.cost_unit, task.cost_estimated, task.unit_price), held)
    for job in task.surplus:
        stated = job.charged if job.charged is not None else job.estimated
        yield USED, _known(worth_of(job.unit, stated, job.unit_price), held)


def _known(worth: Worth | None, held: Worth | None) -> Worth | None:
    """In another currency than the budget's it would count as nothing."""
    return held if worth is None or (held is not None and worth[0] != held[0]) else worth


def _may_go_on(task: Task) -> bool:
    """Whether somebody else may yet be asked, who may be dearer. Of a job that a person named nothing is settled."""
    return task.fallbacks != "[]" and (task.status in MAY_GO_ON or task.adopted_at is not None)


def _dearest(task: Task) -> Worth | None:
    """The most that the task may come to at those who may be asked for it, in the currency of the first."""
    first = worth_of(task.cost_unit, task.cost_estimated, task.unit_price)
    others = [worth_of(one.cost_unit, one.cost_estimated, one.unit_price) for one in fallback.load(task.fallbacks)]
    known = [worth for worth in (first, *others) if worth is not None]
    return max((worth for worth in known if worth[0] == known[0][0]), key=lambda worth: worth[1], default=None)


def _read(text: str | None) -> Worth | None:
    """What `booked` wrote. A product has more digits than the bounds of what is read from outside allow."""
    if text is None:
        return None
    amount, _, currency = text.partition(" ")
    return currency, Decimal(amount)


# What may still be bought


@light(frozen=True, slots=True, kw_only=True)
class Standing:
    """What counts against an allowance now: in the budget's currency, of its period."""

    used: Decimal = NOTHING
    reserved: Decimal = NOTHING
    open: int = 0

    @property
    def taken(self) -> Decimal:
        return money.plus(self.used, self.reserved)


@light(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why no task may be made now. `text`: for people. `code`: of the problem."""

    code: str
    text: str


def standing(sums: Mapping[str, Decimal], allowance: Allowance, now: int) -> Standing:
    """What of the books counts now."""
    budget, sides = allowance.budget, {USED: NOTHING, RESERVED: NOTHING}
    for slot, amount in sums.items():
        if budget is None or slot == OPEN:
            continue
        month, currency, side = slot.split(" ")
        if side == GONE or currency != budget.currency:
            continue
        if budget.period is BudgetPeriod.TOTAL or month == month_of(now):
            sides[side] = money.plus(sides[side], amount)
    return Standing(used=sides[USED], reserved=sides[RESERVED], open=int(sums.get(OPEN, NOTHING)))


def needs(task: Task, currency: str) -> Decimal:
    """What has to be set aside for a new task."""
    worth = _dearest(task)
    return worth[1] if worth is not None and worth[0] == currency else NOTHING


def refusal(allowance: Allowance, now: Standing, needed: Decimal, project_id: str) -> Refusal | None:
    """Why a new task would be too many, or too dear; None when it may be made."""
    most, budget = allowance.max_open_tasks, allowance.budget
    if budget is not None and needed and money.plus(now.taken, needed) > Decimal(budget.amount):
        text = (
            f"{spelled(now.taken)} of {spelled(Decimal(budget.amount))} {budget.currency} used; "
            f"this task needs {spelled(needed)}. Raise it: PATCH /v1/projects/{project_id}"
        )
        if now.reserved:
            text += f". Of what is used, {spelled(now.reserved)} is reserved for tasks that go on"
        return Refusal(code="budget_exhausted", text=f"{text}.")
    if most is not None and now.open >= most:
        text = f"{now.open} tasks are open, and this project may have {most} (max_open_tasks). Ask again when one of them has ended."
        return Refusal(code="too_many_open_tasks", text=text)
    return None


def spelled(amount: Decimal) -> str:
    """As money is written: two places at least."""
    text = money.plain(amount)
    places = len(text.partition(".")[2])
    return text if places >= 2 else f"{text}{'.' if not places else ''}{'0' * (2 - places)}"


def view(allowance: Allowance, now: Standing, at: int) -> dict[str, object]:
    """Both bounds as the API shows them. `remaining` is never below nothing, though a provider may charge more than was set aside."""
    return {
        "budget": None if allowance.budget is None else _budget_view(allowance.budget, now, at),
        "max_open_tasks": allowance.max_open_tasks,
    }


def _budget_view(budget: Budget, now: Standing, at: int) -> dict[str, Any]:
    left = money.minus(Decimal(budget.amount), now.taken)
    return {
        "amount": budget.amount,
        "currency": budget.currency,
        "period": budget.period,
        "used": money.plain(now.used),
        "reserved": money.plain(now.reserved),
        "remaining": money.plain(max(left, NOTHING)),
        "resets_at": iso(month_starts(month_starts(at) + 32 * DAY)) if budget.period is BudgetPeriod.MONTH else None,
    }
