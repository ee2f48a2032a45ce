"""/v1/audit: is anything missing; /v1/audit/log: who ordered what."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson
from starlette.responses import Response

from service.api.call import Call, listed, reply
from service.api.query import Query, cursor
from service.core.events import iso_or_none
from service.core.times import iso
from service.pipeline import audit as reconciling
from service.pipeline.audit import ORPHANS, STAGES, Place, Scope
from service.pipeline.audit_part import CANNOT_BE_KNOWN, COUNTS, Finding
from storage import audit
from storage.records import AuditEntry

PLACE = re.compile(r"(events) ([0-9]{1,18})|(tasks) ((?:task_[0-9A-Z]{10,26})?)|(orphans) ((?:cbk_[0-9A-Z]{26})?)")
ENTRY = re.compile(r"aud_[0-9A-Z]{26}")


async def check(call: Call) -> Response:
    """GET /v1/audit: one stretch of it. Pushes that nobody owns belong to no project: they are shown to `admin` alone."""
    query = Query(call.request, ("since", "after"))
    since, after = query.instant("since"), query.cursor(PLACE)
    query.settle()
    scope = Scope(
        project_id=call.project_id,
        providers=call.context.providers,
        since=since or 0,
        orphans="admin" in call.key.scopes,
    )
    place = _place(after)
    if place is not None and place.stage == ORPHANS and not scope.orphans:
        place = None  # a cursor of another key's
    part, following = await reconciling.stretch(call.context.database, scope, place)
    next = cursor(str(following)) if following is not None else None
    return reply(
        {
            "object": "audit",
            "since": iso_or_none(since),
            "counts": {name: part.counts[name] if name != ORPHANS or scope.orphans else None for name in COUNTS},
            "next_attempt_at": iso_or_none(part.next_at),
            "unexplained": _findings(part.unexplained),
            "unknown": _findings(part.unknown),
            "cannot_be_known": CANNOT_BE_KNOWN,
            "has_more": next is not None,
            "next": next,
        }
    )


async def log(call: Call) -> Response:
    """GET /v1/audit/log: what was ordered in the project, newest first."""
    query = Query(call.request, ("limit", "after", "task", "endpoint"))
    limit, after = query.limit(), query.cursor(ENTRY)
    query.settle()
    task, endpoint, start = query.text("task"), query.text("endpoint"), after[0] if after else None
    found = await call.context.database.read(
        lambda tx: audit.page(tx, call.project_id, after=start, limit=limit + 1, task=task, endpoint=endpoint)
    )
    kept, more = found[:limit], len(found) > limit
    return listed(call, [_act(one) for one in kept], has_more=more, next=cursor(kept[-1].id) if more else None)


def _place(found: re.Match[str] | None) -> Place | None:
    if found is None:
        return None
    stage = next(stage for stage in STAGES if stage in found.groups())
    return Place(stage, found[0].removeprefix(f"{stage} "))


def _findings(found: Sequence[Finding]) -> list[dict[str, object]]:
    return [{"kind": one.kind, "message": one.text, **one.names} for one in found]


def _act(entry: AuditEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "object": "act",
        "at": iso(entry.at),
        "action": entry.action,
        "key": entry.key_id,
        "task": entry.task_id,
        "endpoint": entry.endpoint_id,
        "detail": orjson.Fragment(entry.detail),
    }
