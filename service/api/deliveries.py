"""/v1/deliveries: what is owed to whom, what each attempt brought, and what comes next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.responses import Response

from service.api import story
from service.api.call import Call, absent, listed, reply
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.core import debts
from service.core.times import iso
from service.pipeline import redelivery
from storage import delivery_pages, listings, parties
from storage.database import Connection
from storage.delivery_pages import Wanted
from storage.records import Attempt, Delivery, DeliveryStatus, Party

CURSOR = re.compile(r"dlv_[0-9A-Z]{26}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A delivery with what its view tells beside it."""

    delivery: Delivery
    attempts: Sequence[Attempt] = ()
    party: Party | None = None
    test: bool = False


async def page(call: Call) -> Response:
    """GET /v1/deliveries: newest first."""
    query = Query(call.request, ("limit", "after", "status", "endpoint", "event", "task"))
    limit, after = query.limit(), query.cursor(CURSOR)
    status = query.choice("status", [status.value for status in DeliveryStatus])
    query.settle()
    start = after[0] if after else None
    wanted = Wanted(status, query.text("endpoint"), query.text("event"), query.text("task"))

    async def unit(tx: Connection) -> tuple[list[Shown], str | None]:
        found = await delivery_pages.page(tx, call.project_id, wanted, after=start, limit=limit)
        return await beside(tx, found.deliveries), found.next

    found, last = await call.context.database.read(unit)
    next = cursor(last) if last is not None else None
    return listed(call, [view(one, call.context) for one in found], has_more=next is not None, next=next)


async def one(call: Call) -> Response:
    """GET /v1/deliveries/{id}"""
    Query(call.request, ()).settle()
    return reply(await look(call, call.id("dlv")))


async def retry(call: Call) -> Response:
    """POST /v1/deliveries/{id}/retry: 202, due now whatever became of it, with the whole schedule before it again."""
    Query(call.request, ()).settle()
    delivery_id = call.id("dlv")
    await call.stated(None)
    answers: list[Response] = []

    async def also(tx: Connection, again: Delivery) -> None:
        answers[:] = [await accepted(tx, call, again)]

    try:
        found = await redelivery.retry(call.recorder, delivery_id, call.project_id, call.by("retry"), also=also)
    except redelivery.Inactive as inactive:
        raise Problem("endpoint_inactive", str(inactive)) from None
    if found is None:
        raise absent("dlv")
    return answers[0]


async def accepted(tx: Connection, call: Call, delivery: Delivery) -> Response:
    """202 with a delivery that is due now; kept for whoever asks for the same again."""
    [shown] = await beside(tx, [delivery])
    location = f"{call.context.base}/v1/deliveries/{delivery.id}"
    answer = reply(view(shown, call.context), 202, {"location": location})
    await call.keep(tx, answer)
    return answer


async def look(call: Call, delivery_id: str) -> dict[str, object]:
    """One delivery as it is now."""

    async def unit(tx: Connection) -> list[Shown]:
        found = await listings.delivery(tx, delivery_id, call.project_id)
        return await beside(tx, [found] if found is not None else [])

    found = await call.context.database.read(unit)
    if not found:
        raise absent("dlv")
    return view(found[0], call.context)


async def beside(tx: Connection, found: Sequence[Delivery]) -> list[Shown]:
    """Deliveries with their attempts, and whom they are owed to."""
    attempts = await listings.attempts(tx, [one.id for one in found])
    owed_to = await parties.of(tx, [one.endpoint_id for one in found]) if found else {}
    tests = await listings.tests_among(tx, found)
    return [
        Shown(delivery=one, attempts=attempts[one.id], party=owed_to.get(one.endpoint_id), test=one.id in tests)
        for one in found
    ]


def view(shown: Shown, context: Context) -> dict[str, object]:
    """A delivery with its history and its next. Of the URL the origin: the path of a per-task one may be a secret."""
    delivery, attempts, party, now = shown.delivery, shown.attempts, shown.party, context.clock()
    waits = delivery.status is DeliveryStatus.PENDING and delivery.due_at is not None
    url = urlsplit(delivery.url or (party.url if party is not None else ""))
    last = attempts[-1] if attempts else None
    return {
        "id": delivery.id,
        "object": "delivery",
        "event": delivery.event_id,
        "event_type": delivery.event_type,
        "task": delivery.task_id,
        "endpoint": delivery.endpoint_id,
        "origin": f"{url.scheme}://{url.netloc}" if url.netloc else None,
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
        "next": story.next_view(debts.next_of(delivery, last, party, now=now, test=shown.test)),
        "links": _links(shown, context, now),
        "created_at": iso(delivery.created_at),
        "updated_at": iso(delivery.updated_at),
    }


def _links(shown: Shown, context: Context, now: int) -> dict[str, object]:
    """Where it is, and what a person can do about it just now."""
    delivery, party = shown.delivery, shown.party
    url = f"{context.base}/v1/deliveries/{delivery.id}"
    return {
        "self": url,
        "retry": f"{url}/retry" if not shown.test and debts.may_retry(delivery, party, now) else None,
        "resume": f"{context.base}/v1/endpoints/{delivery.endpoint_id}/resume" if debts.may_resume(party) else None,
    }
