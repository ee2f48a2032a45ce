"""Pages of deliveries, newest first, at a cost that stays when millions are stored.

What is pending or was given up is found through the small indexes that exist for it. The rest is walked along the project's index, which
also holds the endpoint: an index by endpoint of its own made storing and settling a sixth slower with 50 endpoints and a third with
1000 (measured: each commit then touches a page for each endpoint).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.listings import BEHIND_ALL, DELIVERY_COLUMNS, delivery_of
from storage.records import Delivery, DeliveryStatus, light

LOOK = 50_000  # what a page looks at, at most: where a filter rarely fits, it is short and says where to go on
SORTED = 5_000  # pending ones that are put in order by hand; more of them are walked to
GIVEN_UP: Final = (DeliveryStatus.EXHAUSTED, DeliveryStatus.CANCELED, DeliveryStatus.QUARANTINED)

# CROSS JOIN keeps SQLite at this order: the index alone is walked, and a row is read when its endpoint fits.
WALK = select(
    DELIVERY_COLUMNS,
    """
      FROM deliveries w CROSS JOIN deliveries d
     WHERE w.project_id = :project_id AND w.id < :after AND w.id >= :floor AND d.id = w.id
       AND (CAST(:endpoint AS TEXT) IS NULL OR w.endpoint_id = :endpoint)
       AND (CAST(:status AS TEXT) IS NULL OR d.status = :status)
     ORDER BY w.id DESC
     LIMIT :batch
""",
)
FLOOR = """
    SELECT count(*), min(id) FROM (
        SELECT id FROM deliveries WHERE project_id = :project_id AND id < :after ORDER BY id DESC LIMIT :look) AS looked
"""

PENDING = """
    SELECT id FROM (
        SELECT d.id FROM endpoints e CROSS JOIN deliveries d
         WHERE e.project_id = :project_id AND e.deleted_at IS NULL AND (CAST(:endpoint AS TEXT) IS NULL OR e.id = :endpoint)
           AND d.endpoint_id = e.id AND d.status = 'pending' AND d.attempts = 0
         LIMIT :most) AS firsts
    UNION ALL
    SELECT id FROM (
        SELECT d.id FROM endpoints e CROSS JOIN deliveries d
         WHERE e.project_id = :project_id AND e.deleted_at IS NULL AND (CAST(:endpoint AS TEXT) IS NULL OR e.id = :endpoint)
           AND d.endpoint_id = e.id AND d.status = 'pending' AND d.attempts > 0
         LIMIT :most) AS agains
"""
BY_IDS = select(
    DELIVERY_COLUMNS,
    """
      FROM deliveries d
     WHERE d.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
       AND d.project_id || '' = :project_id
     ORDER BY d.id DESC
""",
)

FAILED = select(
    DELIVERY_COLUMNS,
    """
      FROM deliveries d
     WHERE d.project_id = :project_id AND d.due_at IS NULL AND d.status <> 'delivered'
       AND d.status = :status AND d.endpoint_id = :endpoint AND d.id < :after
     ORDER BY d.id DESC
     LIMIT :batch
""",
)
# From one endpoint to the next in the index of what was given up, each with its newest: those without any cost nothing.
FAILING = """
    WITH RECURSIVE failing (endpoint_id) AS (
        SELECT min(d.endpoint_id) FROM deliveries d
         WHERE d.project_id = :project_id AND d.due_at IS NULL AND d.status <> 'delivered' AND d.status = :status
        UNION ALL
        SELECT (SELECT min(d.endpoint_id) FROM deliveries d
                 WHERE d.project_id = :project_id AND d.due_at IS NULL AND d.status <> 'delivered' AND d.status = :status
                   AND d.endpoint_id > f.endpoint_id)
          FROM failing f WHERE f.endpoint_id IS NOT NULL
    )
    SELECT f.endpoint_id,
           (SELECT max(d.id) FROM deliveries d
             WHERE d.project_id = :project_id AND d.due_at IS NULL AND d.status <> 'delivered' AND d.status = :status
               AND d.endpoint_id = f.endpoint_id AND d.id < :after)
      FROM failing f WHERE f.endpoint_id IS NOT NULL
