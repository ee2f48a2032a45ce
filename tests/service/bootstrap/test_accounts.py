from __future__ import annotations

import pytest

from service.bootstrap.accounts import accounts_of, cheapest_purchase, provider_names, pushing_providers
from service.bootstrap.errors import StartError
from service.settings import load
from tests.service.bootstrap.given import ACCOUNT


def test_every_contract_has_a_name_and_those_that_push_are_some_of_them() -> None:
    assert {"cloudsway", "ulazai"} <= set(provider_names())
    assert "cloudsway" in pushing_providers() and set(pushing_providers()) < set(provider_names())


def test_every_account_that_cannot_work_is_told_at_once() -> None:
    given = {f"{ACCOUNT}RATE": "5/s", "TASKRELAY_ACCOUNTS__OTHER__PROVIDER": "nobody"}
    with pytest.raises(StartError) as refused:
        accounts_of(load(given))
    assert "CLOUDSWAY__API_KEY is not set" in str(refused.value)
    assert "OTHER__PROVIDER: there is no provider 'nobody'" in str(refused.value)


def test_one_that_is_off_is_not_asked() -> None:
    given = {f"{ACCOUNT}API_KEY": "k", f"{ACCOUNT}ENDPOINT_PATH": "p"}
    assert list(accounts_of(load(given))) == ["cloudsway"]
    assert cheapest_purchase(load(given), "cloudsway") is not None
    assert accounts_of(load({**given, f"{ACCOUNT}ENABLED": "false"})) == {}
