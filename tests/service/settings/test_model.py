"""The model by itself: defaults that are safe, floors that hold, and a repr that tells no secret."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from service.settings.model import FLOORS, Settings, TimingSettings

KEY = "9f8c1e5b7a3d2460" * 2


def made(**given: Any) -> Settings:
    """Settings from plain values, as `load` makes them."""
    return Settings(**given)


def test_nothing_needs_to_be_said() -> None:
    settings = made()
    assert settings.database_url == "sqlite:///taskrelay.db"
    assert settings.public_url is None
    assert settings.accounts == {}
    assert settings.egress.allow == ()
    assert settings.egress.ports == frozenset({443})
    assert settings.roles == {"api", "work"}
    assert settings.host == "127.0.0.1"


def test_the_environment_is_not_read_behind_the_callers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRELAY_PORT", "9999")
    monkeypatch.setenv("PORT", "9998")
    assert made().port == 8080


def test_settings_do_not_change() -> None:
    settings = made(accounts={"cloudsway": {}})
    with pytest.raises(ValidationError):
        settings.port = 1
    with pytest.raises(ValidationError):
        settings.accounts["cloudsway"].callbacks = "trust"
    with pytest.raises(ValidationError):
        settings.timing.settle_seconds = 1


def test_an_account_named_like_a_provider_is_of_that_provider() -> None:
    accounts = made(accounts={"cloudsway": {}, "spare": {"provider": "cloudsway"}}).accounts
    assert [account.provider for account in accounts.values()] == ["cloudsway", "cloudsway"]
    assert accounts["cloudsway"].callbacks == "verify"


def test_the_undocumented_provider_is_off_until_enabled() -> None:
    accounts = made(accounts={"apiinone": {}, "two": {"provider": "apiinone", "enabled": True}, "ulazai": {}}).accounts
    assert {name: account.enabled for name, account in accounts.items()} == {
        "apiinone": False,
        "two": True,
        "ulazai": True,
    }


@pytest.mark.parametrize("path", ["../admin", "a/b", "a?b", "", "a" * 129, "abc\n"])
def test_an_endpoint_path_cannot_leave_its_segment(path: str) -> None:
    with pytest.raises(ValidationError):
        made(accounts={"cloudsway": {"endpoint_path": path}})


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_not_everybody_can_be_a_proxy_of_ours(network: str) -> None:
    with pytest.raises(ValidationError, match="anybody could claim"):
        made(trusted_proxies=("10.0.0.0/8", network))


def test_a_key_given_twice_is_no_rotation() -> None:
    with pytest.raises(ValidationError, match="names a key twice"):
        made(secret_keys=(KEY, KEY))


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_a_span_below_its_floor_is_refused_unless_timing_is_unsafe(name: str) -> None:
    low = {**FLOORS, "settle_seconds": 120, "heartbeat_seconds": 0.1, name: FLOORS[name] - 0.5}
    lifted = made(unsafe_timing=True, timing=low)
    assert getattr(lifted.timing, name) == FLOORS[name] - 0.5
    with pytest.raises(ValidationError, match=f"TIMING__{name.upper()} is below its floor of {FLOORS[name]:g}"):
        made(timing=low)


def test_the_floors_themselves_are_allowed() -> None:
    assert made(timing={**FLOORS, "settle_seconds": 120}).timing.lane_ttl_seconds == FLOORS["lane_ttl_seconds"]


def test_the_settle_window_outlasts_the_submit_deadline() -> None:
    longer = {"submit_deadline_seconds": 35, "settle_seconds": 124}
    with pytest.raises(ValidationError, match="SETTLE_SECONDS is below its floor of 125"):
        made(timing=longer)
    assert made(timing={**longer, "settle_seconds": 125}).timing.settle_seconds == 125


def test_nothing_can_outlast_the_lane_it_runs_in() -> None:
    with pytest.raises(ValidationError, match="LANE_TTL_SECONDS is less than the longest time-out"):
        made(timing={"attempt_timeout_seconds": 41})
    assert made(timing={"attempt_timeout_seconds": 40})


def test_a_lane_too_short_to_start_anything_in_is_refused_even_when_timing_is_unsafe() -> None:
    """It would own its lane and never submit: at its next heartbeat too little of the lease is always left."""
    with pytest.raises(ValidationError, match="LANE_TTL_SECONDS is less than the longest time-out"):
        made(unsafe_timing=True, timing={"submit_deadline_seconds": 30, "lane_ttl_seconds": 35, "heartbeat_seconds": 1})


def test_a_heartbeat_slower_than_its_lane_is_never_allowed() -> None:
    with pytest.raises(ValidationError, match="HEARTBEAT_SECONDS is more than half"):
        made(unsafe_timing=True, timing={"heartbeat_seconds": 31})


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 86401])
def test_a_span_is_a_positive_number_of_at_most_a_day(seconds: float) -> None:
    with pytest.raises(ValidationError):
        TimingSettings(settle_seconds=seconds)


def test_no_secret_shows_in_repr() -> None:
    settings = made(
        database_url="postgresql://relay:canary-db@host/name",
        secret_keys=(KEY,),
        accounts={"cloudsway": {"api_key": "canary-api", "webhook_secret": "canary-hook"}},
    )
    assert "canary" not in repr(settings)
    assert KEY not in repr(settings)
