"""What has been kept long enough, and its removal. Every list is a range of ids or places, oldest first: ids begin with their
moment, so what is old stands together, and no index is kept for a search that nobody waits for.

Whatever is decided while reading is decided again in the statement that removes: in between, a person may have asked for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from storage.database import Connection
from storage.records import light

# OFFSET 0, here and below: else PostgreSQL, which does not think of the LIMIT there, reads the whole table of what may exist, once for
# each batch. Of 300,000 rows that took 50 ms, and of very many longer than a statement may take.

# Not even an old task: one that may still change, or is still owed to somebody.
TASKS = """
    SELECT t.id,
           t.finished_at IS NOT NULL AND t.finished_at <= :before
           AND (t.final_at IS NOT NULL OR t.finished_at <= :settled_before)
           AND NOT EXISTS (SELECT 1 FROM events e JOIN deliveries d ON d.event_id = e.id
                            WHERE e.task_id = t.id AND d.status = 'pending' /*postgres: OFFSET 0 */)
      FROM tasks t
     WHERE t.id > :after AND t.id < :below
     ORDER BY t.id
     LIMIT :batch
"""

# What is judged must stay so: a push, a replay and a retry each lock one of these before they make anything of it.
LOCK_TASKS = """
    SELECT t.id FROM tasks t
     WHERE t.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
     ORDER BY t.id /*postgres: FOR UPDATE */
"""

LOCK_EVENTS_OF = """
    SELECT e.id FROM events e
     WHERE e.task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
     ORDER BY e.id /*postgres: FOR UPDATE */
"""

LOCK_EVENTS = """
    SELECT e.id FROM events e
     WHERE e.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
     ORDER BY e.id /*postgres: FOR UPDATE */
"""

LOCK_DELIVERIES = """
    SELECT d.id FROM deliveries d
     WHERE d.event_id IN (SELECT /*sqlite:*/ value FROM json_each(:events) /*postgres: unnest(:events::text[]) */)
     ORDER BY d.id /*postgres: FOR UPDATE */
"""

OVER = """
    SELECT t.id FROM tasks t
     WHERE t.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
       AND t.finished_at IS NOT NULL AND t.finished_at <= :before
       AND (t.final_at IS NOT NULL OR t.finished_at <= :settled_before)
       AND NOT EXISTS (SELECT 1 FROM events e JOIN deliveries d ON d.event_id = e.id
                        WHERE e.task_id = t.id AND d.status = 'pending')
"""

FORGET = """
    UPDATE projects SET forgotten = :position WHERE id = :project_id AND forgotten < :position
"""

FORGOTTEN = "SELECT forgotten FROM projects WHERE id = :project_id"

LAST_OF_TASKS = """
    SELECT e.project_id, max(e.position) FROM events e
     WHERE e.task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */) AND e.test = 0
     GROUP BY e.project_id
"""

DELETE_ATTEMPTS_OF = """
    DELETE FROM attempts WHERE delivery_id IN (
        SELECT d.id FROM events e JOIN deliveries d ON d.event_id = e.id
         WHERE e.task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */))
"""

DELETE_DELIVERIES_OF = """
    DELETE FROM deliveries WHERE event_id IN (
        SELECT e.id FROM events e
         WHERE e.task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */))
"""

DELETE_EVENTS_OF = """
    DELETE FROM events WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

DELETE_OBSERVATIONS_OF = """
    DELETE FROM observations WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

DELETE_TIMELINE_OF = """
    DELETE FROM timeline WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

DELETE_SUBMISSIONS_OF = """
    DELETE FROM submissions WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

BOOKED_OF = """
    SELECT project_id, booked FROM tasks
     WHERE id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */) AND booked IS NOT NULL
"""

DELETE_TASKS = """
    DELETE FROM tasks WHERE id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

# Raw payloads. Those of a task that goes on are what a person looks at who asks why.
ENDED = """
    SELECT t.id, t.finished_at IS NOT NULL AND t.finished_at <= :before,
           EXISTS (SELECT 1 FROM observations o WHERE o.task_id = t.id AND o.raw IS NOT NULL /*postgres: OFFSET 0 */)
      FROM tasks t
     WHERE t.id > :after AND t.id < :below
     ORDER BY t.id
     LIMIT :batch
"""

ENDED_OF = """
    SELECT t.id, t.finished_at IS NOT NULL AND t.finished_at <= :before,
           EXISTS (SELECT 1 FROM observations o WHERE o.task_id = t.id AND o.raw IS NOT NULL /*postgres: OFFSET 0 */)
      FROM tasks t
     WHERE t.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
     ORDER BY t.id
"""

