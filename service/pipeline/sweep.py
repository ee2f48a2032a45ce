"""Step 5 of the flow: what nobody else looks after. Deadlines of tasks without an account, lanes left without a time, leases that ended."""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.ledger import Ledger
from service.pipeline.operations import EXPIRED, disable
from service.pipeline.recorder import Recorder
from service.telemetry import metrics
from storage import account_tasks, endpoints, lanes
from storage.database import Connection, Database, apart

log = logging.getLogger("taskrelay.sweep")

SECOND = 1_000_000
BATCH = 500
GRACE_SECONDS = 60.0  # an account's own lane looks at its tasks at their deadline; this is for those it did not


class Sweep:
    """Run every half minute."""

    def __init__(self, database: Database, recorder: Recorder, *, clock: Callable[[], int]) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock

    async def run_once(self) -> int:
        """Returns how many tasks the reminder of their deadline changed, lanes were mended and endpoints disabled: with 0 it rests.

        A task whose provider is still being asked stays overdue for a while; counted, it would be swept without a pause.
        """
        before = self._clock() - int(GRACE_SECONDS * SECOND)
        overdue = await self._database.read(lambda tx: account_tasks.overdue(tx, before=before, batch=BATCH))
        changed = 0
        if overdue:
            recorded = await self._recorder.record_all(
                [
                    Observation(
                        task_id=task_id,
                        source=Source.DEADLINE,
                        reading=Reading(claim=Claim.OVERDUE),
                        at=self._clock(),
                    )
                    for task_id in overdue
                ]
            )
            changed = sum(one.outcome is Outcome.CHANGED for one in recorded)
        expired = await self._expire()  # first: a lane whose lease is over has rows and rightly no time
        mended = await self._database.write(apart(lanes.mend))
        metrics.lanes_mended.labels().inc(len(mended))
        for key in mended:
            log.error("lane %s had work and no time: mended; please report this", key)
        return changed + len(mended) + expired

    async def _expire(self) -> int:
        """End the leases that are over."""
        now = self._clock()
        if not await self._database.read(lambda tx: endpoints.any_expired(tx, now=now)):
            return 0

        async def unit(tx: Connection, ledger: Ledger) -> int:
            over = await endpoints.lock_expired(tx, now=now, batch=BATCH)
            for endpoint in over:
                await disable(tx, ledger, endpoint, EXPIRED)
            return len(over)

        return await self._recorder.write(unit)
