"""/v1/endpoints: subscribe, list, read, unsubscribe."""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Mapping

from starlette.responses import Response

from service.api.body import read_json
from service.api.call import Call, absent, listing, reply
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.core import signature
from service.core.events import ENDS, EventType
from service.core.keys import NONCE_BYTES
from service.core.request import Fault, Invalid, pointer, shown
from service.core.times import iso
from service.net.guard import Blocked
from storage import endpoint_secrets, endpoints, listings, outbox
from storage.database import Connection
from storage.records import Endpoint, EndpointSecret, LaneKind

CURSOR = re.compile(r"ep_[0-9A-Z]{26}")
MEMBERS = ("url", "events", "description", "max_in_flight", "secret")
SUBSCRIPTIONS = (*(type.value for type in EventType), "task.*", "account.*", "endpoint.*", "*")
IN_FLIGHT_DEFAULT, IN_FLIGHT_MOST = 8, 64
# Standard, padded base64: some verifiers refuse or misread anything else, and a signature they cannot check is worthless.
SECRET = re.compile(r"whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)")
SECRET_LEAST, SECRET_MOST = 24, 64


async def create(call: Call) -> Response:
    """POST /v1/endpoints: 201, with the secret this once."""
    Query(call.request, ()).settle()
    context = call.context
    endpoint, secret = _subscription(await read_json(call.request, context.limits), call)
    sealed = context.keyring.seal(secret, purpose="endpoint-secret", nonce=context.entropy(NONCE_BYTES))

    async def unit(tx: Connection) -> bool:
        if await endpoints.count(tx, call.project_id) >= context.limits.endpoints:
            return False
        await endpoints.insert(tx, endpoint)
        row = EndpointSecret(endpoint_id=endpoint.id, number=1, sealed=sealed, created_at=endpoint.created_at)
        await endpoint_secrets.insert(tx, row)
        return True

    if not await context.database.write(unit):
        raise Problem(
            "endpoint_limit",
            f"A project has at most {context.limits.endpoints} endpoints. Delete one that is not needed.",
        )
    headers = {"location": f"{context.base}/v1/endpoints/{endpoint.id}"}
    return reply({**view(endpoint), "secret": secret}, 201, headers)


async def page(call: Call) -> Response:
    """GET /v1/endpoints: newest first, without secrets."""
    query = Query(call.request, ("limit", "after"))
    limit, after = query.limit(), query.cursor(CURSOR)
    query.settle()
    start = after[0] if after else None
    found = await call.context.database.read(
        lambda tx: listings.endpoint_page(tx, call.project_id, after=start, limit=limit + 1)
    )
    kept, more = found[:limit], len(found) > limit
    return reply(listing([view(one) for one in kept], has_more=more, next=cursor(kept[-1].id) if more else None))


async def one(call: Call) -> Response:
    """GET /v1/endpoints/{id}"""
    Query(call.request, ()).settle()
    endpoint_id = call.id("ep")
    found = await call.context.database.read(lambda tx: endpoints.get(tx, endpoint_id, call.project_id))
    if found is None:
        raise absent("ep")
    return reply(view(found))


async def delete(call: Call) -> Response:
    """DELETE /v1/endpoints/{id}: 204, and 204 again, because a client whose first answer got lost must be able to ask twice."""
    Query(call.request, ()).settle()
    context, endpoint_id = call.context, call.id("ep")
    now = context.clock()

    async def unit(tx: Connection) -> bool:
        if await endpoints.delete(tx, endpoint_id, call.project_id, now=now):
            await outbox.cancel_pending(tx, endpoint_id, now=now)
            return True
        return await endpoints.known(tx, endpoint_id, call.project_id)

    if not await context.database.write(unit):
        raise absent("ep")
    context.ring((LaneKind.ENDPOINT, endpoint_id), now)  # what the lane holds in memory is not to be sent any more
    return Response(status_code=204)


def view(endpoint: Endpoint) -> dict[str, object]:
    """An endpoint as the API shows it. `events`: also for one that named none."""
    return {
        "id": endpoint.id,
        "object": "endpoint",
        "url": endpoint.url,
        "events": endpoint.events.split(",") if endpoint.events is not None else sorted(ENDS),
        "description": endpoint.description,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason,
        "max_in_flight": endpoint.max_in_flight,
        "created_at": iso(endpoint.created_at),
        "updated_at": iso(endpoint.updated_at),
    }


