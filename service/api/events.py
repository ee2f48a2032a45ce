"""/v1/events: the feed, for clients that ask instead of being told. As a stream: `stream`."""

from __future__ import annotations

import orjson
from starlette.responses import Response

from service.api.call import ID, Call, absent, listed
from service.api.problems import Problem
from service.api.query import POSITION, Query, decoded, position_cursor
from service.core.events import EventType
from service.core.request import Fault, Invalid
from storage import feed
from storage.database import Connection
from storage.feed import Bounds, EventFilter, Stretch
from storage.records import Event

FILTERS = ("type", "task", "created_after")

NO_PLACE = (
    "This is no place in the feed. Send `next` of an earlier page or the id of an event, as it came, or leave it out."
)
UNKNOWN_PLACE = (
    "Your project has no event with this id; it may be older than what is kept. "
    "Begin elsewhere: after a `next` of yours, or with created_after."
)
AHEAD = (
    "This place lies ahead of the feed: it is of another taskrelay, or of this one before an older copy of its database was "
    "brought back. Begin elsewhere, for example with created_after; what you know already has the same ids."
)


async def page(call: Call) -> Response:
    """GET /v1/events: oldest first. `next` always comes, so that a reader at the end knows where to go on."""
    query = Query(call.request, ("limit", "after", "order", "wait", *FILTERS))
    limit, wanted = query.limit(), filter_of(query)
    newest_first = query.choice("order", ("asc", "desc")) == "desc"
    seconds = query.whole("wait", 0, call.context.limits.wait_seconds, 0)
    query.settle()
    stated = query.text("after")
    after = await place(call, stated, "/after") if stated is not None else None
    if newest_first:
        return await _newest_first(call, wanted, after, limit)
    start = await since(call, wanted) if after is None else after

    async def look() -> Stretch:
        nonlocal start
        found = await call.context.database.read(
            lambda tx: feed.page(tx, call.project_id, wanted, after=start, limit=limit + 1)
        )
        if not found.events:
            start = found.end  # what was looked through in vain is not looked through again, neither here nor by `next`
        return found

    found = await call.context.watch.until(
        call.project_id, look, lambda one: bool(one.events), seconds=seconds, held=lambda one: one.held
    )
    kept = found.events[:limit]
    more = len(found.events) > limit
    return listed(
        call,
        [orjson.Fragment(event.body) for event in kept],
        has_more=more,
        next=position_cursor(feed.position(kept[-1]) if more else found.end),
    )


async def _newest_first(call: Call, wanted: EventFilter, before: int | None, limit: int) -> Response:
    async def unit(tx: Connection) -> tuple[list[Event], Bounds]:
        found = await feed.newest_first(tx, call.project_id, wanted, before=before, limit=limit + 1)
        return found, await feed.bounds(tx, call.project_id)

    found, bounds = await call.context.database.read(unit)
    kept = found[:limit]
    last = feed.position(kept[-1]) if kept else bounds.newest if before is None else before
    views = [orjson.Fragment(event.body) for event in kept]
    return listed(call, views, has_more=len(found) > limit, next=position_cursor(last))


async def one(call: Call) -> Response:
    """GET /v1/events/{id}: the body exactly as it is signed and sent."""
    Query(call.request, ()).settle()
    event_id = call.id("evt")
    found = await call.context.database.read(lambda tx: feed.one(tx, event_id, call.project_id))
    if found is None:
        raise absent("evt")
    return Response(found.body, media_type="application/json")


# Where to begin, and what is wanted: the same for a page and for the stream


def filter_of(query: Query) -> EventFilter:
    """What the parameters named in `FILTERS` ask for."""
    return EventFilter(
        types=query.choices("type", [type.value for type in EventType]),
        task=query.text("task"),
        created_after=query.instant("created_after"),
    )


async def since(call: Call, wanted: EventFilter) -> int:
    """Where the feed begins for a reader who names no place."""
    at = wanted.created_after
    if at is None:
        return 0
    return await call.context.database.read(lambda tx: feed.place_of(tx, call.project_id, at))


async def place(call: Call, stated: str, pointer: str) -> int:
    """The position that a cursor or an event's id stands for. Raises for one from where something would be missed."""
    cursor = POSITION.fullmatch(decoded(stated) or "")
    is_id = ID.fullmatch(stated) is not None and stated.startswith("evt_")
    if not cursor and not is_id:
        raise Invalid([Fault(pointer=pointer, detail=NO_PLACE)])

    async def unit(tx: Connection) -> tuple[int | None, Bounds]:
        if cursor:
            found: int | None = int(cursor[1])
        else:
            event = await feed.one(tx, stated, call.project_id)
            found = feed.position(event) if event is not None else None
        return found, await feed.bounds(tx, call.project_id)

    found, bounds = await call.context.database.read(unit)
    if found is None:
        raise Problem("not_found", UNKNOWN_PLACE)
    if is_id and found > bounds.last:
        return (
            bounds.newest
        )  # known from elsewhere before the feed is settled up to there: what lies before it is yet to come
    if found > bounds.last:
        raise Invalid([Fault(pointer=pointer, detail=AHEAD)])
    if found < bounds.forgotten:
        raise _forgotten(bounds)
    return found


def _forgotten(bounds: Bounds) -> Problem:
    """Going on silently would hide that events were missed."""
    next = position_cursor(bounds.forgotten)
    detail = f"Events that followed this place are kept no more. What is left begins at after={next}"
    return Problem("events_gone", detail, extra={"next": next})
