"""Is anything missing? Holds what is owed and bought against what is there, beside a serving process, stretch by stretch.

The result rests on what was stored when things happened and not on what the flow remembers: subscriptions as they were by their
place in the feed (`storage.subscriptions`), replies as they came, the ends as they were told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from service.core import ids
from service.core.times import DAY
from service.pipeline import audit_books, audit_deliveries, audit_jobs
from service.pipeline.audit_part import Part
from service.providers.base import Provider
from storage import replays
from storage.database import Connection, Database

MOST = 5_000  # events, tasks and pushes looked at in one stretch: what one request may take
LONGEST_LIFE = 7 * DAY  # no task's deadline is further from its making
EVENTS, TASKS, ORPHANS = STAGES = ("events", "tasks", "orphans")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on: behind `after` of one of the stages."""

    stage: str
    after: str

    def __str__(self) -> str:
        return f"{self.stage} {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is looked at: one project, from an instant on (0: from the beginning), with or without the pushes nobody owns."""

    project_id: str
    providers: Mapping[str, Provider]
    since: int = 0
    orphans: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        return STAGES if self.orphans else STAGES[:-1]


async def stretch(database: Database, scope: Scope, place: Place | None = None) -> tuple[Part, Place | None]:
    """Look at the next few thousand. Returns what came of them, and where to go on: None when nothing is left."""
    at = place or await _beginning(database, scope, EVENTS)
    whole, looked_at = Part(), 0
    while looked_at < MOST:
        part, count, after = await _page(database, scope, at)
        whole.add(part)
        looked_at += count
        if count:
            at = Place(at.stage, after)
            continue
        following = scope.stages[scope.stages.index(at.stage) + 1 :]
        if not following:
            return whole, None
        at = await _beginning(database, scope, following[0])
    return whole, at


async def all_of(database: Database, scope: Scope) -> AsyncIterator[Part]:
    """Every stretch from the beginning to the end."""
    part, place = await stretch(database, scope)
    yield part
    while place is not None:
        part, place = await stretch(database, scope, place)
        yield part


async def _page(database: Database, scope: Scope, at: Place) -> tuple[Part, int, str]:
    async def unit(tx: Connection) -> tuple[Part, int, str]:
        if at.stage == EVENTS:
            part, count, last = await audit_deliveries.page(tx, scope.project_id, after=int(at.after))
            return part, count, str(last)
        if at.stage == TASKS:
            part, count, after = await audit_jobs.page(tx, scope.project_id, after=at.after, since=scope.since)
            return part if count else await audit_books.page(tx, scope.project_id), count, after
        return await audit_jobs.orphans(tx, scope.providers, after=at.after, since=scope.since)

    return await database.read(unit)


async def _beginning(database: Database, scope: Scope, stage: str) -> Place:
    if stage == EVENTS:
        if not scope.since:
            return Place(EVENTS, "0")
        return Place(EVENTS, str(await database.read(lambda tx: replays.before(tx, scope.project_id, scope.since))))
    if stage == TASKS and scope.since > LONGEST_LIFE:
        return Place(TASKS, f"{ids.TASK}_{ids.of_moment((scope.since - LONGEST_LIFE) // 1000)}")
    return Place(stage, "")
