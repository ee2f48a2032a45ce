"""/v1/deliveries: what is owed to whom, and what each attempt brought."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.responses import Response

from service.api.call import Call, absent, listing, reply
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.core.times import iso
from service.pipeline import redelivery
from storage import listings
from storage.database import Connection
from storage.records import Attempt, Delivery, DeliveryStatus

CURSOR = re.compile(r"dlv_[0-9A-Z]{26}")


async def page(call: Call) -> Response:
    """GET /v1/deliveries: newest first."""
    query = Query(call.request, ("limit", "after", "status", "endpoint", "event", "task"))
    limit, after = query.limit(), query.cursor(CURSOR)
    status = query.choice("status", [status.value for status in DeliveryStatus])
    query.settle()
    start = after[0] if after else None

    async def unit(tx: Connection) -> tuple[list[Delivery], dict[str, list[Attempt]]]:
        found = await listings.delivery_page(
            tx,
            call.project_id,
            after=start,
            limit=limit + 1,
            status=status,
            endpoint=query.text("endpoint"),
            event=query.text("event"),
            task=query.text("task"),
        )
        return found, await listings.attempts(tx, [one.id for one in found[:limit]])

    found, attempts = await call.context.database.read(unit)
    kept, more = found[:limit], len(found) > limit
    next = cursor(kept[-1].id) if more else None
    return reply(listing([view(one, attempts[one.id]) for one in kept], has_more=more, next=next))


async def one(call: Call) -> Response:
    """GET /v1/deliveries/{id}"""
    Query(call.request, ()).settle()
    delivery_id = call.id("dlv")

    async def unit(tx: Connection) -> tuple[Delivery | None, list[Attempt]]:
        found = await listings.delivery(tx, delivery_id, call.project_id)
        attempts = await listings.attempts(tx, [delivery_id]) if found is not None else {delivery_id: []}
        return found, attempts[delivery_id]

    found, attempts = await call.context.database.read(unit)
    if found is None:
        raise absent("dlv")
    return reply(view(found, attempts))


async def retry(call: Call) -> Response:
    """POST /v1/deliveries/{id}/retry: 202, due now whatever became of it, with the whole schedule before it again."""
    Query(call.request, ()).settle()
    delivery_id = call.id("dlv")
    try:
        found = await redelivery.retry(call.context.recorder, delivery_id, call.project_id)
    except redelivery.Inactive as inactive:
        raise Problem("endpoint_inactive", str(inactive)) from None
    if found is None:
        raise absent("dlv")
    attempts = await call.context.database.read(lambda tx: listings.attempts(tx, [delivery_id]))
    return reply(view(found, attempts[delivery_id]), 202)


def view(delivery: Delivery, attempts: Sequence[Attempt]) -> dict[str, object]:
    """A delivery with its history. Without the URL: a per-task one may carry a secret of its own."""
    waits = delivery.status is DeliveryStatus.PENDING and delivery.due_at is not None
    return {
        "id": delivery.id,
        "object": "delivery",
        "event": delivery.event_id,
        "event_type": delivery.event_type,
        "task": delivery.task_id,
        "endpoint": delivery.endpoint_id,
        "status": delivery.status,
        "attempts": [
            {
                "at": iso(attempt.at),
                "status_code": attempt.status_code,
                "duration_ms": attempt.duration_ms,
                "error_class": attempt.error_class,
                "response_head": attempt.response_head,
            }
            for attempt in attempts
        ],
        "next_attempt_at": iso(delivery.due_at) if waits and delivery.due_at is not None else None,
        "created_at": iso(delivery.created_at),
        "updated_at": iso(delivery.updated_at),
    }
