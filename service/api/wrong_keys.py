"""How often an address may come with a wrong key, and what it costs us when it goes on.

Keys cannot be guessed, so this is not what keeps them safe: it keeps somebody who tries from costing others anything. Whoever is
over the limit hears 429, and the keys they send are looked up one after another in this process, so that they never take more than one
reader. They are looked up all the same: a good key from behind the same address goes on working, or one could lock out whoever shares it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

SECOND = 1_000_000
MOST = 20  # wrong keys at once …
EVERY = 3 * SECOND  # … and then one in this time: 20 a minute
ADDRESSES = 10_000  # remembered; the one that was quiet for longest goes first


class WrongKeys:
    """Counts wrong keys by address, in this process alone."""

    def __init__(self) -> None:
        self._debts: dict[str, int] = {}  # address → the instant at which all of its wrong keys are forgotten
        self.one_by_one = asyncio.Lock()

    def over(self, address: str, now: int) -> bool:
        """Whether it has used up what it may."""
        return self._wait(address, now) > 0

    def note(self, address: str, now: int) -> int:
        """One more. Returns the seconds after which it may try again, 0 while it still may."""
        wait = self._wait(address, now)
        if wait > 0:
            return -(-wait // SECOND)
        until = max(self._debts.pop(address, now), now) + EVERY
        self._debts[address] = until
        if len(self._debts) > ADDRESSES:
            del self._debts[next(iter(self._debts))]
        return 0

    def _wait(self, address: str, now: int) -> int:
        return self._debts.get(address, now) + EVERY - now - MOST * EVERY


def address_of(client: Sequence[object] | None) -> str:
    """Who is counted as one: an IPv4 address, or the /64 of an IPv6 one, which a single household has."""
    return _counted(str(client[0])) if client else ""


@lru_cache(maxsize=4096)  # asked with every request; reading an address takes 2 to 20 µs
def _counted(host: str) -> str:
    try:
        found = ip_address(host)
    except ValueError:
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((found.packed[:8] + bytes(8), 64)).network_address)
