"""What one replica does for all: sweep, retention, judging silence. The first to come has the turn, the others rest.

Not for correctness, since each of these may be done twice at once: three replicas that remove the same rows only wait for each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from storage import duties
from storage.database import Connection, Database

KEPT = 0.9  # of the span between two turns: who had the last is not always the next


class Duties:
    """`alone`: there is no other replica, and nothing to agree on."""

    def __init__(self, database: Database, *, owner: str, clock: Callable[[], int], alone: bool) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._alone = alone

    def in_turn(
        self, name: str, run_once: Callable[[], Awaitable[int]], every_seconds: float
    ) -> Callable[[], Awaitable[int]]:
        """The same duty, done only by whoever has the turn. A replica that dies in it is followed at the next."""

        async def run() -> int:
            return await run_once() if await self._take(name, every_seconds * KEPT) else 0

        return run_once if self._alone else run

    async def _take(self, name: str, seconds: float) -> bool:
        now = self._clock()
        holder = await self._database.read(lambda tx: duties.taken(tx, name, now=now))
        if holder not in (None, self._owner):
            return False

        async def unit(tx: Connection) -> bool:
            return await duties.take(tx, name, owner=self._owner, now=now, seconds=seconds)

        return await self._database.write(unit)