"""

NARROWED: LiteralString = """
       AND d.project_id || '' = :project_id AND d.id < :after
       AND (CAST(:status AS TEXT) IS NULL OR d.status = :status)
       AND (CAST(:endpoint AS TEXT) IS NULL OR d.endpoint_id = :endpoint)
       AND (CAST(:task AS TEXT) IS NULL OR d.task_id = :task)
     ORDER BY d.id DESC
     LIMIT :batch
"""
OF_EVENT = select(DELIVERY_COLUMNS, "FROM deliveries d WHERE d.event_id = :event" + NARROWED)
OF_TASK = select(
    DELIVERY_COLUMNS,
    """
      FROM deliveries d
     WHERE d.event_id IN (SELECT e.id FROM events e WHERE e.task_id = :task)"""  # noqa: S608 (literals of ours)
    + NARROWED,
)


@light(frozen=True, slots=True)
class Wanted:
    """Which deliveries. None: of any."""

    status: str | None = None
    endpoint: str | None = None
    event: str | None = None
    task: str | None = None


@light(frozen=True, slots=True)
class Page:
    """`next`: the id to go on from; None when there is nothing further. A page may be short, even empty, and have one."""

    deliveries: list[Delivery]
    next: str | None = None


async def page(tx: Connection, project_id: str, wanted: Wanted, *, after: str | None, limit: int) -> Page:
    """Deliveries older than the id `after`, newest first."""
    params: dict[str, object] = {
        "project_id": project_id,
        "after": after or BEHIND_ALL,
        "status": wanted.status,
        "endpoint": wanted.endpoint,
        "batch": limit + 1,
    }
    if wanted.event is not None:
        return _cut(await _fetch(tx, OF_EVENT, {**params, "event": wanted.event, "task": wanted.task}), limit)
    if wanted.task is not None:
        return _cut(await _fetch(tx, OF_TASK, {**params, "task": wanted.task}), limit)
    if wanted.status in GIVEN_UP:
        found = await _failed(tx, params, wanted.endpoint, limit + 1)
        return _cut(found, limit)
    if wanted.status == DeliveryStatus.PENDING:
        pending = await tx.fetch(PENDING, {**params, "most": SORTED})
        if len(pending) < SORTED:
            ids = sorted((str(id) for (id,) in pending if str(id) < str(params["after"])), reverse=True)[: limit + 1]
            return _cut(await _fetch(tx, BY_IDS, {"ids": ids, "project_id": project_id}), limit)
    return await _walk(tx, params, limit)


async def _walk(tx: Connection, params: Mapping[str, object], limit: int) -> Page:
    """Along the project's deliveries, as far as one page looks; near by first, where most pages end."""
    if params["endpoint"] is None and params["status"] is None:
        return _cut(await _fetch(tx, WALK, {**params, "floor": ""}), limit)
    cut = Page([])
    for look in (-(-LOOK // 50), LOOK):
        [(count, last)] = await tx.fetch(FLOOR, {**params, "look": look})
        floor = str(last) if count == look else ""
        cut = _cut(await _fetch(tx, WALK, {**params, "floor": floor}), limit)
        if cut.next is not None or not floor:
            return cut
    return Page(cut.deliveries, floor)


async def _failed(tx: Connection, params: Mapping[str, object], endpoint: str | None, batch: int) -> list[Delivery]:
    """What was given up: of one endpoint, or merged from all that have any, begun with those whose newest is the newest."""
    if endpoint is not None:
        return await _fetch(tx, FAILED, params)
    heads = [(str(newest), str(id)) for id, newest in await tx.fetch(FAILING, params) if newest is not None]
    found: list[Delivery] = []
    for newest, id in sorted(heads, reverse=True):
        if len(found) == batch and found[-1].id > newest:
            break  # nothing of this one or a later one is newer
        found += await _fetch(tx, FAILED, {**params, "endpoint": id})
        found = sorted(found, key=lambda one: one.id, reverse=True)[:batch]
    return found


async def _fetch(tx: Connection, text: LiteralString, params: Mapping[str, object]) -> list[Delivery]:
    return [delivery_of(row) for row in await tx.fetch(text, params)]


def _cut(found: list[Delivery], limit: int) -> Page:
    """The page, of which one row more than its limit was read."""
    kept = found[:limit]
    return Page(kept, kept[-1].id if len(found) > limit else None)
