from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from service.pipeline.accounts import Callbacks
from service.providers.base import Estimate, Prepared
from tests.service.pipeline.rig import Rig


@pytest.mark.parametrize(
    ("account", "mode", "public", "pushes"),
    [
        ("cloudsway", Callbacks.VERIFY, True, True),
        ("cloudsway", Callbacks.TRUST, True, True),
        ("cloudsway", Callbacks.OFF, True, False),
        ("cloudsway", Callbacks.VERIFY, False, False),
        ("ulazai", Callbacks.VERIFY, True, False),
    ],
)
async def test_a_callback_url_is_given_where_the_contract_and_the_settings_have_one(
    still: Rig, account: str, mode: Callbacks, public: bool, pushes: bool
) -> None:
    desk = still.account(account, callbacks=mode)
    if not public:
        desk = replace(desk, public_url=None)
    assert desk.pushes is pushes
    assert desk.rules().pushes is pushes
    assert desk.rules().trust is (mode is Callbacks.TRUST)


@pytest.mark.parametrize(
    ("account", "mode", "look_up", "resend"),
    [
        ("cloudsway", Callbacks.VERIFY, True, True),
        ("cloudsway", Callbacks.OFF, True, True),
        ("acedata", Callbacks.VERIFY, True, False),
        ("acedata", Callbacks.OFF, False, False),
        ("ulazai", Callbacks.VERIFY, False, False),
        ("apiinone", Callbacks.VERIFY, False, False),
    ],
)
async def test_a_lost_purchase_is_looked_for_where_something_leads_to_it_and_resent_where_that_is_safe(
    still: Rig, account: str, mode: Callbacks, look_up: bool, resend: bool
) -> None:
    desk = still.account(account, callbacks=mode)
    assert (desk.look_up, desk.rules().look_up, desk.rules().resend) == (look_up, look_up, resend)


async def test_an_account_shows_its_name_and_no_key(still: Rig) -> None:
    assert "key-of" not in repr(still.account()) + repr(still.accounts)


@pytest.mark.parametrize(
    ("rates", "wanted", "amount"),
    [
        # AceData publishes no list; a package at 2.10 credits for five standard seconds makes ten of them 4.20.
        ({"std": "0.42", "pro": "0.84"}, {"mode": "std", "duration": 10}, "4.20"),
        ({"std": "0.42", "pro": "0.84"}, {"mode": "pro", "duration": 10}, "8.40"),
        ({"": "0.5"}, {"mode": "pro", "duration": 10}, "5.0"),
        ({"std": "0.42"}, {"mode": "pro", "duration": 10}, None),
        ({"std": "0.42"}, {"mode": "std"}, None),
        ({}, {"mode": "std", "duration": 10}, "7"),
    ],
)
async def test_the_estimate_is_made_with_the_accounts_own_rates(
    still: Rig, rates: dict[str, str], wanted: dict[str, object], amount: str | None
) -> None:
    desk = replace(still.account("acedata"), units_per_second={level: Decimal(rate) for level, rate in rates.items()})
    listed = Estimate(unit="credit", amount=Decimal(7))
    made = desk.estimate(Prepared(input=wanted, provider_options={}, estimate=listed))
    assert (made.unit, made.amount) == ("credit", Decimal(amount) if amount is not None else None)
