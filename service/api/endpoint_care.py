"""What an endpoint's owner does beside changing it: test, pause and resume it, look after its secrets, see how it does, send again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from starlette.responses import Response

from service.api import deliveries
from service.api.body import read_json, read_optional
from service.api.call import Call, absent, reply
from service.api.endpoints import noted, view
from service.api.event_types import TYPES
from service.api.problems import Problem
from service.api.query import Query
from service.api.rotation import OLD_MOST, overlap_of
from service.api.subscription import read_secret
from service.core import ids
from service.core.events import EventType, iso_or_none
from service.core.keys import NONCE_BYTES
from service.core.request import Fault, Invalid, pointer, shown
from service.core.times import HOUR, SECOND, iso, parse_iso
from service.pipeline.ledger import Ledger
from service.pipeline.orders import SECRET
from service.pipeline.redelivery import Inactive, TooSoon, refuse_inactive, replay_failed, replay_missing, send_sample
from storage import endpoint_secrets, endpoints, lanes, standing
from storage.database import Connection
from storage.records import Delivery, Endpoint, EndpointSecret, EndpointStatus, LaneKind

Changing = Callable[[Endpoint, int], Endpoint]

STATS_OVER = 24 * HOUR
REPLAY_SECONDS = 300.0  # far longer than the most that one request replays


async def test(call: Call) -> Response:
    """POST /v1/endpoints/{id}/test: 202 with the delivery of a sample; its attempt stands there when it is made."""
    Query(call.request, ()).settle()
    endpoint_id = call.id("ep")
    asked = await read_optional(call.request, call.context.limits)
    await call.stated(asked)
    body = _members(asked, ("type",))
    stated = body.get("type", EventType.TASK_SUCCEEDED.value)
    if stated not in TYPES:
        detail = "This must be one type of event: " + ", ".join(TYPES)
        raise Invalid([Fault(pointer="/type", detail=detail)])
    answers: list[Response] = []

    async def also(tx: Connection, made: Delivery) -> None:
        answers[:] = [await deliveries.accepted(tx, call, made)]

    try:
        made = await send_sample(call.recorder, endpoint_id, call.project_id, EventType(str(stated)), also=also)
    except TooSoon as soon:
        detail = f"An endpoint can be tested every 6 seconds. Try again in {soon.seconds}."
        raise Problem("too_soon", detail, headers={"retry-after": str(soon.seconds)}) from None
    except Inactive as inactive:
        raise Problem("endpoint_inactive", str(inactive)) from None
    if made is None:
        raise absent("ep")
    return answers[0]


async def pause(call: Call) -> Response:
    """POST /v1/endpoints/{id}/pause: it is owed its events and sent nothing until it is resumed."""
    Query(call.request, ()).settle()

    def paused(endpoint: Endpoint, now: int) -> Endpoint:
        refuse_inactive(endpoint, now)
        if endpoint.status is EndpointStatus.PAUSED:
            return endpoint
        return replace(endpoint, status=EndpointStatus.PAUSED, inactive_since=now, updated_at=now)

    _, after = await _set(call, "endpoint.pause", paused)
    return reply(view(after, call.context))


async def resume(call: Call) -> Response:
    """POST /v1/endpoints/{id}/resume: send again, now: failures, breaker and Retry-After are forgotten. `missed_since`: what to replay."""
    Query(call.request, ()).settle()

    def resumed(endpoint: Endpoint, now: int) -> Endpoint:
        if endpoint.expires_at is not None and endpoint.expires_at <= now:
            raise Inactive("Its lease has ended. PATCH expires_at first.")
        if endpoint.status is EndpointStatus.ACTIVE:
            return endpoint
        return replace(
            endpoint,
            status=EndpointStatus.ACTIVE,
            disabled_reason=None,
            inactive_since=None,
            health=None,
            updated_at=now,
        )

    before, after = await _set(call, "endpoint.resume", resumed, forgive=True)
    missed = before.inactive_since if before.status is EndpointStatus.DISABLED else None
    return reply({**view(after, call.context), "missed_since": iso_or_none(missed)})


async def _set(call: Call, action: str, change: Changing, *, forgive: bool = False) -> tuple[Endpoint, Endpoint]:
    """Change an endpoint's status and tell its lane. Returns it before and after. `forgive`: also forget what it last answered."""
    endpoint_id = call.id("ep")

    async def unit(tx: Connection, ledger: Ledger) -> tuple[Endpoint, Endpoint] | None:
        found = await endpoints.lock(tx, endpoint_id, call.project_id)
        if found is None:
            return None
        changed = change(found, ledger.now)
        if changed != found:
            await endpoints.save(tx, changed)
            await noted(tx, call, action, endpoint_id, ledger.now)
        if forgive:
            await lanes.forgive(tx, endpoint_id, now=ledger.now)
        ledger.arrive(LaneKind.ENDPOINT, endpoint_id, ledger.now)
        return found, changed

    try:
        done = await call.context.recorder.write(unit)
    except Inactive as inactive:
        raise Problem("endpoint_inactive", str(inactive)) from None
    if done is None:
        raise absent("ep")
    call.context.ring((LaneKind.ENDPOINT, endpoint_id), call.context.clock())
    return done


