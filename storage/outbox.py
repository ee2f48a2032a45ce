"""The outbox: events, the deliveries they owe, and what each attempt brought."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import Attempt, Delivery, Event, light

INSERT_EVENT = """
    INSERT INTO events (id, project_id, task_id, provider, model, type, sequence, created_at, traceparent, body, hard, test)
    VALUES (:id, :project_id, :task_id, :provider, :model, :type, :sequence, :created_at, :traceparent, :body, :hard, :test)
"""

EXISTING = """
    SELECT id FROM events
     WHERE id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

INSERT_DELIVERY = """
    INSERT INTO deliveries (id, event_id, endpoint_id, project_id, task_id, event_type, status, attempts, url, due_at,
        created_at, updated_at)
    VALUES (:id, :event_id, :endpoint_id, :project_id, :task_id, :event_type, :status, :attempts, :url, :due_at,
        :created_at, :updated_at)
"""

DUE: LiteralString = """
    d.id, d.event_id, d.event_type, d.attempts, d.url, coalesce(d.restarted_at, d.created_at), e.body, d.spent, e.test,
    e.traceparent
      FROM deliveries d JOIN events e ON e.id = d.event_id
     WHERE d.endpoint_id = :endpoint_id AND d.status = 'pending' AND d.due_at <= :now
"""
DUE_FIRST = select(DUE, "AND d.attempts = 0 ORDER BY d.due_at LIMIT :batch")
DUE_AGAIN = select(DUE, "AND d.attempts > 0 ORDER BY d.due_at LIMIT :batch")

# Each half has its own partial index; a query that names neither would find no index at all.
NEXT_DUE = """
    SELECT min(at) FROM (
        SELECT min(due_at) AS at FROM deliveries WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts = 0
        UNION ALL
        SELECT min(due_at) AS at FROM deliveries WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts > 0
    ) AS halves
"""

NEXT_DUE_AFTER = """
    SELECT min(at) FROM (
        SELECT min(due_at) AS at FROM deliveries
         WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts = 0 AND due_at > :now
        UNION ALL
        SELECT min(due_at) AS at FROM deliveries
         WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts > 0 AND due_at > :now
    ) AS halves
"""

# Compare-and-set on the number of attempts; the lane's epoch is checked in the same transaction (storage/lanes.py).
SETTLE = """
    UPDATE deliveries SET status = :status, attempts = :attempts, due_at = :due_at, updated_at = :now
     WHERE id = :id AND attempts = :was AND status = 'pending'
       AND coalesce(restarted_at, created_at) = coalesce(CAST(:since AS BIGINT), restarted_at, created_at)
 /*postgres: RETURNING id */
"""

# Restarted while the attempt was under way: it counts, and decides nothing.
SPEND = """
    UPDATE deliveries SET attempts = :attempts, spent = :attempts, updated_at = :now
     WHERE id = :id AND attempts = :was AND status = 'pending'
 /*postgres: RETURNING id */
"""

INSERT_ATTEMPT = """
    INSERT INTO attempts (delivery_id, number, at, duration_ms, status_code, error_class, response_head)
    VALUES (:delivery_id, :number, :at, :duration_ms, :status_code, :error_class, :response_head)
    ON CONFLICT (delivery_id, number) DO NOTHING
"""

# In the order of their ids, as results are written: neither waits for the other in a circle.
CANCEL_FIRST = """
    UPDATE deliveries SET status = 'canceled', due_at = NULL, updated_at = :now
     WHERE /*sqlite:*/ endpoint_id = :endpoint_id AND status = 'pending' AND attempts = 0
           /*postgres: id IN (SELECT id FROM deliveries WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts = 0
                               ORDER BY id FOR UPDATE) */
"""

CANCEL_AGAIN = """
    UPDATE deliveries SET status = 'canceled', due_at = NULL, updated_at = :now
     WHERE /*sqlite:*/ endpoint_id = :endpoint_id AND status = 'pending' AND attempts > 0
           /*postgres: id IN (SELECT id FROM deliveries WHERE endpoint_id = :endpoint_id AND status = 'pending' AND attempts > 0
                               ORDER BY id FOR UPDATE) */
"""

# By hand, whatever became of it: due at once, with the whole schedule before it again. A test is made anew, not again:
# how often that may be is limited.
RESTART = """
    UPDATE deliveries SET status = 'pending', due_at = :now, spent = attempts, restarted_at = :now, updated_at = :now
     WHERE id = :id AND project_id = :project_id
       AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = deliveries.event_id AND e.test = 1)
 RETURNING endpoint_id
"""


@light(frozen=True, slots=True)
class Due:
    """A delivery ready to be sent, with the exact bytes."""

    id: str
    event_id: str
    event_type: str
    attempts: int
    url: str | None
    since: int  # when its schedule began
    body: bytes
    spent: int = 0  # of its attempts, those made before that
    test: bool = False
    traceparent: str | None = None  # of the trace its task belongs to
    heard_at: int | None = None  # when the push came that told of it, if it was in this process; not stored


