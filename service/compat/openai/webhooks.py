"""/openai/v1/webhook_endpoints: endpoints of the format `openai`, as `client.webhooks` of the SDK 3.x manages them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from starlette.responses import Response

from service.api.body import read_json, read_members, read_optional
from service.api.call import Call, absent, reply
from service.api.endpoint_care import renew
from service.api.endpoints import rewrite, subscribe, unsubscribe
from service.api.problems import Problem
from service.api.query import Query
from service.api.subscription import read_secret, settings_of
from service.compat.openai import views
from service.compat.openai.videos import LIMIT_DEFAULT, LIMIT_MOST, last_id
from service.core.events import EventType
from service.core.request import Fault, Invalid, pointer, shown
from service.core.times import DAY, SECOND
from service.pipeline.orders import SECRET
from service.pipeline.redelivery import Inactive, TooSoon, send_sample
from storage import endpoint_secrets, endpoints, listings, openai_pages
from storage.database import Connection
from storage.records import Attempt, Endpoint, EndpointFormat

MEMBERS: Final = ("name", "url", "event_types")
RENAMED: Final = {"description": "name", "events": "event_types"}
SAMPLES: Final = {"video.completed": EventType.TASK_SUCCEEDED, "video.failed": EventType.TASK_FAILED}
TEST_SECONDS: Final = 20.0  # an attempt takes 15 at most
LOOK_SECONDS: Final = 0.1  # an attempt that another replica makes rings nobody here


async def create(call: Call) -> Response:
    """POST /openai/v1/webhook_endpoints: with the secret this once."""
    Query(call.request, ()).settle()
    body = await read_json(call.request, call.context.limits)
    await call.stated(body)
    stated = _settings(call, body, needed=MEMBERS)
    secret = read_secret(None, call.context, [])

    def told(made: Endpoint) -> Response:
        return reply({**views.endpoint(made, secret=secret), "signing_secret": secret})

    return await subscribe(call, stated, secret, told)


async def page(call: Call) -> Response:
    """GET /openai/v1/webhook_endpoints: newest first, behind the id of the last item."""
    query = Query(call.request, ("limit", "after"))
    limit, after = query.whole("limit", 1, LIMIT_MOST, LIMIT_DEFAULT), last_id(query, "ep")
    query.settle()
    found = await call.context.database.read(
        lambda tx: openai_pages.endpoints_page(tx, call.project_id, after=after, limit=limit + 1)
    )
    shown = [views.endpoint(one, secret=_opened(call, sealed)) for one, sealed in found[:limit]]
    return reply(views.page(shown, has_more=len(found) > limit))


async def one(call: Call) -> Response:
    """GET /openai/v1/webhook_endpoints/{id}"""
    Query(call.request, ()).settle()
    return reply(await _shown(call, await _mine(call)))


async def change(call: Call) -> Response:
    """POST /openai/v1/webhook_endpoints/{id}: the members that are there; the rest stays."""
    Query(call.request, ()).settle()
    stated = _settings(call, await read_json(call.request, call.context.limits))
    found = await _mine(call)
    return reply(await _shown(call, await rewrite(call, found.id, stated)))


async def delete(call: Call) -> Response:
    """DELETE /openai/v1/webhook_endpoints/{id}"""
    Query(call.request, ()).settle()
    endpoint_id = call.id("ep")
    found = await call.context.database.read(lambda tx: endpoints.get(tx, endpoint_id, call.project_id))
    if found is not None and found.format is not EndpointFormat.OPENAI:
        raise absent("ep")
    await unsubscribe(call, endpoint_id)
    return reply({"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True})


async def rotate(call: Call) -> Response:
    """POST /openai/v1/webhook_endpoints/{id}/rotate_secret: the old one ends at once, or after 24 hours when that is asked for."""
    Query(call.request, ()).settle()
    body = await read_optional(call.request, call.context.limits)
    await call.stated(body)
    faults: list[Fault] = []
    keeps = read_members(body, ("keep_old_secret_active_for_24_hours",), faults).get(
        "keep_old_secret_active_for_24_hours", False
    )
    if not isinstance(keeps, bool):
        detail = "This must be true or false, without quotes."
        faults.append(Fault(pointer="/keep_old_secret_active_for_24_hours", detail=detail))
    if faults:
        raise Invalid(faults)
    found, secret = await _mine(call), read_secret(None, call.context, [])

    def told(rotated: Endpoint, retires_at: int) -> Response:
        return reply({**views.endpoint(rotated, secret=secret), "signing_secret": secret})

    return await renew(call, found.id, secret, DAY // SECOND if keeps else 0, told)


async def test(call: Call) -> Response:
    """POST /openai/v1/webhook_endpoints/{id}/test: a sample is sent, and what the endpoint said to it is the answer."""
    Query(call.request, ()).settle()
    body = await read_json(call.request, call.context.limits)
    await call.stated(body)
    faults: list[Fault] = []
    type = read_members(body, ("event_type",), faults).get("event_type")
    if not isinstance(type, str) or type not in SAMPLES:
        detail = f"This must be one of {', '.join(SAMPLES)}."
        faults.append(Fault(pointer="/event_type", detail=detail))
    if faults:
        raise Invalid(faults)
    found = await _mine(call)
    return await call.in_steps(lambda: _tested(call, found, str(type)), seconds=3 * TEST_SECONDS)


async def types(call: Call) -> Response:
    """GET /openai/v1/webhook_event_types"""
    Query(call.request, ()).settle()
    return reply({"object": "list", "data": list(views.EVENTS_OF)})


# Testing


async def _tested(call: Call, endpoint: Endpoint, type: str) -> Response:
    try:
        made = await send_sample(call.context.recorder, endpoint.id, call.project_id, SAMPLES[type])
    except TooSoon as soon:
        detail = f"An endpoint can be tested every 6 seconds. Try again in {soon.seconds}."
        raise Problem("too_soon", detail, headers={"retry-after": str(soon.seconds)}) from None
    except Inactive as inactive:
        raise Problem("endpoint_inactive", str(inactive)) from None
    if made is None:
        raise absent("ep")
    attempt = await _attempted(call, made.id)
    if attempt is None:
        detail = f"The sample was not sent within {TEST_SECONDS:g} seconds. GET /v1/deliveries/{made.id} says what it waits for."
        raise Problem("unavailable", detail, headers={"x-should-retry": "false"})
    if attempt.status_code is None:
        detail = f"It did not answer: {attempt.error_class}. GET /v1/deliveries/{made.id} says more."
        raise Problem("endpoint_unreachable", detail)
    return reply(
        {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": endpoint.id,
            "event_type": type,
            "status_code": attempt.status_code,
            "success": True,  # it was sent and answered; whether it was taken, the status code says
        }
    )


async def _attempted(call: Call, delivery_id: str) -> Attempt | None:
    """The one attempt of a sample, once it was made."""
    loop = asyncio.get_running_loop()
    end = loop.time() + TEST_SECONDS
    while True:
        found = await call.context.database.read(lambda tx: listings.attempts(tx, [delivery_id]))
        if found[delivery_id]:
            return found[delivery_id][0]
        if loop.time() >= end or call.context.watch.closed:
            return None
        await asyncio.sleep(LOOK_SECONDS)


# Reading and showing


async def _mine(call: Call) -> Endpoint:
    """The project's endpoint, if it is one of this format: others get events that no SDK of OpenAI's reads."""
    endpoint_id = call.id("ep")
    found = await call.context.database.read(lambda tx: endpoints.get(tx, endpoint_id, call.project_id))
    if found is None or found.format is not EndpointFormat.OPENAI:
        raise absent("ep")
    return found


async def _shown(call: Call, endpoint: Endpoint) -> dict[str, object]:
    async def unit(tx: Connection) -> str | None:
        live = await endpoint_secrets.live(tx, endpoint.id, now=call.context.clock())
        return live[0].sealed if live else None

    return views.endpoint(endpoint, secret=_opened(call, await call.context.database.read(unit)))


def _opened(call: Call, sealed: str | None) -> str | None:
    return call.context.keyring.open(sealed, SECRET) if sealed is not None else None


def _settings(call: Call, body: object, *, needed: tuple[str, ...] = ()) -> Mapping[str, object]:
    """The columns that a body sets, and that it is of this format."""
    faults: list[Fault] = []
    members = read_members(body, MEMBERS, faults)
    faults += [Fault(pointer=pointer(name), detail="This is required.") for name in needed if name not in members]
    ours: dict[str, object] = {}
    for name, read in READ.items():
        if name in members:
            ours.update(read(members[name], faults))
    stated: dict[str, object] = {}
    try:
        stated = settings_of({**ours, "format": EndpointFormat.OPENAI.value}, call.context)
    except Invalid as invalid:
        faults += [Fault(pointer=_place(fault.pointer), detail=fault.detail) for fault in invalid.faults]
    if faults:
        raise Invalid(faults)
    return stated


def _place(ours: str) -> str:
    first, slash, rest = ours.lstrip("/").partition("/")
    return f"/{RENAMED.get(first, first)}{slash}{rest}"


def _events(value: object, faults: list[Fault]) -> dict[str, object]:
    if not isinstance(value, list) or not 1 <= len(value) <= 40:
        detail = f"This must be a list of event types. There is {', '.join(views.EVENTS_OF)}."
        faults.append(Fault(pointer="/event_types", detail=detail))
        return {}
    found: list[str] = []
    for index, type in enumerate(value):
        if isinstance(type, str) and type in views.EVENTS_OF:
            found += views.EVENTS_OF[type]
        elif isinstance(type, str) and type in OTHERS:
            found.append(type)
        else:
            detail = f'"{shown(str(type))}" is never sent here. There is {", ".join(views.EVENTS_OF)}.'
            faults.append(Fault(pointer=pointer("event_types", index), detail=detail))
    return {"events": found} if found else {}


# What an endpoint may also have been subscribed to by our own API, and what is shown of it must be accepted back.
OTHERS: Final = frozenset(type.value for type in EventType) - {
    one for types in views.EVENTS_OF.values() for one in types
}
READ: Final[Mapping[str, Callable[[object, list[Fault]], dict[str, object]]]] = {
    "name": lambda value, faults: {"description": value},
    "url": lambda value, faults: {"url": value},
    "event_types": _events,
}