STRIP = """
    UPDATE observations SET raw = NULL
     WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
       AND raw IS NOT NULL
 RETURNING id
"""

ATTEMPTS = """
    SELECT a.delivery_id, a.number,
           a.at <= :before
           AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = a.delivery_id AND d.status = 'pending' /*postgres: OFFSET 0 */)
      FROM attempts a
     WHERE (a.delivery_id, a.number) > (:delivery_id, :number) AND a.delivery_id < :below
     ORDER BY a.delivery_id, a.number
     LIMIT :batch
"""

DELETE_ATTEMPT = """
    DELETE FROM attempts
     WHERE delivery_id = :delivery_id AND number = :number
       AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = :delivery_id AND d.status = 'pending')
 RETURNING delivery_id
"""

# Events of no task: of endpoints, of accounts, and tests.
EVENTS = """
    SELECT e.position, e.id, e.project_id, e.test, e.created_at <= :before,
           e.task_id IS NULL
           AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = e.id AND d.status = 'pending' /*postgres: OFFSET 0 */)
      FROM events e
     WHERE e.position > :after
     ORDER BY e.position
     LIMIT :batch
"""

DELETE_ATTEMPTS_OF_EVENTS = """
    DELETE FROM attempts WHERE delivery_id IN (
        SELECT d.id FROM deliveries d
         WHERE d.event_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */))
"""

DELETE_DELIVERIES_OF_EVENTS = """
    DELETE FROM deliveries WHERE event_id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

DELETE_EVENT = """
    DELETE FROM events
     WHERE id = :id AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = :id AND d.status = 'pending')
 RETURNING position
"""

DELETE_ORPHANS = """
    DELETE FROM callbacks WHERE id IN (SELECT c.id FROM callbacks c WHERE c.id < :below ORDER BY c.id LIMIT :batch)
 RETURNING id
"""

DELETE_AUDIT = """
    DELETE FROM audit WHERE id IN (SELECT a.id FROM audit a WHERE a.id < :below ORDER BY a.id LIMIT :batch)
 RETURNING id
"""

# However short tasks are kept: as long as one is open, its creation may be asked for again.
DELETE_ANSWERS = """
    DELETE FROM answers WHERE id IN (
        SELECT a.id FROM answers a
         WHERE a.id < :below AND a.keep_until <= :now
           AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = a.task_id AND t.finished_at IS NULL)
         ORDER BY a.id LIMIT :batch)
 RETURNING id
"""


Forget: TypeAlias = Callable[[Connection, Sequence[tuple[str, str]]], Awaitable[None]]


@light(frozen=True, slots=True, kw_only=True)
class Window:
    """Which tasks are over. `below`: no id from here on is old enough; `before`: they ended until then; `settled_before`: the
    same for an end that was not final."""

    below: str
    before: int
    settled_before: int


@light(frozen=True, slots=True, kw_only=True)
class Told:
    """An event of no task. `old`: long enough in the feed; `over`: nobody is owed it any more."""

    position: int
    id: str
    project_id: str
    test: bool
    old: bool
    over: bool


async def forgotten(tx: Connection, project_id: str) -> int:
    """The highest position of a project's feed that was taken away; 0 when none was."""
    rows: list[Any] = await tx.fetch(FORGOTTEN, {"project_id": project_id})
    return int(rows[0][0]) if rows else 0


async def tasks_over(tx: Connection, window: Window, *, after: str, batch: int) -> list[tuple[str, bool]]:
    """The next tasks behind an id, and of each whether it is over."""
    rows = await tx.fetch(TASKS, {**_of(window), "below": window.below, "after": after, "batch": batch})
    return [(str(task_id), bool(over)) for task_id, over in rows]


async def delete_tasks(tx: Connection, ids: Sequence[str], window: Window, forget: Forget | None = None) -> int:
    """Take away tasks, as far as they are over, with all that was said of them but the audit. Returns how many.

    `forget`: told first of those that stand in a project's books, by project and how.
    """
    await tx.fetch(LOCK_TASKS, {"ids": list(ids)})
    await _lock_deliveries(tx, await tx.fetch(LOCK_EVENTS_OF, {"ids": list(ids)}))
    over = [str(row[0]) for row in await tx.fetch(OVER, {**_of(window), "ids": list(ids)})]
    if not over:
        return 0
    those = {"ids": over}
    last: list[Any] = await tx.fetch(LAST_OF_TASKS, those)
    await tx.many(FORGET, [{"project_id": project, "position": position} for project, position in sorted(last)])
    if forget is not None and (booked := await tx.fetch(BOOKED_OF, those)):
        await forget(tx, [(str(project), str(text)) for project, text in booked])
    for statement in (
        DELETE_ATTEMPTS_OF, DELETE_DELIVERIES_OF, DELETE_EVENTS_OF, DELETE_OBSERVATIONS_OF, DELETE_TIMELINE_OF,
        DELETE_SUBMISSIONS_OF, DELETE_TASKS,
    ):  # fmt: skip
        await tx.fetch(statement, those)
    return len(over)


