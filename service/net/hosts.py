"""How many attempts may be under way to one host at once, whoever's endpoints they are for.

After an outage a thousand endpoints behind one host are due together, and each has places of its own. A lane that finds
its host full holds nothing: it stands in a line, and whoever leaves passes the place on to the first one there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from service.net.url import BadUrl, parse

MOST = 128  # twice what one endpoint may have in flight

Admit: TypeAlias = Callable[
    [str], bool
]  # takes the place at this host there and then; False: has no use for it any more


def party_of(url: str) -> str:
    """The host and port behind a URL, as they are counted."""
    try:
        parts = parse(url)
    except BadUrl:
        return url  # goes nowhere
    return f"{parts.host}:{parts.port}"


class Hosts:
    """Places at every host, and the lines for them. Belongs to one event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._taken: dict[str, int] = {}
        self._lines: dict[str, dict[Admit, None]] = {}

    def enter(self, party: str, admit: Admit) -> bool:
        """Take a place; or stand in line, once, and be called when there is one."""
        taken = self._taken.get(party, 0)
        if taken >= self._most:
            self._lines.setdefault(party, {})[admit] = None
            return False
        self._taken[party] = taken + 1
        return True

    def crowded(self, party: str) -> bool:
        """Whether others stand in line: then a place is good for one attempt."""
        return party in self._lines

    def leave(self, party: str) -> None:
        """Give a place up, to the first in line who can use it."""
        while (line := self._lines.get(party)) is not None:
            first = next(iter(line))
            del line[first]
            if not line:
                del self._lines[party]
            if first(party):
                return
        left = self._taken[party] - 1
        if left:
            self._taken[party] = left
        else:
            del self._taken[party]
