"""Money is exact, and has one text."""

from __future__ import annotations

from decimal import Decimal, Inexact

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core import money

amounts = st.decimals(min_value=0, max_value=Decimal("999999999999999"), allow_nan=False, places=15)
fuzz = settings(max_examples=100, deadline=None, database=None)


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e3", "NaN", "Infinity", ".5", "5.", "1,5", "1_0", " 1", "\u0661", "1" * 16, "0." + "1" * 16],
)
def test_what_is_no_plain_amount_is_refused(text: str) -> None:
    with pytest.raises(money.BadAmount):
        money.amount(text)


@pytest.mark.parametrize(
    "value, text", [("5.60", "5.6"), ("5.0", "5"), ("100", "100"), ("0.00", "0"), ("0.001", "0.001"), ("007", "7")]
)
def test_equal_amounts_have_equal_texts(value: str, text: str) -> None:
    assert money.plain(money.amount(value)) == text


def test_a_text_has_no_exponent_and_no_minus_zero() -> None:
    assert money.plain(Decimal("1E+3")) == "1000"
    assert money.plain(Decimal("1E-7")) == "0.0000001"
    assert money.plain(Decimal("-0.0")) == "0"


def test_a_unit_price_is_an_amount_and_a_currency() -> None:
    assert money.unit_price("0.01 USD") == money.UnitPrice(amount=Decimal("0.01"), currency="USD")


@pytest.mark.parametrize(
    "text", ["0.01", "USD 0.01", "0.01USD", "0.01 usd", "0.01 USDT", "-1 USD", "1e3 USD", "", "1 2 USD"]
)
def test_what_is_no_unit_price_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(money.BadPrice, match=r"such as"):
        money.unit_price(text)


def test_worth_is_units_times_price_and_unknown_when_either_is() -> None:
    price = money.unit_price("0.14 USD")
    assert money.worth("5.6", price) == "0.784"
    assert money.worth(None, price) is None
    assert money.worth("5.6", None) is None


@fuzz
@given(amounts, amounts)
def test_products_and_sums_are_never_rounded(one: Decimal, other: Decimal) -> None:
    product = money.times(one, other)
    assert product == Decimal(int(one.scaleb(15, money.EXACT)) * int(other.scaleb(15, money.EXACT))).scaleb(
        -30, money.EXACT
    )
    assert money.total([one, other, one]) == money.EXACT.add(money.EXACT.add(one, one), other)


def test_what_would_need_rounding_is_an_error() -> None:
    with pytest.raises(Inexact):
        money.times(Decimal("1." + "1" * 60), Decimal("1." + "1" * 60))


def test_equal_amounts_may_be_written_differently() -> None:
    assert money.equal("5", "5.00") and not money.equal("5", "5.001")
    assert money.equal("?", "?") and not money.equal("?", "5")
