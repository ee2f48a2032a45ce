"""The cheapest job of every contract, by the list that estimates tasks."""

from __future__ import annotations

from decimal import Decimal

import pytest

from service.pipeline.probe.cheapest import cheapest
from tests.service.pipeline.probe.scene import account


@pytest.mark.parametrize(("name", "model", "amount", "seconds"), [
    ("cloudsway", "kling-3.0-turbo", "2.4", 3),
    ("ulazai", "kling-2.6", "55", 5),
    ("apiinone", "kling-3", "120", 3),
])  # fmt: skip
def test_it_is_the_shortest_plain_and_silent_one(name: str, model: str, amount: str, seconds: int) -> None:
    found = cheapest(account(name))
    assert found is not None
    assert (found.model, found.amount, found.seconds) == (model, Decimal(amount), seconds)


def test_a_model_may_be_chosen_and_one_that_is_not_there_is_none() -> None:
    found = cheapest(account("ulazai"), "kling-3.0")
    assert found is not None and (found.amount, found.seconds) == (Decimal(60), 3)
    assert cheapest(account("ulazai"), "kling-9") is None


def test_without_a_price_it_says_so_and_configured_rates_count() -> None:
    unpriced = cheapest(account("acedata"))
    assert unpriced is not None and unpriced.amount is None
    priced = cheapest(account("acedata", UNITS_PER_SECOND="std=0.2,pro=0.1"))
    assert priced is not None and priced.amount is not None and priced.amount <= Decimal("1")
