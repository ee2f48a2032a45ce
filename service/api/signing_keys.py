"""/v1/signing-keys: what receivers verify v1a with, and a new key pair beside the old one."""

from __future__ import annotations

from starlette.responses import Response

from service.api.body import read_members, read_optional
from service.api.call import Call, listing, reply
from service.api.query import Query
from service.api.rotation import OLD_MOST, overlap_of
from service.core.events import iso_or_none
from service.core.request import Fault, Invalid
from service.core.times import SECOND, iso
from service.pipeline import audit_trail
from service.pipeline.signing import fresh_key
from storage import signing_keys
from storage.database import Connection
from storage.records import LaneKind, SigningKey


async def page(call: Call) -> Response:
    """GET /v1/signing-keys: all that sign now, newest first. Never more than eleven, so it has no pages."""
    Query(call.request, ()).settle()
    now = call.context.clock()
    live = await call.context.database.read(lambda tx: signing_keys.live(tx, call.project_id, now=now))
    return reply(listing([view(one) for one in live], has_more=False, next=None))


async def rotate(call: Call) -> Response:
    """POST /v1/signing-keys/rotate: a new key, also when there was none. The one before signs beside it for a while."""
    Query(call.request, ()).settle()
    context, now = call.context, call.context.clock()
    faults: list[Fault] = []
    body = await read_optional(call.request, context.limits)
    await call.stated(body)
    overlap = overlap_of(read_members(body, ("overlap_seconds",), faults), faults)
    if faults:
        raise Invalid(faults)
    fresh = fresh_key(context.keyring, call.project_id, now=now, mint=context.mint, entropy=context.entropy)

    async def unit(tx: Connection) -> tuple[Response, list[str]]:
        until = now + overlap * SECOND
        live = await signing_keys.rotate(tx, fresh, expires_at=until, most=OLD_MOST)
        act = call.by("signing_key.rotate", overlap_seconds=overlap, signing_key=fresh.id)
        await audit_trail.note(tx, act, project_id=call.project_id, now=now, mint=context.mint)
        answer = reply({**view(fresh), "retiring": [view(one) for one in live if one.id != fresh.id]})
        await call.keep(tx, answer)
        return answer, await signing_keys.signed_endpoints(tx, call.project_id)

    answer, signed = await call.database.write(unit)
    for endpoint in signed:
        context.ring((LaneKind.ENDPOINT, endpoint), now)  # its lane reads its keys again
    return answer


def view(key: SigningKey) -> dict[str, object]:
    """A key as anybody may see it."""
    return {
        "id": key.id,
        "object": "signing_key",
        "algorithm": "ed25519",
        "public_key": key.public_key,
        "status": "active" if key.expires_at is None else "retiring",
        "created_at": iso(key.created_at),
        "expires_at": iso_or_none(key.expires_at),
    }
