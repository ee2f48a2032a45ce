"""Who is behind a proxy: the address that a client came from, as far as proxies of the operator's own vouch for it.

Whoever dials us may write any `X-Forwarded-For`. It is read from trusted addresses alone, from the right, where the nearest proxy
writes; the first address that is no proxy of ours is the client, and whatever stands left of it is that client's own word.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

HOPS: Final = 16  # proxies in a row; whoever has more has a loop


def read_address(text: str) -> Address | None:
    """An address as peers and proxies write it: with a port or without, IPv6 in brackets or bare; None when it is none."""
    text = text.strip()
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or not (port == "" or _port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _port(f":{port}"):
            return None
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdecimal() and len(text) <= 6


def trusted(peer: str, networks: Sequence[Network]) -> bool:
    """Whether what this address says of others counts."""
    address = read_address(peer) if networks else None
    return address is not None and any(address in network for network in networks)


def client_behind(peer: str, headers: Headers, networks: Sequence[Network]) -> str:
    """The client's address, where `peer` is trusted: the peer's own when nobody says more, or says nothing that can be read.

    `X-Forwarded-For` when there is one, else `Forwarded` (RFC 7239): a proxy sets one of them, the other may be the client's.
    """
    found = list(headers)
    said = b",".join(value for name, value in found if name == b"x-forwarded-for")
    hops = said.decode("latin-1").split(",") if said.strip(b" ,\t") else _forwarded(found)
    client = peer
    for hop in reversed(hops[-HOPS:]):
        address = read_address(hop)
        if address is None:
            return client  # hidden, a name, or nonsense: the proxy that wrote it is the last one known
        client = str(address)
        if not any(address in network for network in networks):
            return client
    return client


def _forwarded(headers: Headers) -> list[str]:
    """The `for` of each element. A quoted comma would belong to a name or a port that is none of ours: it splits, and is not read."""
    elements = b",".join(value for name, value in headers if name == b"forwarded").decode("latin-1").split(",")
    return [_for(element) for element in elements if element.strip()]


def _for(element: str) -> str:
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip().strip('"')
    return ""
