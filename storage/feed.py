"""The feed: a project's events by position, an order in which nothing ever appears behind a reader.

What a position promises is kept here alone: who has read up to one has missed nothing before it. SQLite has one writer, which hands
positions out as it commits. On PostgreSQL every reader stops below the oldest transaction that may still write (storage/positions.py):
what stands behind it is *held*, until that transaction has ended, and nobody is given a place there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import Event

SCAN = 1000  # positions looked at in one stretch, wanted or not
SLACK = 60_000_000  # µs: events are committed almost, not quite, in the order of their instants
FIRST, LAST = -1, 2**62

COLUMNS: LiteralString = (
    "id, project_id, task_id, provider, model, type, sequence, created_at, body, hard, test, position, traceparent"
)
WANTED: LiteralString = """
       AND test = 0 AND created_at > :created_after
       AND (CAST(:every AS BIGINT) = 1
            OR type IN (SELECT /*sqlite:*/ value FROM json_each(:types) /*postgres: unnest(:types::text[]) */))
"""
SETTLED: LiteralString = "/*postgres: AND position < feed_bound() */"
STRETCH = """
    SELECT count(*), max(position),
           /*sqlite:*/ 0 /*postgres: EXISTS (SELECT 1 FROM events WHERE project_id = :project_id AND position >= feed_bound()) */
      FROM (
        SELECT position FROM events WHERE project_id = :project_id AND position > :after /*postgres: AND position < feed_bound() */
         ORDER BY position LIMIT :scan
    ) AS ahead
"""
EVENTS = select(
    COLUMNS,
    """
      FROM events
     WHERE project_id = :project_id AND position > :after AND position <= :until"""
    + WANTED
    + "ORDER BY position LIMIT :batch",
)
EVENTS_NEWEST = select(
    COLUMNS,
    """
      FROM events
     WHERE project_id = :project_id AND position < :before """
    + SETTLED
    + WANTED
    + "ORDER BY position DESC LIMIT :batch",
)
# A task has a handful of events: all of them are read, and the page is cut from them.
EVENTS_OF_TASK = select(
    COLUMNS,
    "FROM events WHERE task_id = :task AND project_id || '' = :project_id " + SETTLED + WANTED + "ORDER BY position",
)
EVENT = select(COLUMNS, "FROM events WHERE id = :id AND project_id || '' = :project_id")
NEWEST = """
    SELECT coalesce((SELECT max(position) FROM events WHERE project_id = :project_id /*postgres: AND position < feed_bound() */), 0),
           /*sqlite:*/ 0 /*postgres: EXISTS (SELECT 1 FROM events WHERE project_id = :project_id AND position >= feed_bound()) */
"""
BOUNDS = """
    SELECT coalesce((SELECT forgotten FROM projects WHERE id = :project_id), 0),
           coalesce((SELECT max(position) FROM events WHERE project_id = :project_id /*postgres: AND position < feed_bound() */), 0),
           coalesce((SELECT max(position) FROM events /*postgres: WHERE position < feed_bound() */), 0)
