from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.net.address import denied, unwrap
from tests.service.net.denied import EDGES_V4, forbidden_v4, forbidden_v6


@given(st.one_of(st.integers(0, 2**32 - 1), st.sampled_from(EDGES_V4)))
def test_ipv4_agrees_with_the_independent_table(number: int) -> None:
    assert (denied(IPv4Address(number)) is not None) == forbidden_v4(number)


@pytest.mark.parametrize("number", EDGES_V4)
def test_every_edge_of_the_table_is_exact(number: int) -> None:
    assert (denied(IPv4Address(number)) is not None) == forbidden_v4(number)


@given(
    st.one_of(
        st.integers(0, 2**128 - 1),
        st.integers(0, 2**125 - 1).map(lambda low: (1 << 125) | low),  # inside 2000::/3
        st.integers(0, 2**32 - 1).map(lambda low: (0xFFFF << 32) | low),  # mapped
        st.builds(lambda head, low: (head << 96) | low, st.integers(0x20010000, 0x20010FFF), st.integers(0, 2**96 - 1)),
    )
)
@example(int(IPv6Address("3ffe:ffff::")))
@example(int(IPv6Address("2001:200::")))
def test_ipv6_agrees_with_the_independent_table(number: int) -> None:
    assert (denied(unwrap(IPv6Address(number))) is not None) == forbidden_v6(number)


# `is_global` is True for these on CPython 3.11.7.
GLOBAL_IN_NAME_ONLY = """
    224.0.0.1 239.255.255.250 192.88.99.1 192.0.0.8 168.63.129.16 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::a9fe:a9fe
    64:ff9b:1::7f00:1 2002:7f00:1:: 3fff::1 fec0::1 ff02::1 ff0e::1 5f00::1 100:0:0:1::1 4000::1
"""
SPECIAL = """
    0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255
    192.0.2.1 192.31.196.1 192.52.193.1 192.168.0.1 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
    240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 100::1 2001::1 2001:db8::1
    2620:4f:8000::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 2606:4700::1%1
"""
PUBLIC = """
    1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 198.20.0.1
    223.255.255.255 ::ffff:8.8.8.8 2606:4700::1111 2a00:1450::1 2400:cb00::1 2001:4860:4860::8888 2620:4f:8001::1
"""


@pytest.mark.parametrize("text", (GLOBAL_IN_NAME_ONLY + SPECIAL).split())
def test_special_address_is_refused(text: str) -> None:
    assert denied(unwrap(ip_address(text)))


@pytest.mark.parametrize("text", PUBLIC.split())
def test_public_address_is_not(text: str) -> None:
    assert denied(unwrap(ip_address(text))) is None
