"""Names of settings: every one is known, and a wrong one is recognised."""

from __future__ import annotations

import pytest

from service.settings import shape


def test_every_setting_has_a_description_and_an_example() -> None:
    assert [
        leaf.variable for leaf in shape.leaves().values() if not leaf.field.description or not leaf.field.examples
    ] == []


def test_secrets_are_known_as_such() -> None:
    assert {leaf.variable for leaf in shape.leaves().values() if leaf.secret} == {
        "TASKRELAY_DATABASE_URL",
        "TASKRELAY_SECRET_KEYS",
        "TASKRELAY_ACCOUNTS__<NAME>__API_KEY",
        "TASKRELAY_ACCOUNTS__<NAME>__WEBHOOK_SECRET",
        "TASKRELAY_METRICS_TOKEN",
    }


def test_several_values_are_known_as_such() -> None:
    assert {leaf.variable for leaf in shape.leaves().values() if leaf.several} == {
        "TASKRELAY_SECRET_KEYS",
        "TASKRELAY_EGRESS__ALLOW",
        "TASKRELAY_EGRESS__PORTS",
        "TASKRELAY_ROLES",
        "TASKRELAY_TRUSTED_PROXIES",
        "TASKRELAY_CORS_ORIGINS",
        "TASKRELAY_ACCOUNTS__<NAME>__UNITS_PER_SECOND",
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("TASKRELAY_PORT", (("port",), False)),
        ("TASKRELAY_ACCOUNTS__KLING_EU__API_KEY", (("accounts", "kling_eu", "api_key"), False)),
        ("TASKRELAY_ACCOUNTS__KLING_EU__API_KEY_FILE", (("accounts", "kling_eu", "api_key"), True)),
        ("TASKRELAY_SECRET_KEYS_FILE", (("secret_keys",), True)),
        ("TASKRELAY_PORT_FILE", None),
        ("TASKRELAY_port", None),
        ("TASKRELAY_ACCOUNTS", None),
        ("TASKRELAY_ACCOUNTS__API_KEY", None),
        ("TASKRELAY_EGRESS", None),
        ("TASKRELAY_", None),
        ("PORT", None),
    ],
)
def test_a_variable_means_one_setting_or_none(name: str, path: object) -> None:
    assert shape.path_of(name) == path


def test_a_misspelt_variable_is_told_with_the_nearest_one() -> None:
    names = ["TASKRELAY_PUBLICURL", "TASKRELAY_ACCOUNTS__ULAZAI__APIKEY", "TASKRELAY_XYZZY", "taskrelay_port", "PATH"]
    assert shape.unknown(names) == [
        ("TASKRELAY_ACCOUNTS__ULAZAI__APIKEY", "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY"),
        ("TASKRELAY_PUBLICURL", "TASKRELAY_PUBLIC_URL"),
        ("TASKRELAY_XYZZY", None),
        ("taskrelay_port", "TASKRELAY_PORT"),
    ]


def test_what_a_cluster_sets_for_a_service_of_our_name_is_no_misspelling() -> None:
    names = [
        "TASKRELAY_SERVICE_HOST",
        "TASKRELAY_SERVICE_PORT_HTTP",
        "TASKRELAY_PORT_80_TCP_ADDR",
        "TASKRELAY_PORT_80_TCP",
    ]
    assert shape.unknown(names) == []
