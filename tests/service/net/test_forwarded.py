from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.net.forwarded import client_behind, read_address, trusted

OURS = [ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1/32")]
XFF, FORWARDED = b"x-forwarded-for", b"forwarded"


def behind(*headers: tuple[bytes, bytes], peer: str = "10.0.0.1") -> str:
    return client_behind(peer, headers, OURS)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:443 ", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_addresses_are_read_as_proxies_write_them(text: str, address: str) -> None:
    assert str(read_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "unknown", "_hidden", "localhost", "192.0.2", "192.0.2.1:", "192.0.2.1:x",
        "192.0.2.1:٣", "[::1", "[::1]x", "[::1]:", "[]", "1" * 5000, "192.0.2.1 x", "0x7f.1", "::1:99999999:x",
    ],
)  # fmt: skip
def test_what_is_none_is_none(text: str) -> None:
    assert read_address(text) is None


def test_only_addresses_of_the_list_are_trusted() -> None:
    assert trusted("10.9.9.9", OURS) and trusted("::ffff:10.9.9.9", OURS) and trusted("fd00::1", OURS)
    assert not trusted("192.0.2.1", OURS) and not trusted("", OURS) and not trusted("10.9.9.9", [])


@pytest.mark.parametrize(
    ("said", "client"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"192.0.2.1:5000", "192.0.2.1"),
        (b"6.6.6.6, 192.0.2.1", "192.0.2.1"),  # what a client writes stands to the left
        (b"6.6.6.6, 192.0.2.1, 10.0.0.7", "192.0.2.1"),  # two proxies of ours
        (b"6.6.6.6, 10.0.0.9, 192.0.2.1", "192.0.2.1"),
        (b"10.0.0.3, 10.0.0.2", "10.0.0.3"),  # the client is inside
        (b"[2001:db8::5]:99, fd00::2", "2001:db8::5"),
        (b"192.0.2.1, unknown", "10.0.0.1"),
        (b"192.0.2.1, , 10.0.0.2", "10.0.0.2"),
        (b"192.0.2.1, <script>, 10.0.0.2", "10.0.0.2"),
        (b"\xff\x00", "10.0.0.1"),
        (b"", "10.0.0.1"),
        (b" , ,", "10.0.0.1"),
        (b"192.0.2.1, " + b"10.0.0.2, " * 2000 + b"10.0.0.3", "10.0.0.2"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy_of_ours(said: bytes, client: str) -> None:
    assert behind((XFF, said)) == client


def test_a_header_given_twice_is_one_list() -> None:
    assert behind((XFF, b"6.6.6.6"), (XFF, b"192.0.2.1")) == "192.0.2.1"


@pytest.mark.parametrize(
    ("said", "client"),
    [
        (b"for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        (b'for=6.6.6.6, For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        (b'for=192.0.2.1, for="10.0.0.2:80"', "192.0.2.1"),
        (b"for=192.0.2.1, for=_hidden", "10.0.0.1"),
        (b"for=192.0.2.1, proto=http", "10.0.0.1"),
        (b'for="192.0.2.1', "192.0.2.1"),
        (b"nonsense", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read_where_the_common_one_is_absent(said: bytes, client: str) -> None:
    assert behind((FORWARDED, said)) == client


def test_of_both_headers_the_common_one_counts() -> None:
    assert behind((FORWARDED, b"for=6.6.6.6"), (XFF, b"192.0.2.1")) == "192.0.2.1"


@given(st.lists(st.tuples(st.sampled_from([XFF, FORWARDED, b"x-real-ip"]), st.binary(max_size=200)), max_size=4))
def test_whatever_is_said_the_client_is_an_address(headers: list[tuple[bytes, bytes]]) -> None:
    assert read_address(behind(*headers)) is not None