@light(frozen=True, slots=True, kw_only=True)
class Settled:
    """How one attempt ended and what becomes of its delivery. `since`: when the schedule began that says so; None: it is over."""

    delivery_id: str
    was: int
    since: int | None
    status: str
    due_at: int | None
    attempt: Attempt


SPENT = ("id", "was", "attempts", "now")

_of_delivery = attrgetter("delivery_id")


async def existing(tx: Connection, event_ids: Sequence[str]) -> set[str]:
    """Which of these events are stored already."""
    return {str(found) for (found,) in await tx.fetch(EXISTING, {"ids": list(event_ids)})}


async def publish(tx: Connection, events: Sequence[Event], deliveries: Sequence[Delivery]) -> None:
    """Store events and what they owe, together with the change they tell."""
    await tx.many(
        INSERT_EVENT,
        [
            {
                "id": event.id,
                "project_id": event.project_id,
                "task_id": event.task_id,
                "provider": event.provider,
                "model": event.model,
                "type": event.type,
                "sequence": event.sequence,
                "created_at": event.created_at,
                "traceparent": event.traceparent,
                "body": event.body,
                "hard": int(event.hard),
                "test": int(event.test),
            }
            for event in events
        ],
    )
    await tx.many(
        INSERT_DELIVERY,
        [
            {
                "id": delivery.id,
                "event_id": delivery.event_id,
                "endpoint_id": delivery.endpoint_id,
                "project_id": delivery.project_id,
                "task_id": delivery.task_id,
                "event_type": delivery.event_type,
                "status": delivery.status.value,
                "attempts": delivery.attempts,
                "url": delivery.url,
                "due_at": delivery.due_at,
                "created_at": delivery.created_at,
                "updated_at": delivery.updated_at,
            }
            for delivery in deliveries
        ],
    )


async def due(tx: Connection, endpoint_id: str, *, now: int, batch: int, again: bool = False) -> list[Due]:
    """Deliveries of an endpoint that are due, oldest first: those never tried, or those to be tried again."""
    params = {"endpoint_id": endpoint_id, "now": now, "batch": batch}
    rows: list[Any] = await tx.fetch(DUE_AGAIN if again else DUE_FIRST, params)
    return [Due(*(*row[:8], bool(row[8]), row[9])) for row in rows]


async def next_due(tx: Connection, endpoint_id: str) -> int | None:
    [(at,)] = await tx.fetch(NEXT_DUE, {"endpoint_id": endpoint_id})
    return at  # type: ignore[return-value]


async def next_due_after(tx: Connection, endpoint_id: str, *, now: int) -> int | None:
    """When the next delivery becomes due that is not due yet."""
    [(at,)] = await tx.fetch(NEXT_DUE_AFTER, {"endpoint_id": endpoint_id, "now": now})
    return at  # type: ignore[return-value]


async def settle(tx: Connection, settled: Sequence[Settled], *, now: int) -> int:
    """Write results back. Returns how many deliveries were still ours to settle; every attempt is kept as history."""
    rows = [
        {
            "id": one.delivery_id,
            "was": one.was,
            "since": one.since,
            "attempts": one.was + 1,
            "status": one.status,
            "due_at": one.due_at,
            "now": now,
        }
        for one in sorted(settled, key=_of_delivery)
    ]
    won = await tx.change(SETTLE, rows)
    if won < len(rows):
        won += await tx.change(SPEND, [{name: row[name] for name in SPENT} for row in rows])
    await note_attempts(tx, [one.attempt for one in settled])
    return won


async def note_attempts(tx: Connection, attempts: Sequence[Attempt]) -> None:
    """Keep attempts as history."""
    await tx.many(
        INSERT_ATTEMPT,
        [
            {
                "delivery_id": attempt.delivery_id,
                "number": attempt.number,
                "at": attempt.at,
                "duration_ms": attempt.duration_ms,
                "status_code": attempt.status_code,
                "error_class": attempt.error_class,
                "response_head": attempt.response_head,
            }
            for attempt in attempts
        ],
    )


async def cancel_pending(tx: Connection, endpoint_id: str, *, now: int) -> None:
    """Stop owing: the endpoint is gone. The events stay in the feed."""
    for half in (CANCEL_FIRST, CANCEL_AGAIN):
        await tx.fetch(half, {"endpoint_id": endpoint_id, "now": now})


async def restart(tx: Connection, delivery_id: str, project_id: str, *, now: int) -> str | None:
    """Make a delivery due, whatever became of it. Returns its endpoint, or None when there is no such delivery or it is a test."""
    rows = await tx.fetch(RESTART, {"id": delivery_id, "project_id": project_id, "now": now})
    return str(rows[0][0]) if rows else None
