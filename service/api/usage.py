"""/v1/usage: what tasks came to, by group, in exact sums."""

from __future__ import annotations

import re

from starlette.responses import Response

from service.api.call import Call, listed
from service.api.problems import Problem
from service.api.query import Query, cursor
from service.core import ids
from service.core.request import Fault, Invalid
from service.core.times import DAY, iso
from service.core.usage import Usage, view
from storage import usage as rows

GROUPS = ("account", "day", "model", "project")
METADATA = "metadata."
DEFAULT_DAYS = 30
STRETCH = 5_000  # tasks read in one go: other readers get their turn between
MOST_GROUPS = 10_000
CURSOR = re.compile(r"groups ([0-9]{1,5})")
NO_GROUP = "Say by what: project, account, model, day, or metadata.<name>."
TOO_MANY = (
    f"More than {MOST_GROUPS:,} groups. Ask for less at a time, with since and until, or group by something coarser."
)


async def page(call: Call) -> Response:
    """GET /v1/usage: of the tasks made in a span of time. Of the key's own project; by project, of all, and for `admin` alone."""
    query = Query(call.request, ("group_by", "since", "until", "limit", "after"))
    limit, after, by = query.limit(), query.cursor(CURSOR), query.text("group_by")
    now = call.context.clock()
    until = query.instant("until")
    since = query.instant("since")
    query.settle()
    if by is None or not (by in GROUPS or (by.startswith(METADATA) and len(by) > len(METADATA))):
        raise Invalid([Fault(pointer="/group_by", detail=NO_GROUP)])
    if by == "project" and "admin" not in call.key.scopes:
        raise Problem(
            "missing_scope", "Usage of all projects is for keys with the scope admin. Group by something else."
        )
    until = now if until is None else until
    since = until - DEFAULT_DAYS * DAY if since is None else since  # named in the answer, for the pages that follow
    found = await gather(call, by, since, until)
    names = sorted(found, key=lambda name: (name is None, name or ""))
    start = int(after[1]) if after else 0
    shown = names[start : start + limit]
    more = start + limit < len(names)
    views = [{"object": "usage", "group": _group(by, name), **view(found[name])} for name in shown]
    next = cursor(f"groups {start + limit}") if more else None
    return listed(call, views, has_more=more, next=next, group_by=by, since=iso(since), until=iso(until))


async def gather(call: Call, by: str, since: int, until: int) -> dict[str | None, Usage]:
    """The sums of each group, read a stretch at a time. Tasks are found by the moment in their ids."""
    found: dict[str | None, Usage] = {}
    grouped, key = ("metadata", by.removeprefix(METADATA)) if by.startswith(METADATA) else (by, "")
    project_id = None if by == "project" else call.project_id
    after: str | None = ids.floor(ids.TASK, since)
    below = ids.floor(ids.TASK, until)
    while after is not None:
        alike, after = await call.context.database.read(
            lambda tx, after=after: rows.stretch(  # type: ignore[misc]
                tx, project_id=project_id, by=grouped, key=key, after=after, below=below, batch=STRETCH
            )
        )
        for one in alike:
            found.setdefault(one.group, Usage()).add(
                status=one.status,
                charge=one.charge,
                unit=one.unit,
                estimated=one.estimated,
                charged=one.charged,
                unit_price=one.unit_price,
                surplus=one.surplus,
                count=one.count,
            )
        if len(found) > MOST_GROUPS:
            raise Invalid([Fault(pointer="/group_by", detail=TOO_MANY)])
    return found


def _group(by: str, name: str | None) -> dict[str, str | None]:
    """The group by its name: a day as a date, and null for tasks without such metadata."""
    if by == "day" and name is not None:
        return {by: iso(int(name) * DAY)[:10]}
    return {by: name}