async def secret(call: Call) -> Response:
    """GET /v1/endpoints/{id}/secret: what signs now, and until when older ones sign beside it."""
    Query(call.request, ()).settle()
    context, endpoint_id, now = call.context, call.id("ep"), call.context.clock()

    async def unit(tx: Connection) -> Sequence[EndpointSecret]:
        found = await endpoints.get(tx, endpoint_id, call.project_id)
        return await endpoint_secrets.live(tx, endpoint_id, now=now) if found is not None else ()

    live = await context.database.read(unit)
    if not live:
        raise absent("ep")
    return reply(
        {
            "object": "endpoint_secret",
            "endpoint": endpoint_id,
            "secret": context.keyring.open(live[0].sealed, SECRET),
            "created_at": iso(live[0].created_at),
            "retiring": [
                {"created_at": iso(one.created_at), "retires_at": iso_or_none(one.retires_at)} for one in live[1:]
            ],
        }
    )


async def rotate(call: Call) -> Response:
    """POST /v1/endpoints/{id}/rotate: the endpoint with its new secret; the old one signs too for a while."""
    Query(call.request, ()).settle()
    context, endpoint_id = call.context, call.id("ep")
    asked = await read_optional(call.request, context.limits)
    await call.stated(asked)
    body = _members(asked, ("overlap_seconds", "secret"))
    faults: list[Fault] = []
    overlap = overlap_of(body, faults)
    fresh = read_secret(body.get("secret"), context, faults)
    if faults:
        raise Invalid(faults)

    def told(found: Endpoint, retires_at: int) -> Response:
        return reply({**view(found, context), "secret": fresh, "old_secret_retires_at": iso(retires_at)})

    return await renew(call, endpoint_id, fresh, overlap, told)


async def renew(
    call: Call, endpoint_id: str, fresh: str, overlap: int, told: Callable[[Endpoint, int], Response]
) -> Response:
    """Put a new secret in force; the old one signs beside it for `overlap` seconds. `told`: the answer, given until when."""
    context = call.context
    sealed, now = context.keyring.seal(fresh, purpose=SECRET, nonce=context.entropy(NONCE_BYTES)), context.clock()
    retires_at = now + overlap * SECOND

    async def unit(tx: Connection) -> Response | None:
        found = await endpoints.lock(tx, endpoint_id, call.project_id)
        if found is None:
            return None
        await endpoint_secrets.rotate(tx, endpoint_id, sealed, now=now, retires_at=retires_at, most=OLD_MOST)
        await noted(tx, call, "endpoint.rotate", endpoint_id, now, overlap_seconds=overlap)
        answer = told(found, retires_at)
        await call.keep(tx, answer, secret=True)
        return answer

    answer = await call.database.write(unit)
    if answer is None:
        raise absent("ep")
    context.ring((LaneKind.ENDPOINT, endpoint_id), now)
    return answer


