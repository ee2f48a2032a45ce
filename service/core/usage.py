"""Usage: what tasks came to, added exactly. Amounts are decimals in a contract's own unit, and in money where a price is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import orjson

from service.core import money
from service.core.events import CURRENCY
from storage.records import OPEN_STATUSES, Charge


class Part(StrEnum):
    """What an amount is."""

    CHARGED = "charged"  # the provider said so
    ESTIMATED = "estimated"  # of what has ended and is charged, as far as the contract's prices tell
    OPEN = "open"  # of what goes on, by its estimate
    POSSIBLE = "possible"  # of what may have been bought and nobody knows
    SURPLUS = "surplus"  # of jobs bought beside a task's own


NOTHING: Final = (Charge.NONE, Charge.REFUNDED)


@dataclass(slots=True)
class Sums:
    """Of one unit and one price's currency."""

    units: dict[Part, Decimal] = field(default_factory=dict)
    worth: dict[Part, Decimal] = field(default_factory=dict)

    def add(self, part: Part, amount: Decimal, price: Decimal | None) -> None:
        self.units[part] = money.EXACT.add(self.units.get(part, Decimal(0)), amount)
        if price is not None:
            self.worth[part] = money.EXACT.add(self.worth.get(part, Decimal(0)), money.times(amount, price))


@dataclass(slots=True)
class Usage:
    """Of one group. `unpriced`: jobs that cost something, and nobody knows how much."""

    tasks: Counter[str] = field(default_factory=Counter)
    sums: dict[tuple[str, str | None], Sums] = field(default_factory=dict)
    unpriced: int = 0

    def add(
        self,
        *,
        status: str,
        charge: str,
        unit: str | None,
        estimated: str | None,
        charged: str | None,
        unit_price: str | None,
        surplus: str,
        count: int,
    ) -> None:
        """Add so many tasks that are alike."""
        self.tasks[status] += count
        part, amount = part_of(status, charge, estimated, charged)
        if part is not None:
            self._sum(part, unit, amount, unit_price, count)
        jobs: list[dict[str, Any]] = orjson.loads(surplus) if surplus != "[]" else []
        for job in jobs:
            amount = job["charged"] if job["charged"] is not None else job["estimated"]
            self._sum(Part.SURPLUS, job["unit"], amount, job["unit_price"], count)

    def _sum(self, part: Part, unit: str | None, amount: str | None, unit_price: str | None, count: int) -> None:
        try:
            found = money.amount(amount) if amount is not None else None
        except money.BadAmount:
            found = None
        if found is None or unit is None:
            self.unpriced += count
            return
        price = _price(unit, unit_price)
        sums = self.sums.setdefault((unit, price.currency if price else None), Sums())
        sums.add(part, money.times(found, Decimal(count)), price.amount if price else None)


def part_of(status: str, charge: str, estimated: str | None, charged: str | None) -> tuple[Part | None, str | None]:
    """What a task's own job counts as, and its amount."""
    if charge == Charge.CONFIRMED:
        return (Part.CHARGED, charged) if charged is not None else (Part.ESTIMATED, estimated)
    if charge == Charge.POSSIBLE:
        return Part.POSSIBLE, estimated
    if status in OPEN_STATUSES:
        return Part.OPEN, estimated
    return (None, None) if charge in NOTHING else (Part.ESTIMATED, estimated)


def worth_of(unit: str | None, amount: str | None, unit_price: str | None) -> tuple[str, Decimal] | None:
    """An amount in money, with its currency; None when that cannot be told."""
    price = _price(unit, unit_price) if unit is not None else None
    try:
        found = money.amount(amount) if amount is not None else None
    except money.BadAmount:
        return None
    return None if price is None or found is None else (price.currency, money.times(found, price.amount))


def _price(unit: str, unit_price: str | None) -> money.UnitPrice | None:
    """What one unit costs; of a provider that charges in a currency, itself."""
    try:
        price = money.unit_price(unit_price) if unit_price else None
    except money.BadPrice:
        return None
    if price is None and CURRENCY.fullmatch(unit):
        return money.UnitPrice(amount=Decimal(1), currency=unit)
    return price


def view(usage: Usage) -> dict[str, object]:
    """As the API shows it: every amount a plain decimal text."""
    return {
        "tasks": {"total": usage.tasks.total(), **dict(sorted(usage.tasks.items()))},
        "costs": [
            {
                "unit": unit,
                **_texts(sums.units),
                "money": None if currency is None else {"currency": currency, **_texts(sums.worth)},
            }
            for (unit, currency), sums in sorted(usage.sums.items(), key=lambda one: (one[0][0], one[0][1] or ""))
        ],
        "unpriced": usage.unpriced,
    }


def _texts(sums: dict[Part, Decimal]) -> dict[str, str]:
    return {part.value: money.plain(sums.get(part, Decimal(0))) for part in Part}
