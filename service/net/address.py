"""Which addresses are never called unless the operator allows them: the table behind `guard`, pure.

`ipaddress.is_global` is not used: on CPython 3.11.7 it is True for 224.0.0.1, 168.63.129.16 (Azure's host), ::127.0.0.1,
64:ff9b::a9fe:a9fe (NAT64 of the metadata service), 2002:7f00:1:: and 4000::1. So IPv4 is a deny list, and IPv6 an allow
rule (global unicast, 2000::/3) with exceptions: whatever gets assigned next is refused until somebody adds it here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

THIS_MACHINE = "on this machine"
PRIVATE = "on a private network"
_METADATA = "a link-local or cloud metadata address"
_MULTICAST = "a multicast address"
_RESERVED = "reserved for special use"

# First match names the reason, so that narrow entries stand before the network they sit in.
_DENIED_V4 = tuple(
    (ip_network(text), word)
    for text, word in (
        ("127.0.0.0/8", THIS_MACHINE),
        ("0.0.0.0/8", THIS_MACHINE),  # Linux connects 0.0.0.0 to itself
        ("100.100.100.200/32", _METADATA),  # Alibaba Cloud; inside 100.64.0.0/10
        ("168.63.129.16/32", _METADATA),  # Azure; a public address by registry
        ("169.254.0.0/16", _METADATA),
        ("10.0.0.0/8", PRIVATE),
        ("100.64.0.0/10", PRIVATE),
        ("172.16.0.0/12", PRIVATE),
        ("192.168.0.0/16", PRIVATE),
        ("192.0.0.0/24", _RESERVED),
        ("192.0.2.0/24", _RESERVED),
        ("192.31.196.0/24", _RESERVED),
        ("192.52.193.0/24", _RESERVED),
        ("192.88.99.0/24", _RESERVED),
        ("192.175.48.0/24", _RESERVED),
        ("198.18.0.0/15", _RESERVED),
        ("198.51.100.0/24", _RESERVED),
        ("203.0.113.0/24", _RESERVED),
        ("224.0.0.0/4", _MULTICAST),
        ("240.0.0.0/4", _RESERVED),  # and 255.255.255.255
    )
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_DENIED_V6 = tuple(
    (ip_network(text), word)
    for text, word in (
        ("2001::/23", _RESERVED),  # Teredo, ORCHID, benchmarking
        ("2001:db8::/32", _RESERVED),
        ("2002::/16", _RESERVED),  # 6to4: carries any IPv4 address
        ("2620:4f:8000::/48", _RESERVED),
        ("3fff::/20", _RESERVED),
    )
)
# Only for the wording: all of these lie outside 2000::/3.
_NAMED_V6 = tuple(
    (ip_network(text), word)
    for text, word in (
        ("::1/128", THIS_MACHINE),
        ("::/128", THIS_MACHINE),
        ("fd00:ec2::254/128", _METADATA),
        ("fc00::/7", PRIVATE),
        ("fe80::/10", _METADATA),
        ("ff00::/8", _MULTICAST),
    )
)


def unwrap(address: Address) -> Address:
    """An IPv4 address written as ::ffff:a.b.c.d is that IPv4 address: the kernel dials it so."""
    return getattr(address, "ipv4_mapped", None) or address


def denied(address: Address) -> str | None:
    """Why the (unwrapped) address is not called by default, or None when it is public."""
    if isinstance(address, IPv4Address):
        return _first(address, _DENIED_V4)
    if address.scope_id is not None:
        return "an address with a zone, which only means something on one machine"
    if address in _GLOBAL_UNICAST:
        return _first(address, _DENIED_V6)
    return _first(address, _NAMED_V6) or _RESERVED


def _first(address: Address, table: tuple[tuple[Network, str], ...]) -> str | None:
    return next((word for network, word in table if address in network), None)
