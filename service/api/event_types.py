"""/v1/event-types: what may be subscribed to, what each body looks like, and samples of it."""

from __future__ import annotations

import orjson
from starlette.responses import Response

from service.api.call import Call, listing, reply
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query
from service.core import formats, samples
from service.core.event_schema import event_schema
from service.core.event_types import CATALOGUE, unasked
from service.core.events import EventType
from service.core.request import shown
from storage import event_samples
from storage.records import EndpointFormat

TYPES = tuple(type.value for type in EventType)
FORMATS = tuple(format.value for format in EndpointFormat)
SAMPLES_DEFAULT, SAMPLES_MOST = 10, 50


async def page(call: Call) -> Response:
    """GET /v1/event-types: all of them, each with its schema."""
    query = Query(call.request, ("format",))
    format = _format(query)
    query.settle()
    views = [view(type, format, call.context) for type in CATALOGUE]
    return reply(listing(views, has_more=False, next=None))


async def one(call: Call) -> Response:
    """GET /v1/event-types/{type}"""
    query = Query(call.request, ("format",))
    format = _format(query)
    query.settle()
    return reply(view(_type(call), format, call.context))


async def examples(call: Call) -> Response:
    """GET /v1/event-types/{type}/samples: a bare array of bodies as the hook gets them, newest first; one that never happened when
    none did."""
    query = Query(call.request, ("format", "limit"))
    format, limit = _format(query), query.whole("limit", 1, SAMPLES_MOST, SAMPLES_DEFAULT)
    query.settle()
    type, context = _type(call), call.context
    found = await context.database.read(lambda tx: event_samples.newest(tx, call.project_id, type.value, limit=limit))
    bodies = found or [samples.sample(type, id=samples.SAMPLE_EVENT, now=context.clock(), public_url=context.base)]
    return reply([orjson.Fragment(formats.render(format, body)) for body in bodies])


def view(type: EventType, format: EndpointFormat, context: Context) -> dict[str, object]:
    """A type as the API shows it."""
    kind, url = CATALOGUE[type], f"{context.base}/v1/event-types/{type.value}"
    return {
        "object": "event_type",
        "type": type.value,
        "description": kind.tells,
        "when": kind.when,
        "default": unasked(type),
        "reserved": kind.reserved,
        "format": format.value,
        "schema": event_schema(type, format),
        "links": {"self": url, "samples": f"{url}/samples"},
    }


def _type(call: Call) -> EventType:
    stated = str(call.request.path_params["type"])
    if stated not in TYPES:
        detail = f'There is no event type "{shown(stated)}". There is {", ".join(TYPES)}.'
        raise Problem("not_found", detail)
    return EventType(stated)


def _format(query: Query) -> EndpointFormat:
    return EndpointFormat(stated) if (stated := query.choice("format", FORMATS)) in FORMATS else EndpointFormat.STANDARD
