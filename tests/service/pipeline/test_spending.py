"""Whose price can be told, of those who may be asked. What is refused for want of money stands with the API."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.core.usage import worth_of
from service.pipeline.accounts import AccountDesk
from service.pipeline.choosing import Choice
from service.pipeline.spending import PriceUnknown, priced
from storage.records import Budget, BudgetPeriod
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.test_choosing import CLOUDSWAY, PREPARED

USD = Budget(amount="5", currency="USD", period=BudgetPeriod.TOTAL)


async def ask(rig: Rig, wanted: Budget | None, *accounts: AccountDesk, taken: AccountDesk) -> list[str]:
    choice = Choice(provider=CLOUDSWAY, model="kling-3.0-turbo", prepared=PREPARED, accounts=accounts)
    found = await rig.database.read(lambda tx: priced(tx, wanted, [choice], [taken]))
    return [one.account.name for one in found]


def account(rig: Rig, name: str, price: str | None) -> AccountDesk:
    return replace(rig.account(name, provider="cloudsway"), unit_price=price)


async def test_who_was_chosen_stays_where_the_price_is_known_or_nobody_asks(still: Rig) -> None:
    free, dear = account(still, "free", None), account(still, "dear", "0.01 USD")
    assert await ask(still, None, free, dear, taken=free) == ["free"]
    assert await ask(still, USD, free, dear, taken=dear) == ["dear"]
    assert await ask(still, USD, free, dear, taken=free) == ["dear"]


async def test_where_nobody_has_a_price_it_is_said_what_is_missing(still: Rig) -> None:
    free, euro = account(still, "free", None), account(still, "euro", "0.01 EUR")
    with pytest.raises(PriceUnknown) as refused:
        await ask(still, USD, free, euro, taken=euro)
    [fault] = refused.value.faults
    assert fault.pointer == "/provider"
    assert fault.detail == (
        "The project has a budget in USD, and of account euro its price is in EUR. "
        'Whoever runs taskrelay sets TASKRELAY_ACCOUNTS__EURO__UNIT_PRICE="<price> USD" and starts it again.'
    )
    assert worth_of("unit", "4", None) is None


async def test_a_cost_that_no_list_tells_is_no_price(still: Rig) -> None:
    unknown = replace(account(still, "one", "0.01 USD"), units_per_second={"1080p": PREPARED.estimate.amount or 1})  # type: ignore[dict-item]
    with pytest.raises(PriceUnknown, match=r"what it costs is not known.*UNITS_PER_SECOND"):
        await ask(still, USD, unknown, taken=unknown)
