"""Money and a provider's own units: exact decimals in, exact decimals out, never a float."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

# Bounded on both sides, so that a product of two amounts always fits EXACT and a text never explodes ("1e999999999").
_AMOUNT = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
_PRICE = re.compile(r"(?P<amount>\S{1,31}) (?P<currency>[A-Z]{3})", re.ASCII)

# Rounding is an error here and not a habit.
EXACT = Context(prec=80, traps=[Inexact, InvalidOperation, Overflow])


class BadAmount(ValueError):
    """The text is not a plain decimal amount, such as "5.6"."""


class BadPrice(ValueError):
    """The text is not a price per unit, such as "0.01 USD"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPrice:
    """What one of a provider's units costs."""

    amount: Decimal
    currency: str  # ISO 4217, three capitals


def amount(text: str) -> Decimal:
    """Read an amount that is zero or more: digits, and at most one point."""
    if _AMOUNT.fullmatch(text) is None:
        raise BadAmount(f'"{text[:40]}" is not an amount. Write plain digits, such as 5.6')
    return Decimal(text)


def plain(value: Decimal) -> str:
    """The one text of a value: no exponent, no trailing zeros, so that equal amounts are equal texts."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def unit_price(text: str) -> UnitPrice:
    """Read "0.01 USD"."""
    match = _PRICE.fullmatch(text.strip())
    if match is None:
        raise BadPrice(f'"{text[:40]}" is not a unit price. Write an amount and a currency, such as 0.01 USD')
    try:
        return UnitPrice(amount=amount(match["amount"]), currency=match["currency"])
    except BadAmount as error:
        raise BadPrice(str(error)) from None


def times(value: Decimal, factor: Decimal) -> Decimal:
    """An exact product."""
    return EXACT.multiply(value, factor)


def plus(one: Decimal, other: Decimal) -> Decimal:
    """An exact sum of two."""
    return EXACT.add(one, other)


def minus(one: Decimal, other: Decimal) -> Decimal:
    """An exact difference."""
    return EXACT.subtract(one, other)


def total(values: list[Decimal]) -> Decimal:
    """An exact sum."""
    result = Decimal(0)
    for value in values:
        result = EXACT.add(result, value)
    return result


def equal(one: str, other: str) -> bool:
    """Whether two texts are the same amount, however they write it."""
    try:
        return amount(one) == amount(other)
    except BadAmount:
        return one == other


def worth(units: str | None, price: UnitPrice | None) -> str | None:
    """What so many units cost in the price's currency, as exact text; None when either is not known."""
    if units is None or price is None:
        return None
    return plain(times(amount(units), price.amount))
