"""How far our clock is from the database's. Receivers refuse a signature whose time is five minutes off, and judge it by theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from storage import clocks
from storage.database import Connection, Database

log = logging.getLogger("taskrelay.skew")

SECOND = 1_000_000
EVERY_SECONDS = 30.0
NOTED_SECONDS = 30.0
REFUSED_SECONDS = 240.0


class Skew:
    """`judged`: told after every look whether this replica may work."""

    def __init__(
        self, database: Database, *, clock: Callable[[], int], judged: Callable[[bool], None] | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._judged = judged
        self.seconds = 0.0  # that ours is ahead

    async def run_once(self) -> int:
        """Look; it rests after each."""

        async def unit(tx: Connection) -> tuple[int, int, int]:
            before = self._clock()
            theirs = await clocks.now(tx, now=before)
            return before, theirs, self._clock()

        before, theirs, after = await self._database.read(unit)
        was, self.seconds = self.noted, ((before + after) / 2 - theirs) / SECOND
        if self.noted is not None and was is None:
            log.error(self.noted)
        if self._judged is not None:
            self._judged(not self.refused)
        return 0

    @property
    def refused(self) -> bool:
        """Whether what we sign would be refused."""
        return abs(self.seconds) > REFUSED_SECONDS

    @property
    def noted(self) -> str | None:
        """What is wrong, for an operator."""
        if abs(self.seconds) <= NOTED_SECONDS:
            return None
        told = f"our clock is {abs(self.seconds):.0f} s {'ahead of' if self.seconds > 0 else 'behind'} the database's"
        if self.refused:
            return (
                f"{told}: receivers would refuse what is signed by it, so this process works no lane. Set both by NTP"
            )
        return f"{told}. Set both by NTP"
