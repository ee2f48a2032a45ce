"""Looks at PostgreSQL from outside, several times a second: who owns which lane, who idles in a transaction, who deadlocks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg

from tests.chaos.facts import Link, connect

LOOK_SECONDS = 0.2
IDLE_SECONDS = 2.0  # a transaction that waits for its replica that long is open across something it must not be
LANES = "SELECT kind, key, owner FROM lanes"
IDLE = """
    SELECT usename, extract(epoch FROM clock_timestamp() - state_change)::float8, left(query, 200) FROM pg_stat_activity
     WHERE state LIKE 'idle in transaction%' AND datname = current_database() AND clock_timestamp() - state_change > interval '1 second'
"""
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
GONE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

Place = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A lane that has another owner than before; None: nobody. Owners by the process id of their replica's life."""

    at: float
    lane: Place
    before: int | None
    after: int | None


@dataclass(slots=True)
class Watchman:
    """`excused`: whether this role may idle just now, because it cannot help it."""

    url: str
    excused: Callable[[str], bool] = lambda role: False
    owners: dict[Place, int | None] = field(default_factory=dict)
    handovers: list[Handover] = field(default_factory=list)
    deadlocks: int = 0
    idled: list[str] = field(default_factory=list)
    excused_idling: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    _counted: int = 0
    _watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watchman:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._watching is not None
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    def owned_by(self, pid: int) -> set[Place]:
        return {lane for lane, owner in self.owners.items() if owner == pid}

    def taken_over(self, pid: int, at: float, since: float) -> list[tuple[Place, float]]:
        """Of the lanes that this life owned at a moment: who got another owner, and how long after `since` that was seen."""
        waiting: set[Place] = set()
        found = []
        for one in self.handovers:
            if one.at <= at:
                waiting.add(one.lane) if one.after == pid else waiting.discard(one.lane)
            elif one.lane in waiting and one.after not in (None, pid):
                waiting.discard(one.lane)
                found.append((one.lane, max(0.0, one.at - since)))
        return found

    async def _watch(self) -> None:
        link: Link | None = None
        try:
            while True:
                try:
                    link = link or await connect(self.url)
                    async with asyncio.timeout(5):
                        await self._look(link)
                except GONE:
                    if link is not None:
                        link.terminate()
                    link = None
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            if link is not None:
                link.terminate()

    async def _look(self, link: Link) -> None:
        now = time.time()
        for kind, key, owner in await link.fetch(LANES):
            lane, pid = (kind, key), pid_of(owner)
            if (before := self.owners.get(lane)) != pid:
                self.owners[lane] = pid
                self.handovers.append(Handover(at=now, lane=lane, before=before, after=pid))
        for role, seconds, query in await link.fetch(IDLE):
            if self.excused(role):
                self.excused_idling[role] += 1
            elif seconds > IDLE_SECONDS:
                self.idled.append(f"{role} idle in a transaction for {seconds:.1f} s after: {query}")
        counted = int(await link.fetchval(DEADLOCKS))
        if counted < self._counted:  # a crash forgets what was counted
            self._counted = 0
        self.deadlocks += counted - self._counted
        self._counted = counted
        self.looks += 1


def pid_of(owner: str | None) -> int | None:
    """An owner is `<process id>-<random>`."""
    return None if owner is None else int(owner.partition("-")[0])
