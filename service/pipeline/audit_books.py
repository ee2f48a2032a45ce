"""The audit's last word: a project's books against what its tasks stand there with."""

from __future__ import annotations

from decimal import Decimal

from service.core import budget, money
from service.core.budget import Slots
from service.pipeline import books
from service.pipeline.audit_part import Part
from storage import stocktake
from storage.database import Connection


async def page(tx: Connection, project_id: str) -> Part:
    """In one snapshot. A project that is not bounded keeps none that anybody looks at."""
    balance = await books.read(tx, project_id)
    if not balance.allowance.booking:
        return Part()
    stand: Slots = {}
    for text, count in await stocktake.booked(tx, project_id):
        each = budget.slots_of(text).items()
        stand = budget.total(stand, ((slot, money.times(amount, Decimal(count))) for slot, amount in each))
    return judge(balance.sums, stand)


def judge(kept: Slots, stand: Slots) -> Part:
    """What is used stays in the books when retention takes its tasks away, and how much of it was theirs is noted there."""
    part = Part()
    gone = {slot.removesuffix(budget.GONE) + budget.USED: kept[slot] for slot in kept if slot.endswith(budget.GONE)}
    should_be = budget.total(stand, gone.items())
    for slot in sorted(slot for slot in kept | should_be if not slot.endswith(budget.GONE)):
        has, should = kept.get(slot, budget.NOTHING), should_be.get(slot, budget.NOTHING)
        if has != should:
            text = f"the books have {money.plain(has)} as {slot}, and the tasks stand there with {_spelled(should, gone.get(slot))}"
            part.accuse("books_differ", text, slot=slot)
    return part


def _spelled(should: Decimal, gone: Decimal | None) -> str:
    return money.plain(should) + (f", {money.plain(gone)} of it those that retention took away" if gone else "")
