"""What other replicas do reaches this one: by their hints, and by looking, which finds what no hint told.

A look is two or three small reads for the whole process, however many lanes it owns and requests wait: every quarter second while
hints do not reach us, every few seconds while they do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from service.core.lifecycle import Outcome
from service.pipeline.lanes import Lanes
from service.pipeline.ledger import Batch, LaneKey
from service.pipeline.watch import Watch, rest
from storage import changes
from storage.database import Database
from storage.errors import StorageError
from storage.records import LaneKind
from storage.wakeups import Hint, Wakeups

log = logging.getLogger("taskrelay.neighbours")

SECOND, MILLISECOND = 1_000_000, 1_000
LOOK_SECONDS = 0.25  # at most, while hints do not reach us
LOOK_RARELY_SECONDS = 5.0
PAUSE_SECONDS = 0.05  # between two looks at least
KINDS = {kind.value: kind for kind in LaneKind}


class Neighbours:
    """`works`: whether this replica owns lanes. `chance`: from 0 to 1, spreads the looks of replicas."""

    def __init__(
        self,
        database: Database,
        wakeups: Wakeups,
        lanes: Lanes,
        watch: Watch,
        *,
        works: bool,
        clock: Callable[[], int],
        chance: Callable[[], float],
    ) -> None:
        self._database = database
        self._wakeups = wakeups
        self._lanes = lanes
        self._watch = watch
        self._works = works
        self._clock = clock
        self._chance = chance
        self._asked = asyncio.Event()  # for a look
        self._seen: dict[str, int] = {}  # versions of what requests wait for

    # What happened here

    def committed(self, batch: Batch) -> None:
        """Tell the others of a commit."""
        if self._wakeups.alone:
            return
        changed = set(batch.told)
        for one in batch.recorded:
            if one.task is not None and one.outcome in (Outcome.CHANGED, Outcome.CONFLICT):
                changed |= {one.task.id, one.task.project_id}
        lanes = {key: at for key, at in batch.arrivals.items() if self._lanes.worker(key) is None}
        self._tell(lanes, changed)

    def rung(self, key: LaneKey, at: int) -> None:
        """Tell the others of a lane that something is to be done for, unless it is ours."""
        if not self._wakeups.alone and self._lanes.worker(key) is None:
            self._tell({key: at})

    def released(self, key: LaneKey, at: int) -> None:
        """Tell the others of a lane that anybody may take."""
        if not self._wakeups.alone:
            self._tell({key: at})

    def _tell(self, lanes: dict[LaneKey, int], changed: Iterable[str] = ()) -> None:
        now = self._clock()
        soon = {(kind.value, key): max(at - now, 0) // MILLISECOND for (kind, key), at in lanes.items()}
        ids = frozenset(changed)
        if soon or ids:
            self._wakeups.tell(Hint(lanes=soon, ids=ids))

    # What happened elsewhere

    async def run(self) -> None:
        """Listen and look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wakeups.run(self.heard))
            group.create_task(self._look_on())

    def heard(self, hint: Hint) -> None:
        """Wake whom it concerns. A hint may be wrong: whoever is woken looks at the rows."""
        if hint.everything:
            self._asked.set()
        if self._works:
            now = self._clock()
            for (kind, key), soon in hint.lanes.items():
                if kind in KINDS:
                    self._lanes.ring((KINDS[kind], key), now + soon * MILLISECOND)
        self._watch.changed(hint.ids)

    async def _look_on(self) -> None:
        while True:
            self._asked.clear()
            try:
                await self.look()
            except StorageError as error:
                log.error("what other replicas did is not known: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)
            span = LOOK_RARELY_SECONDS if self._wakeups.alive else LOOK_SECONDS
            await rest(self._asked, span * (0.6 + 0.4 * self._chance()) - PAUSE_SECONDS)

    async def look(self) -> None:
        """Find what happened without a hint."""
        if self._works:
            await self._lanes.look()
        wanted = self._watch.wanted
        seen = await self._database.read(lambda tx: changes.versions(tx, wanted)) if wanted else {}
        # Also for who began to wait since the last look: what they saw may be older than this.
        self._watch.changed({key for key, version in seen.items() if version != self._seen.get(key)})
        self._seen = seen
