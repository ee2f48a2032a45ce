"""Step 5 of the flow, last: what has been kept long enough goes, a little at a time and behind everything else.

In small units that share the writer with the callbacks, each followed by a rest several times as long as it took: a busy
database makes a unit wait, and so the rests longer. Nothing goes that can still change, that is still owed, or that the
history of a task that stays is made of.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from service.core import ids
from service.core.patience import LATE_VERDICT_SECONDS
from service.core.times import DAY, SECOND
from service.pipeline import books
from service.telemetry import metrics
from storage import retention
from storage.database import Database, Unit
from storage.retention import Window

log = logging.getLogger("taskrelay.retention")

T = TypeVar("T")

EVERY_SECONDS = 3_600.0
READ = 200  # rows looked at in one go
TASKS = 4  # taken away in one unit: with all that hangs on them about 100 rows, 2 to 4 ms
ROWS = 100  # of attempts and the like: 1 to 3 ms
ANSWERS_DAYS = 1  # at least, for whoever asks the same again
BUSY_SECONDS = 0.05  # a unit that took as long had to wait its turn
RESTS = 9  # each as long as the unit before it took: a tenth of the writer's time …
RESTS_WHEN_BUSY = 30  # … or less
LONGEST_REST_SECONDS = 2.0
WAITING = 20_000  # tasks that were looked at too early and are looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """For how many days; 0: for ever."""

    raw_days: int
    attempts_days: int
    tasks_days: int
    audit_days: int


class Retention:
    """Run every hour. Reads on a snapshot, removes in small units, remembers nothing that a restart would need."""

    def __init__(
        self,
        database: Database,
        keep: Keep,
        *,
        clock: Callable[[], int],
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`rest`: called after every unit with the seconds to leave to others."""
        self._database = database
        self._keep = keep
        self._clock = clock
        self._rest = rest
        self._stripped = ""  # every task up to this id was looked at for raw payloads …
        self._unstripped: dict[str, None] = {}  # … besides these, which had not ended long enough ago

    async def run_once(self) -> int:
        """Take away all that is over by now. Always 0: whatever comes to be over next, an hour later is soon enough."""
        gone: Counter[str] = Counter()
        keep, began = self._keep, asyncio.get_running_loop().time()
        if keep.attempts_days:
            await self._attempts(self._since(keep.attempts_days), gone)
        if keep.raw_days:
            await self._raw(self._since(keep.raw_days), gone)
        if keep.tasks_days:
            await self._tasks(self._since(keep.tasks_days), gone)
            await self._told(self._since(keep.tasks_days), gone)
            await self._all("pushes of unknown tasks", keep.tasks_days, "cbk", retention.delete_orphans, gone)
        if keep.audit_days:
            await self._all("audit entries", keep.audit_days, "aud", retention.delete_audit, gone)
        delete_answers = partial(retention.delete_answers, now=self._clock())
        await self._all("kept answers", ANSWERS_DAYS, ids.ANSWER, delete_answers, gone)
        for what, count in gone.items():
            metrics.retention_removed.labels(what).inc(count)
        if any(gone.values()):
            told = ", ".join(f"{count:,} {what}" for what, count in gone.items() if count)
            log.info("retention took away %s in %.0f s", told, asyncio.get_running_loop().time() - began)
        return 0

    def _since(self, days: int) -> int:
        return self._clock() - days * DAY

    async def _tasks(self, before: int, gone: Counter[str]) -> None:
        settled_before = min(before, self._clock() - LATE_VERDICT_SECONDS * SECOND)
        window = Window(below=ids.floor("task", before), before=before, settled_before=settled_before)

        after = ""
        while found := await self._database.read(
            lambda tx: retention.tasks_over(tx, window, after=after, batch=READ)  # noqa: B023
        ):
            after = found[-1][0]
            for some in _by(TASKS, [task_id for task_id, over in found if over]):
                going = partial(retention.delete_tasks, ids=some, window=window, forget=books.forget)
                gone["tasks"] += await self._write(going)

    async def _raw(self, before: int, gone: Counter[str]) -> None:
        """Forward from where the last run came to; whatever was not over then is looked at again, by its id."""
        again = list(self._unstripped)
        for some in _by(READ, again):
            looked = await self._database.read(partial(retention.ended_of, ids=some, before=before))
            waiting = {task_id for task_id, over, _ in looked if not over}
            for task_id in some:
                if task_id not in waiting:
                    self._unstripped.pop(task_id, None)
            await self._strip([task_id for task_id, over, raw in looked if over and raw], gone)
        below = ids.floor("task", before)
        async for looked in self._pages_of_ended(before, below):
            waiting_now = [task_id for task_id, over, _ in looked if not over]
            if len(self._unstripped) + len(waiting_now) > WAITING:
                return  # looked at in a later run
            self._unstripped |= dict.fromkeys(waiting_now)
            await self._strip([task_id for task_id, over, raw in looked if over and raw], gone)
            self._stripped = looked[-1][0]

    async def _pages_of_ended(self, before: int, below: str) -> AsyncIterator[list[tuple[str, bool, bool]]]:
        after = self._stripped
        while looked := await self._database.read(
            lambda tx: retention.ended(tx, before=before, below=below, after=after, batch=READ)  # noqa: B023
        ):
            after = looked[-1][0]
            yield looked

    async def _strip(self, ids: Sequence[str], gone: Counter[str]) -> None:
        for some in _by(TASKS * 4, ids):
            gone["raw payloads"] += await self._write(partial(retention.strip, ids=some))

    async def _attempts(self, before: int, gone: Counter[str]) -> None:
        below, after = ids.floor("dlv", before), ("", 0)
        while found := await self._database.read(
            lambda tx: retention.attempts(tx, before=before, below=below, after=after, batch=READ)  # noqa: B023
        ):
            after = found[-1][:2]
            for some in _by(ROWS, [(delivery, number) for delivery, number, over in found if over]):
                gone["attempts"] += await self._write(partial(retention.delete_attempts, which=some))

    async def _told(self, before: int, gone: Counter[str]) -> None:
        """The feed from its beginning up to the first event that is young."""
        after, young = 0, False
        while not young and (
            found := await self._database.read(
                lambda tx: retention.told(tx, before=before, after=after, batch=READ)  # noqa: B023
            )
        ):
            after, young = found[-1].position, not found[-1].old
            for some in _by(ROWS // 4, [one for one in found if one.old and one.over]):
                gone["events"] += await self._write(partial(retention.delete_told, which=some))

    async def _all(
        self,
        what: str,
        days: int,
        prefix: str,
        delete: Callable[..., Awaitable[int]],
        gone: Counter[str],
    ) -> None:
        below = ids.floor(prefix, self._since(days))
        while count := await self._write(lambda tx: delete(tx, below=below, batch=ROWS)):
            gone[what] += count
            if count < ROWS:
                return

    async def _write(self, unit: Unit[int]) -> int:
        """One small unit, and then time for everybody else."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        count = await self._database.write(unit)
        took = loop.time() - began
        rests = RESTS_WHEN_BUSY if took > BUSY_SECONDS else RESTS
        await self._rest(min(took * rests, LONGEST_REST_SECONDS))
        return count


def _by(size: int, items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
