"""Two replicas on one PostgreSQL that keep dying: whoever is left takes the lanes over when their leases end."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

from service.cli.demo.stage import free_port
from tests.kill.facts import Facts, read
from tests.kill.installation import STOP_AFTER_SECONDS, Installation
from tests.kill.nursery import Life, Nursery
from tests.kill.plan import RELEASES, STOPS, Kill, Plan
from tests.outside import Outside

# An attempt that a machine which stands still makes too late is made again, and nobody died: so there is room in its limit.
LEASES = {
    "TASKRELAY_TIMING__LANE_TTL_SECONDS": "12",
    "TASKRELAY_TIMING__HEARTBEAT_SECONDS": "0.5",
    "TASKRELAY_TIMING__ATTEMPT_TIMEOUT_SECONDS": "4",
    "TASKRELAY_TIMING__QUERY_TIMEOUT_SECONDS": "4",
}
TAKE_OVER_SECONDS = 16.0  # a lease, and time to notice
LOOK_SECONDS = 0.2
OWNED = "SELECT count(*) FROM lanes WHERE owner LIKE '{}-%'"


class Pair(Installation):
    """The stage of one plan, whose kills the two share: the next one is for whoever starts next."""

    def __init__(self, plan: Plan, folder: Path, nursery: Nursery, url: str) -> None:
        # Nobody is ever without work here; what is reached then, one replica alone reaches.
        kills = [replace(kill, point=None, seconds=0.5) if kill.point in RELEASES else kill for kill in plan.kills]
        super().__init__(replace(plan, kills=tuple(kills)), folder, nursery, url)
        self._ports = (self.port, free_port())
        self.client.urls = tuple(f"http://127.0.0.1:{port}" for port in self._ports)

    async def _lives(self) -> None:
        kills = deque(self.plan.kills)

        async def at(port: int) -> None:
            while kills and not self.result.violations:
                await self._life(kills.popleft(), port)

        await asyncio.gather(*map(at, self._ports))

    async def _until_dead(self, kill: Kill, life: Life) -> int | None:
        """Whoever owns nothing passes few fail-points, so one that shall die at any moment dies once it owns something."""
        owning = await self._owns(life)
        if kill.point is not None:
            if kill.point in STOPS:
                await life.wait(STOP_AFTER_SECONDS)
                life.signal(self.STOP)
            return await life.wait(kill.seconds)
        return await life.wait(kill.seconds if owning else 0)

    async def _owns(self, life: Life) -> bool:
        """Wait until it has a lane, or has died, or will have none for long."""
        give_up_at = time.monotonic() + TAKE_OVER_SECONDS
        with Outside(self.url) as database:
            while time.monotonic() < give_up_at and not life.over:
                if database.rows(OWNED.format(life.pid)) != [(0,)]:
                    self.result.counts["take-overs"] += 1
                    return True
                await life.wait(LOOK_SECONDS)
        return False

    async def _left(self) -> Facts:
        return read(self.url)

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), **LEASES}
