"""What a model takes and costs, as tables: the checks, the published schema and the estimate all read the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from service.core import money


class Kind(StrEnum):
    """What sort of value a word of the input is."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    LINK = "link"
    LINKS = "links"
    SHOTS = "shots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What one word may say. Made by the functions below.

    `most`: characters of a text, entries of a list. `each`: characters of each entry's prompt. `allowed`: the only values.
    `unless`: a required word may be left out where one of these stands. `blank`: a text may be.
    """

    kind: Kind
    low: int | float | None = None
    high: int | float | None = None
    most: int | None = None
    each: int | None = None
    allowed: tuple[object, ...] = ()
    default: object = None
    required: bool = False
    unless: tuple[str, ...] = ()
    blank: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A word that must not stand beside some others. `why` completes "<provider>/<model> …"."""

    word: str
    others: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One line of a price list: what is added where the effective input says `when`. Negative: a discount."""

    unit: str
    amount: Decimal
    per: str = "second"  # or "task"
    when: Mapping[str, object] = field(default_factory=dict)


def text(most: int, *, required: bool = False, unless: Iterable[str] = (), blank: bool = False) -> Limit:
    return Limit(kind=Kind.TEXT, most=most, required=required, unless=tuple(unless), blank=blank)


def seconds(low: int, high: int, default: int = 5) -> Limit:
    return Limit(kind=Kind.WHOLE, low=low, high=high, default=default)


def seconds_of(allowed: Sequence[int], default: int = 5) -> Limit:
    return Limit(kind=Kind.WHOLE, allowed=tuple(allowed), default=default)


def number(low: float, high: float) -> Limit:
    return Limit(kind=Kind.NUMBER, low=low, high=high)


def choice(allowed: Iterable[str], default: str | None = None) -> Limit:
    return Limit(kind=Kind.CHOICE, allowed=tuple(allowed), default=default)


def flag(default: bool, *, only: bool | None = None) -> Limit:
    """`only`: the other one cannot be had."""
    return Limit(kind=Kind.FLAG, default=default, allowed=() if only is None else (only,))


def link() -> Limit:
    return Limit(kind=Kind.LINK)


def links(most: int) -> Limit:
    return Limit(kind=Kind.LINKS, most=most)


def shots(most: int, each: int) -> Limit:
    return Limit(kind=Kind.SHOTS, most=most, each=each)


def cost(prices: Iterable[Price], given: Mapping[str, object]) -> Decimal | None:
    """What the effective input costs: the sum of every line that fits it; None where none does."""
    lines = [price for price in prices if all(given.get(name) == value for name, value in price.when.items())]
    if not lines:
        return None
    length = Decimal(str(given["duration"])) if any(line.per == "second" for line in lines) else Decimal(1)
    return money.total([money.times(line.amount, length if line.per == "second" else Decimal(1)) for line in lines])
