"""Sums that lose nothing, and no amount in two places."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.usage import Part, Usage, part_of, view

ROW: dict[str, Any] = {
    "status": "succeeded",
    "charge": "confirmed",
    "unit": "credit",
    "estimated": "2",
    "charged": "1.5",
    "unit_price": "0.01 USD",
    "surplus": "[]",
    "count": 1,
}


def added(*rows: dict[str, Any]) -> dict[str, Any]:
    usage = Usage()
    for row in rows:
        usage.add(**{**ROW, **row})
    return view(usage)


@pytest.mark.parametrize(
    ("status", "charge", "charged", "part", "amount"),
    [
        ("succeeded", "confirmed", "1", Part.CHARGED, "1"),
        ("succeeded", "confirmed", None, Part.ESTIMATED, "2"),
        ("succeeded", "estimated", None, Part.ESTIMATED, "2"),
        ("processing", "estimated", None, Part.OPEN, "2"),
        ("processing", "confirmed", "1", Part.CHARGED, "1"),
        ("queued", "none", None, Part.OPEN, "2"),
        ("unconfirmed", "possible", None, Part.POSSIBLE, "2"),
        ("expired", "possible", None, Part.POSSIBLE, "2"),
        ("failed", "none", None, None, None),
        ("failed", "refunded", "1", None, None),
    ],
)
def test_what_a_task_counts_as(
    status: str, charge: str, charged: str | None, part: Part | None, amount: str | None
) -> None:
    assert part_of(status, charge, "2", charged) == (part, amount)


AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=6).map(str)


@given(st.lists(st.tuples(AMOUNTS, st.integers(1, 10_000)), max_size=20))
def test_sums_are_exact(rows: list[tuple[str, int]]) -> None:
    shown = added(*({"charged": amount, "count": count, "unit_price": None} for amount, count in rows))
    exact = sum((Decimal(amount) * count for amount, count in rows), Decimal(0))
    told = Decimal(shown["costs"][0]["charged"]) if rows else Decimal(0)
    assert told == exact
    assert shown["tasks"]["total"] == sum(count for _, count in rows)


def test_ten_times_a_tenth_is_one() -> None:
    shown = added(*[{"charged": "0.1"}] * 10)
    assert (shown["costs"][0]["charged"], shown["costs"][0]["money"]["charged"]) == ("1", "0.01")


def test_units_and_currencies_are_not_mixed() -> None:
    shown = added({}, {"unit": "second"}, {"unit_price": "0.02 EUR"}, {"unit": "USD", "unit_price": None})
    assert [(one["unit"], (one["money"] or {}).get("currency"), one["charged"]) for one in shown["costs"]] == [
        ("USD", "USD", "1.5"), ("credit", "EUR", "1.5"), ("credit", "USD", "1.5"), ("second", "USD", "1.5"),
    ]  # fmt: skip


def test_a_job_too_many_is_its_own_sum_and_an_unknown_price_is_counted() -> None:
    job = {"provider_task_id": "j", "account": "a", "found_at": 1, "unit": "credit", "estimated": "3", "charged": None}
    jobs = orjson.dumps([{**job, "unit_price": None}, {**job, "estimated": None, "unit_price": None}]).decode()
    shown = added({"surplus": jobs, "count": 2}, {"charged": "odd"}, {"charge": "possible", "estimated": None})
    [priced] = [one for one in shown["costs"] if one["money"]]
    [unpriced] = [one for one in shown["costs"] if not one["money"]]
    assert (priced["charged"], priced["surplus"], unpriced["surplus"]) == ("3", "0", "6")
    assert shown["unpriced"] == 4