"""
NEXT = """
    SELECT position, created_at FROM events WHERE project_id = :project_id AND position > :after
     ORDER BY position LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted. `types`: empty for all. `created_after`: exclusive."""

    types: tuple[str, ...] = ()
    task: str | None = None
    created_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the feed that was read whole, and what was wanted of it. `end`: the position behind which to go on, `more`: at once.

    `held`: the project has events behind it that wait for another transaction to end; nobody rings then, so look again soon.
    """

    events: tuple[Event, ...]
    end: int
    more: bool
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Where a project's feed begins and ends. `forgotten`: what stands up to there is kept no more. `newest`: where it ends now.

    `last`: how far positions have got at all. One that lies ahead is of another database, or of this one before it was restored.
    """

    forgotten: int
    newest: int
    last: int


async def ahead(tx: Connection, project_id: str, wanted: EventFilter, *, after: int, limit: int) -> Stretch:
    """What follows the position `after`, oldest first: at most so many events, of at most `SCAN` positions."""
    if wanted.task is not None:
        end, held = await _newest(tx, project_id)
        found = [event for event in await _of_task(tx, project_id, wanted) if position(event) > after]
        cut = tuple(found[:limit])
        more = len(cut) < len(found)
        return Stretch(events=cut, end=position(cut[-1]) if more else max(end, after), more=more, held=held)
    rows: list[Any] = await tx.fetch(STRETCH, {"project_id": project_id, "after": after, "scan": SCAN})
    [(seen, until, held)] = rows
    if until is None:
        return Stretch(events=(), end=after, more=False, held=bool(held))
    params = {**_params(project_id, wanted), "after": after, "until": until, "batch": limit}
    events = tuple(from_row(row) for row in await tx.fetch(EVENTS, params))
    if len(events) == limit:
        return Stretch(events=events, end=position(events[-1]), more=True, held=bool(held))
    return Stretch(events=events, end=until, more=seen == SCAN, held=bool(held))


async def page(tx: Connection, project_id: str, wanted: EventFilter, *, after: int, limit: int) -> Stretch:
    """As many events as the limit says, however far apart they lie, or all there are."""
    found: list[Event] = []
    while True:
        part = await ahead(tx, project_id, wanted, after=after, limit=limit - len(found))
        found += part.events
        after = part.end
        if not part.more or len(found) == limit:
            return Stretch(events=tuple(found), end=after, more=part.more, held=part.held)


async def newest_first(
    tx: Connection, project_id: str, wanted: EventFilter, *, before: int | None, limit: int
) -> list[Event]:
    """Events before a position, newest first; None: from the newest."""
    start = LAST if before is None else before
    if wanted.task is not None:
        found = [event for event in await _of_task(tx, project_id, wanted) if position(event) < start]
        return found[::-1][:limit]
    params = {**_params(project_id, wanted), "before": start, "batch": limit}
    return [from_row(row) for row in await tx.fetch(EVENTS_NEWEST, params)]


async def bounds(tx: Connection, project_id: str) -> Bounds:
    rows: list[Any] = await tx.fetch(BOUNDS, {"project_id": project_id})
    [(forgotten, newest, last)] = rows
    return Bounds(forgotten=forgotten, newest=max(newest, forgotten), last=max(last, forgotten))


async def place_of(tx: Connection, project_id: str, at: int) -> int:
    """A position behind which every event of a later instant lies, and few of an earlier one.

    Halving, because no index has the instants: each event would pay for it, and few readers ask.
    """
    low, (high, _) = 0, await _newest(tx, project_id)
    while low < high:
        middle = (low + high) // 2
        rows: list[Any] = await tx.fetch(NEXT, {"project_id": project_id, "after": middle})
        if rows[0][1] > at - SLACK:
            high = middle
        else:
            low = int(rows[0][0])
    return low


async def one(tx: Connection, event_id: str, project_id: str) -> Event | None:
    rows = await tx.fetch(EVENT, {"id": event_id, "project_id": project_id})
    return from_row(rows[0]) if rows else None


def from_row(row: Any) -> Event:
    return Event(
        id=row[0],
        project_id=row[1],
        task_id=row[2],
        provider=row[3],
        model=row[4],
        type=row[5],
        sequence=row[6],
        created_at=row[7],
        body=bytes(row[8]),
        hard=bool(row[9]),
        test=bool(row[10]),
        position=row[11],
        traceparent=row[12],
    )


def position(event: Event) -> int:
    """Where an event that was read stands. One that is being made stands nowhere yet."""
    assert event.position is not None
    return event.position


async def _newest(tx: Connection, project_id: str) -> tuple[int, bool]:
    rows: list[Any] = await tx.fetch(NEWEST, {"project_id": project_id})
    return rows[0][0], bool(rows[0][1])


async def _of_task(tx: Connection, project_id: str, wanted: EventFilter) -> list[Event]:
    params = {**_params(project_id, wanted), "task": wanted.task}
    return [from_row(row) for row in await tx.fetch(EVENTS_OF_TASK, params)]


def _params(project_id: str, wanted: EventFilter) -> dict[str, object]:
    return {
        "project_id": project_id,
        "created_after": FIRST if wanted.created_after is None else wanted.created_after,
        "every": int(not wanted.types),
        "types": list(wanted.types),
    }
