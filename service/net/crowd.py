"""How many connections each address holds, so that nobody holds all of them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Network

from service.net.forwarded import Network, read_address, trusted

SPARE = 128  # connections past a limit that are still told so; further ones are dropped without a word
BLAMED_SECONDS, BLAMED_MOST = (
    30.0,
    64,
)  # for how long an address that takes no answers holds fewer connections, and how many
REMEMBERED = 10_000
PREFIX = 64  # bits of an IPv6 address: the rest its owner chooses freely


class Room(Enum):
    """What there is for one connection more."""

    ENOUGH = "enough"
    NONE = "none"  # in all
    NONE_FOR_IT = "none for it"  # for its address
    NOT_A_WORD = "not a word"  # not even for being told


@dataclass(slots=True, kw_only=True)
class Crowd:
    """Those connected to one server. `proxies`: addresses that speak for many clients and are not counted themselves."""

    most: int = 4096
    each: int = 1024
    proxies: Sequence[Network] = ()
    held: Counter[str] = field(default_factory=Counter)
    total: int = 0
    blamed: dict[str, float] = field(default_factory=dict)  # until when
    turns: deque[Callable[[], None]] = field(default_factory=deque)  # requests that wait to be started

    def enter(self, peer: str | None, now: float) -> tuple[Room, str | None]:
        """Count a new connection. Returns what there is for it, and what to give back to `leave`. `now`: seconds of any clock."""
        self.total += 1
        owner = self.owner(peer)
        held, each = 0, self.each
        if owner is not None:
            self.held[owner] += 1
            held = self.held[owner]
            each = min(each, BLAMED_MOST) if self.blamed.get(owner, now) > now else each
        if self.total > self.most + SPARE or held > each + SPARE:
            return Room.NOT_A_WORD, owner
        if held > each:
            return Room.NONE_FOR_IT, owner
        return (Room.NONE if self.total > self.most else Room.ENOUGH), owner

    def leave(self, owner: str | None) -> None:
        """The connection that entered as this is gone."""
        self.total -= 1
        if owner is not None:
            self.held[owner] -= 1
            if not self.held[owner]:
                del self.held[owner]

    def blame(self, owner: str | None, now: float) -> None:
        """Its connections had to be cut, because it asks for more than it reads. Coming back at once would only go on with that."""
        if owner is None:
            return
        if len(self.blamed) >= REMEMBERED:
            self.blamed = {one: until for one, until in self.blamed.items() if until > now}
        if len(self.blamed) < REMEMBERED:
            self.blamed[owner] = now + BLAMED_SECONDS

    def queue(self, start: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Start a request that was sent before its client had the answer to another: of all such, one in each pass of the loop.

        Twenty connections with thousands of them kept everybody else waiting for 0.4 s when each had its turn in each pass.
        """
        self.turns.append(start)
        if len(self.turns) == 1:
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        start = self.turns.popleft()
        if self.turns:
            loop.call_soon(self._turn, loop)
        start()

    def owner(self, peer: str | None) -> str | None:
        """Whom a peer's connections are counted for; None when for nobody."""
        address = read_address(peer) if peer else None
        if address is None or trusted(str(address), self.proxies):
            return None
        if address.version == 6:
            return str(IPv6Network((int(address) >> PREFIX << PREFIX, PREFIX)))
        return str(address)
