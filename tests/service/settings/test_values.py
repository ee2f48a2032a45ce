"""How single values are written, and that no message repeats what was given."""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_network

import pytest

from service.settings import values


@pytest.mark.parametrize(("text", "count", "seconds"), [("5/s", 5, 1), ("100/m", 100, 60), ("24/h", 24, 3600)])
def test_a_rate_is_a_count_and_a_span(text: str, count: int, seconds: int) -> None:
    rate = values.rate(text)
    assert (rate.count, rate.seconds, str(rate)) == (count, seconds, text)
    assert rate.per_second == pytest.approx(count / seconds)
    assert values.rate(rate) is rate


def test_a_unit_price_is_exact_and_keeps_its_zeros() -> None:
    price = values.unit_price("0.010 USD")
    assert (price.amount, price.currency, str(price)) == (Decimal("0.010"), "USD", "0.010 USD")


def test_a_key_is_the_bytes_of_its_text_or_what_base64_decodes_to() -> None:
    raw = bytes(range(32))
    assert values.secret_key("correct horse battery staple 1234") == b"correct horse battery staple 1234"
    assert values.secret_key("base64:" + base64.b64encode(raw).decode()) == raw


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("short-but-varied-9f3a", "21 of at least 32 bytes"),
        ("base64:" + base64.b64encode(bytes(range(31))).decode(), "31 of at least 32 bytes"),
        ("base64:not*base64" * 4, "standard, padded base64"),
        ("a" * 64, "easily guessed"),
        ("please-CHANGE-ME-before-production-1", "easily guessed"),
        ("", "0 of at least 32"),
    ],
)
def test_a_weak_key_is_refused_without_repeating_it(given: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        values.secret_key(given)
    assert not given or given not in str(caught.value)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.168.1.7", "fd00::/8", "::1"])
def test_a_range_is_a_network_or_one_address(text: str) -> None:
    assert values.network(text) == ip_network(text)


def test_a_range_with_bits_past_its_prefix_is_told_as_it_should_be_written() -> None:
    with pytest.raises(ValueError, match=r"which is 127\.0\.0\.0/8"):
        values.network("127.0.0.1/8")


def test_ports_are_numbers_or_a_star() -> None:
    assert values.ports(["443", "8443"]) == frozenset({443, 8443})
    assert values.ports(3000) == frozenset({3000})
    assert values.ports("*") == values.ports(["*"]) == "*"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://relay.example.com/", "https://relay.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_the_public_url_is_an_origin(url: str, origin: str) -> None:
    assert values.public_url(url) == origin


def test_a_base_url_keeps_its_path_and_loses_the_last_slash() -> None:
    assert values.base_url("https://api.example.com/v1/") == "https://api.example.com/v1"


@pytest.mark.parametrize(
    ("reader", "given"),
    [
        (values.rate, "5"),
        (values.rate, "0/s"),
        (values.rate, "5/s\n"),
        (values.unit_price, "0,01 USD"),
        (values.unit_price, "-1 USD"),
        (values.unit_price, "NaN USD"),
        (values.network, "localhost"),
        (values.network, 10),
        (values.ports, ["443", "http"]),
        (values.ports, ["0"]),
        (values.ports, ["65536"]),
        (values.ports, []),
        (values.ports, ["*", "443"]),
        (values.public_url, "https://relay.example.com/base"),
        (values.public_url, "https://relay.example.com?x"),
        (values.public_url, "https://user:canary@relay.example.com"),
        (values.public_url, "ftp://relay.example.com"),
        (values.public_url, "https://"),
        (values.public_url, "https://relay.example.com:99999"),
        (values.public_url, "https://relay.example.com\\@evil"),
        (values.public_url, "https://relay .example.com"),
        (values.public_url, "relay.example.com"),
        (values.base_url, "https://api.example.com/v1#"),
        (values.base_url, "https://[::1"),
        (values.database_url, "sqlite://"),
        (values.database_url, "mysql://root:canary@host/name"),
        (values.database_url, "postgresql://"),
    ],
)
def test_anything_else_is_refused_without_repeating_it(reader: Callable[[object], object], given: object) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        reader(given)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["sqlite:///taskrelay.db", "sqlite:////var/lib/t.db", "postgresql://u:p@h/d", "postgresql:///d?host=/run/pg"]
)
def test_both_engines_are_named_by_url(url: str) -> None:
    assert values.database_url(url) == url


def test_units_a_second_are_read_by_level_or_for_all() -> None:
    assert values.unit_rate("1080p=1.0") == values.UnitRate("1080p", Decimal("1.0"))
    assert values.unit_rate("0.42") == values.UnitRate("", Decimal("0.42"))
    assert [str(values.unit_rate(text)) for text in ("std=2", "2")] == ["std=2", "2"]


@pytest.mark.parametrize("text", ["", "std=", "std=-1", "std=1e3", "STD=1", "std=NaN", "a b=1"])
def test_units_a_second_that_are_no_amount_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="units a second"):
        values.unit_rate(text)


@pytest.mark.parametrize(
    "text", ["short", "with a blank in it", "x" * 513, "tab\tand\tmore-of-them", "éééééééééééééééé"]
)
def test_a_token_that_cannot_stand_in_a_header_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII") as caught:
        values.bearer(text)
    assert text not in str(caught.value)
    assert values.bearer("a-token-for-metrics-1234") == "a-token-for-metrics-1234"
