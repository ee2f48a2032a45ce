"""The restore drill: before a copy of the database serves, everything that may have been bought since is put in doubt.

Without it the first turn of every lane would buy again what an unremembered life has bought. Told as observations, like all
else; the account lanes then look for the jobs, and what is not found goes its usual way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Reading, Source
from service.core.restoring import since
from service.core.times import DAY, SECOND, iso
from service.pipeline.recorder import Recorder
from storage import restores
from storage.database import Database

log = logging.getLogger("taskrelay.drill")

BATCH = 500
EVENTS_A_SECOND = 10_000  # no life of this service has told more


async def drill(database: Database, recorder: Recorder, *, clock: Callable[[], int]) -> int | None:
    """Returns how many tasks are in doubt; None when the database is no copy. To be run before anything may be bought.

    Whoever dies in it begins again: the mark goes when all is durable, and what is told twice changes nothing more.
    """
    copied_at = await database.read(restores.copied_at)
    if copied_at is None:
        return None
    reading = Reading(claim=Claim.RESTORED, detail=since(copied_at))
    doubted, after = 0, restores.BEFORE_ALL
    while found := await database.read(lambda tx: restores.unbought(tx, after=after, batch=BATCH)):  # noqa: B023
        told = [
            Observation(task_id=task_id, source=Source.OPERATOR, reading=reading, at=clock()) for _, task_id in found
        ]
        recorded = await recorder.record_all(told)
        doubted += sum(one.outcome is not Outcome.IGNORED for one in recorded)
        after = found[-1]
    places = EVENTS_A_SECOND * (max(clock() - copied_at, 0) // SECOND + DAY // SECOND)
    if not await database.write(lambda tx: restores.clear(tx, places=places)):
        return doubted  # another replica was first, and may be buying by now: what we told since did not count
    log.warning(
        "this database is a copy made at %s: %d tasks may have been bought since, and are looked for first; "
        "pushes of tasks made since are kept: taskrelay db orphans",
        iso(copied_at),
        doubted,
    )
    return doubted