def _subscription(body: object, call: Call) -> tuple[Endpoint, str]:
    """The endpoint a body asks for, and its secret. Raises `Invalid` with every fault."""
    context = call.context
    faults: list[Fault] = []
    if not isinstance(body, dict):
        raise Invalid([Fault(pointer="", detail="This must be an object.")])
    for name in body:
        if name not in MEMBERS:
            close = difflib.get_close_matches(name[:40].lower(), MEMBERS, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Leave it out."
            faults.append(Fault(pointer=pointer(name), detail=f'There is no "{shown(name)}". {hint}'))
    url = _url(body, context, faults)
    events = _events(body.get("events"), faults)
    description = _description(body.get("description"), faults)
    in_flight = _in_flight(body.get("max_in_flight"), faults)
    secret = _secret(body.get("secret"), context, faults)
    if faults:
        raise Invalid(faults)
    now = context.clock()
    endpoint = Endpoint(
        id=context.mint("ep"),
        project_id=call.project_id,
        url=url,
        description=description,
        events=events,
        max_in_flight=in_flight,
        created_at=now,
        updated_at=now,
    )
    return endpoint, secret


def _url(body: Mapping[str, object], context: Context, faults: list[Fault]) -> str:
    value = body.get("url")
    if not isinstance(value, str):
        detail = "This is required." if value is None else "This must be text, in quotes."
        faults.append(Fault(pointer="/url", detail=detail))
        return ""
    try:
        context.policy.judge_url(value)
    except Blocked as blocked:
        faults.append(Fault(pointer="/url", detail=blocked.reason))
    return value


def _events(value: object, faults: list[Fault]) -> str | None:
    """The types subscribed to, as stored; None: the ends."""
    if value is None:
        return None
    if not isinstance(value, list) or not 1 <= len(value) <= 2 * len(SUBSCRIPTIONS):
        detail = "This must be a list of event types. Leave it out to get the ends: " + ", ".join(sorted(ENDS))
        faults.append(Fault(pointer="/events", detail=detail))
        return None
    for index, type in enumerate(value):
        if not isinstance(type, str):
            faults.append(Fault(pointer=pointer("events", index), detail="This must be text, in quotes."))
        elif type not in SUBSCRIPTIONS:
            # The shared "task." alone is half of any two types, so only a slip of the pen is close.
            close = difflib.get_close_matches(type[:40], SUBSCRIPTIONS, n=1, cutoff=0.8)
            hint = f"Did you mean {close[0]}?" if close else f"There is {', '.join(SUBSCRIPTIONS)}."
            detail = f'There is no event type "{shown(type)}". {hint}'
            faults.append(Fault(pointer=pointer("events", index), detail=detail))
    return ",".join(dict.fromkeys(type for type in value if isinstance(type, str)))


def _description(value: object, faults: list[Fault]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > 500:
        faults.append(
            Fault(pointer="/description", detail="This must be at most 500 printable characters on one line.")
        )
        return None
    return value


def _in_flight(value: object, faults: list[Fault]) -> int:
    if value is None:
        return IN_FLIGHT_DEFAULT
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= IN_FLIGHT_MOST:
        detail = f"This must be a whole number from 1 to {IN_FLIGHT_MOST}."
        faults.append(Fault(pointer="/max_in_flight", detail=detail))
        return IN_FLIGHT_DEFAULT
    return value


def _secret(value: object, context: Context, faults: list[Fault]) -> str:
    """The client's own secret, or a new one."""
    if value is None:
        return signature.new_secret(context.entropy(signature.SECRET_BYTES))
    found = SECRET.fullmatch(value) if isinstance(value, str) and len(value) <= 200 else None
    if found is None or not SECRET_LEAST <= len(base64.b64decode(found[1])) <= SECRET_MOST:
        detail = f'This must be "whsec_" and standard base64 of {SECRET_LEAST} to {SECRET_MOST} random bytes. '
        faults.append(Fault(pointer="/secret", detail=detail + "Leave it out to get one made."))
        return ""
    return str(value)