async def _lock_deliveries(tx: Connection, events: Sequence[tuple[object, ...]]) -> None:
    await tx.fetch(LOCK_DELIVERIES, {"events": [str(event) for (event,) in events]})


async def ended(tx: Connection, *, before: int, below: str, after: str, batch: int) -> list[tuple[str, bool, bool]]:
    """The next tasks behind an id: (id, whether it ended until then, whether raw payloads of it are kept)."""
    rows = await tx.fetch(ENDED, {"before": before, "below": below, "after": after, "batch": batch})
    return [(str(task_id), bool(over), bool(raw)) for task_id, over, raw in rows]


async def ended_of(tx: Connection, ids: Sequence[str], *, before: int) -> list[tuple[str, bool, bool]]:
    """The same of tasks by their ids; one that is gone is not told of."""
    rows = await tx.fetch(ENDED_OF, {"ids": list(ids), "before": before})
    return [(str(task_id), bool(over), bool(raw)) for task_id, over, raw in rows]


async def strip(tx: Connection, ids: Sequence[str]) -> int:
    """Drop the bytes that were kept for people; what was understood of them stays, for replay. Returns of how many messages."""
    return len(await tx.fetch(STRIP, {"ids": list(ids)}))


async def attempts(
    tx: Connection, *, before: int, below: str, after: tuple[str, int], batch: int
) -> list[tuple[str, int, bool]]:
    """The next attempts behind one, and of each whether it may go: its delivery is settled and it is old enough."""
    params = {"before": before, "below": below, "delivery_id": after[0], "number": after[1], "batch": batch}
    rows: list[Any] = await tx.fetch(ATTEMPTS, params)
    return [(delivery, number, bool(over)) for delivery, number, over in rows]


async def delete_attempts(tx: Connection, which: Sequence[tuple[str, int]]) -> int:
    found = await tx.each(DELETE_ATTEMPT, [{"delivery_id": delivery, "number": number} for delivery, number in which])
    return len(found)


async def told(tx: Connection, *, before: int, after: int, batch: int) -> list[Told]:
    """The next events behind a position."""
    rows: list[Any] = await tx.fetch(EVENTS, {"before": before, "after": after, "batch": batch})
    return [
        Told(position=row[0], id=row[1], project_id=row[2], test=bool(row[3]), old=bool(row[4]), over=bool(row[5]))
        for row in rows
    ]


async def delete_told(tx: Connection, which: Sequence[Told]) -> int:
    """Take away events of no task, with their deliveries, as far as nobody is owed them."""
    await _lock_deliveries(tx, await tx.fetch(LOCK_EVENTS, {"ids": [one.id for one in which]}))
    gone = [one for one in which if await tx.fetch(DELETE_EVENT, {"id": one.id})]
    those = {"ids": [one.id for one in gone]}
    await tx.fetch(DELETE_ATTEMPTS_OF_EVENTS, those)
    await tx.fetch(DELETE_DELIVERIES_OF_EVENTS, those)
    # A test is in no feed, so nobody misses it there.
    await tx.many(FORGET, [{"project_id": one.project_id, "position": one.position} for one in gone if not one.test])
    return len(gone)


async def delete_orphans(tx: Connection, *, below: str, batch: int) -> int:
    """Take away pushes of tasks that nobody knows."""
    return len(await tx.fetch(DELETE_ORPHANS, {"below": below, "batch": batch}))


async def delete_audit(tx: Connection, *, below: str, batch: int) -> int:
    """Take away the oldest of what was decided."""
    return len(await tx.fetch(DELETE_AUDIT, {"below": below, "batch": batch}))


async def delete_answers(tx: Connection, *, below: str, now: int, batch: int) -> int:
    """Take away answers kept for those who ask again."""
    return len(await tx.fetch(DELETE_ANSWERS, {"below": below, "now": now, "batch": batch}))


def _of(window: Window) -> dict[str, object]:
    return {"before": window.before, "settled_before": window.settled_before}
