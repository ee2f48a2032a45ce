"""/v1/endpoints: subscribe, list, read, change, unsubscribe."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import orjson
from starlette.responses import Response

from service.api.body import read_json
from service.api.call import Call, absent, listed, reply
from service.api.context import Context
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.api.subscription import read_secret, settings_of
from service.core import ids
from service.core.events import ENDS, iso_or_none
from service.core.health import Health
from service.core.keys import NONCE_BYTES
from service.core.times import iso
from service.net.client import MASK
from service.pipeline import audit_trail
from service.pipeline.orders import HEADERS, SECRET, V1
from service.pipeline.signing import fresh_key
from storage import endpoint_secrets, endpoints, lanes, listings, outbox, signing_keys
from storage.database import Connection
from storage.records import Endpoint, EndpointSecret, LaneKind, SigningKey

CURSOR = re.compile(r"ep_[0-9A-Z]{26}")


async def create(call: Call) -> Response:
    """POST /v1/endpoints: 201, with the secret this once."""
    Query(call.request, ()).settle()
    context = call.context
    body = await read_json(call.request, context.limits)
    await call.stated(body)
    stated = settings_of(body, context, besides=["secret"], needed=["url"])
    secret = str(stated.pop("secret", None) or read_secret(None, context, []))

    def told(made: Endpoint) -> Response:
        headers = {"location": f"{context.base}/v1/endpoints/{made.id}"}
        return reply({**view(made, context), "secret": secret}, 201, headers)

    return await subscribe(call, stated, secret, told)


async def subscribe(
    call: Call, stated: Mapping[str, object], secret: str, told: Callable[[Endpoint], Response]
) -> Response:
    """Store a new endpoint with its first secret, and `told` of it as the answer. `stated`: as `settings_of` read it."""
    context, now = call.context, call.context.clock()
    sealed = context.keyring.seal(secret, purpose=SECRET, nonce=context.entropy(NONCE_BYTES))
    endpoint = Endpoint(
        id=context.mint("ep"),
        project_id=call.project_id,
        created_at=now,
        updated_at=now,
        **stated,  # type: ignore[arg-type]  # read and judged field by field in settings_of
    )
    spare = spare_key(call, endpoint.signatures, now)
    answer = told(endpoint)

    async def unit(tx: Connection) -> bool:
        if not await endpoints.insert_within(tx, endpoint, most=context.limits.endpoints):
            return False
        if spare is not None:
            await signing_keys.need(tx, spare)
        row = EndpointSecret(endpoint_id=endpoint.id, number=1, sealed=sealed, created_at=now)
        await endpoint_secrets.insert(tx, row)
        await noted(tx, call, "endpoint.create", endpoint.id, now)
        await call.keep(tx, answer, secret=True)
        return True

    if not await call.database.write(unit):
        raise Problem(
            "endpoint_limit",
            f"A project has at most {context.limits.endpoints} endpoints. Delete one that is not needed.",
        )
    return answer


def spare_key(call: Call, signatures: str, now: int) -> SigningKey | None:
    """What signs as v1a should the project have nothing yet that does."""
    if signatures == V1:
        return None
    context = call.context
    return fresh_key(context.keyring, call.project_id, now=now, mint=context.mint, entropy=context.entropy)


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
    views = [view(one, call.context) for one in kept]
    return listed(call, views, has_more=more, next=cursor(kept[-1].id) if more else None)


async def one(call: Call) -> Response:
    """GET /v1/endpoints/{id}"""
    Query(call.request, ()).settle()
    endpoint_id = call.id("ep")
    found = await call.context.database.read(lambda tx: endpoints.get(tx, endpoint_id, call.project_id))
    if found is None:
        raise absent("ep")
    return reply(view(found, call.context))


async def change(call: Call) -> Response:
    """PATCH /v1/endpoints/{id}: the members that are there; the rest stays."""
    Query(call.request, ()).settle()
    context, endpoint_id = call.context, call.id("ep")
    stated = settings_of(await read_json(call.request, context.limits), context)
    return reply(view(await rewrite(call, endpoint_id, stated), context))


async def rewrite(call: Call, endpoint_id: str, stated: Mapping[str, object]) -> Endpoint:
    """Change what is stated, as `settings_of` read it. Returns the endpoint as it is then."""
    context, now = call.context, call.context.clock()
    spare = spare_key(call, str(stated.get("signatures", V1)), now)

    async def unit(tx: Connection) -> Endpoint | None:
        found = await endpoints.lock(tx, endpoint_id, call.project_id)
        if found is None:
            return None
        changed = replace(found, updated_at=now, **stated)  # type: ignore[arg-type]  # judged in settings_of
        if changed.url != found.url:
            changed = replace(changed, health=None)  # what failed was elsewhere
            await lanes.forgive(tx, endpoint_id, now=now)
        await endpoints.save(tx, changed)
        if spare is not None:
            await signing_keys.need(tx, spare)
        await noted(tx, call, "endpoint.change", endpoint_id, now, members=sorted(stated))
        return changed

    changed = await context.database.write(unit)
    if changed is None:
        raise absent("ep")
    context.ring((LaneKind.ENDPOINT, endpoint_id), now)  # its lane reads it again
    return changed


async def delete(call: Call) -> Response:
    """DELETE /v1/endpoints/{id}: 204, and 204 again, because a client whose first answer got lost must be able to ask twice."""
    Query(call.request, ()).settle()
    await unsubscribe(call, call.id("ep"))
    return Response(status_code=204)


async def unsubscribe(call: Call, endpoint_id: str) -> None:
    """Delete an endpoint; one that is deleted already stays so."""
    context, now = call.context, call.context.clock()

    async def unit(tx: Connection) -> bool:
        if await endpoints.delete(tx, endpoint_id, call.project_id, now=now):
            await outbox.cancel_pending(tx, endpoint_id, now=now)
            await noted(tx, call, "endpoint.delete", endpoint_id, now)
            return True
        return await endpoints.known(tx, endpoint_id, call.project_id)

    if not await context.database.write(unit):
        raise absent("ep")
    context.ring((LaneKind.ENDPOINT, endpoint_id), now)  # what the lane holds in memory is not to be sent any more


async def noted(tx: Connection, call: Call, action: str, endpoint_id: str, now: int, **detail: object) -> None:
    """Add to the trail what the caller did with an endpoint."""
    entropy = call.context.entropy

    def mint(prefix: str) -> str:
        return ids.mint(prefix, now, entropy(ids.ENTROPY_BYTES))

    act = call.by(action, **detail)
    await audit_trail.note(tx, act, project_id=call.project_id, now=now, mint=mint, endpoint_id=endpoint_id)


def view(endpoint: Endpoint, context: Context) -> dict[str, object]:
    """An endpoint as the API shows it. `events`: also for one that named none. Of headers the names alone."""
    headers = orjson.loads(context.keyring.open(endpoint.headers, HEADERS)) if endpoint.headers else {}
    return {
        "id": endpoint.id,
        "object": "endpoint",
        "url": endpoint.url,
        "events": endpoint.events.split(",") if endpoint.events is not None else sorted(ENDS),
        "filter": orjson.loads(endpoint.filter) if endpoint.filter else None,
        "format": endpoint.format,
        "signatures": endpoint.signatures.split(","),
        "headers": dict.fromkeys(headers, MASK),
        "description": endpoint.description,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason,
        "inactive_since": iso_or_none(endpoint.inactive_since),
        "failing_since": iso_or_none(Health.load(endpoint.health).since),
        "max_in_flight": endpoint.max_in_flight,
        "rate_limit": endpoint.rate_limit,
        "retry_schedule": orjson.loads(endpoint.retry_schedule) if endpoint.retry_schedule else None,
        "expires_at": iso_or_none(endpoint.expires_at),
        "created_at": iso(endpoint.created_at),
        "updated_at": iso(endpoint.updated_at),
    }
