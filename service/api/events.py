"""/v1/events: the feed, for clients that ask instead of being told."""

from __future__ import annotations

import orjson
from starlette.responses import Response

from service.api.call import Call, absent, listing, reply
from service.api.query import POSITION, Query, position_cursor
from service.core.events import EventType
from storage import listings
from storage.records import Event


async def page(call: Call) -> Response:
    """GET /v1/events: oldest first. `next` always comes, so that a reader at the end knows where to go on."""
    query = Query(call.request, ("limit", "after", "order", "type", "task", "wait"))
    limit, after = query.limit(), query.cursor(POSITION)
    newest_first = query.choice("order", ("asc", "desc")) == "desc"
    type = query.choice("type", [type.value for type in EventType])
    task = query.text("task")
    seconds = query.whole("wait", 0, call.context.limits.wait_seconds, 0)
    query.settle()
    start = int(after[1]) if after else None

    async def look() -> list[Event]:
        return await call.context.database.read(
            lambda tx: listings.event_page(
                tx,
                call.project_id,
                after=start,
                limit=limit + 1,
                type=type,
                task=task,
                newest_first=newest_first,
            )
        )

    found = await call.context.watch.until(call.project_id, look, bool, seconds=seconds)
    kept = found[:limit]
    last = kept[-1].position if kept else start
    views = [orjson.Fragment(event.body) for event in kept]
    return reply(listing(views, has_more=len(found) > limit, next=position_cursor(last or 0)))


async def one(call: Call) -> Response:
    """GET /v1/events/{id}: the body exactly as it is signed and sent."""
    Query(call.request, ()).settle()
    event_id = call.id("evt")
    found = await call.context.database.read(lambda tx: listings.event(tx, event_id, call.project_id))
    if found is None:
        raise absent("evt")
    return Response(found.body, media_type="application/json")