async def stats(call: Call) -> Response:
    """GET /v1/endpoints/{id}/stats: of the last day."""
    Query(call.request, ()).settle()
    endpoint_id, since = call.id("ep"), call.context.clock() - STATS_OVER

    async def unit(tx: Connection) -> standing.Standing | None:
        if await endpoints.get(tx, endpoint_id, call.project_id) is None:
            return None
        floor = ids.floor(ids.DELIVERY, since)
        return await standing.of(tx, endpoint_id, call.project_id, since=since, floor=floor)

    found = await call.context.database.read(unit)
    if found is None:
        raise absent("ep")
    attempts, failed = len(found.durations), sum(found.failures.values())
    durations = sorted(found.durations)
    return reply(
        {
            "object": "endpoint_stats",
            "endpoint": endpoint_id,
            "since": iso(found.since),
            "attempts": attempts,
            "succeeded": attempts - failed,
            "success_rate": round((attempts - failed) / attempts, 4) if attempts else None,
            "failures": found.failures,
            "duration_ms": {"p50": quantile(durations, 0.5), "p95": quantile(durations, 0.95)},
            "backlog": found.backlog,
            "oldest_pending_at": iso_or_none(found.oldest_at),
            "next_attempt_at": iso_or_none(found.next_at),
        }
    )


def quantile(ordered: Sequence[int], share: float) -> int | None:
    """The least value that at least this share of them does not exceed."""
    return ordered[max(-int(-len(ordered) * share // 1), 1) - 1] if ordered else None


async def replay(call: Call) -> Response:
    """POST /v1/endpoints/{id}/replay: 202 with how many deliveries were made due."""
    Query(call.request, ()).settle()
    context, endpoint_id = call.context, call.id("ep")
    asked = await read_json(call.request, context.limits)
    await call.stated(asked)
    body = _members(asked, ("which", "since"))
    faults: list[Fault] = []
    which, stated = body.get("which"), body.get("since")
    if which not in ("missing", "failed"):
        faults.append(Fault(pointer="/which", detail="This must be missing or failed."))
    since = parse_iso(stated) if isinstance(stated, str) and len(stated) <= 64 else None
    if since is None:
        faults.append(Fault(pointer="/since", detail="This must be an instant such as 2026-11-20T21:10:00Z."))
    if faults or since is None:
        raise Invalid(faults)
    return await call.in_steps(lambda: _replay(call, endpoint_id, str(which), since), seconds=REPLAY_SECONDS)


async def _replay(call: Call, endpoint_id: str, which: str, since: int) -> Response:
    context = call.context
    found = await context.database.read(lambda tx: endpoints.get(tx, endpoint_id, call.project_id))
    if found is None:
        raise absent("ep")
    try:
        refuse_inactive(found, context.clock())
    except Inactive as inactive:
        raise Problem("endpoint_inactive", str(inactive)) from None
    order = {"which": which, "since": iso(since)}
    await context.database.write(lambda tx: noted(tx, call, "replay", endpoint_id, context.clock(), **order))
    try:
        if which == "failed":
            done = await replay_failed(context.recorder, found, since)
        else:
            done = await replay_missing(context.recorder, context.database, found, since)
    except Inactive as inactive:  # meanwhile
        raise Problem("endpoint_inactive", str(inactive)) from None
    answer = {"object": "replay", "endpoint": endpoint_id, "which": which, "since": iso(since)}
    return reply({**answer, "count": done.count, "next_since": iso_or_none(done.next_since)}, 202)


def _members(body: object, known: Sequence[str]) -> dict[str, object]:
    if not isinstance(body, dict):
        raise Invalid([Fault(pointer="", detail="This must be an object.")])
    strange = [name for name in body if name not in known]
    if strange:
        detail = 'There is no "{}". There is ' + ", ".join(known) + "."
        raise Invalid([Fault(pointer=pointer(name), detail=detail.format(shown(name))) for name in strange])
    return body
