"""One authenticated request on its way through a route, and how answers are written."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.api.context import Context
from service.api.once import ClaimingDatabase, ClaimingRecorder, Once
from service.api.problems import Problem
from service.core import ids
from service.pipeline.audit_trail import Act
from service.pipeline.create import CreateDesk
from service.pipeline.recorder import Recording
from storage.database import Connection, Database
from storage.records import ApiKey, Task

NAMES = {
    "task": ("task", "tasks"),
    "ep": ("endpoint", "endpoints"),
    "evt": ("event", "events"),
    "dlv": ("delivery", "deliveries"),
    "key": ("key", "keys"),
    "prj": ("project", "projects"),
}
ID = re.compile(r"[a-z]{2,8}_[0-9A-Z]{26}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request whose key is known and may do this."""

    context: Context
    request: Request
    key: ApiKey
    once: Once | None = None  # it says that it may be asked again

    @property
    def project_id(self) -> str:
        return self.key.project_id

    def by(self, action: str, **detail: object) -> Act:
        """What the caller orders, for the trail."""
        return Act(action=action, key_id=self.key.id, detail=detail)

    # What a creating request uses, so that a repeat of it is answered and not done again (service/api/once.py)

    async def stated(self, members: object) -> None:
        """Say what is asked, parsed and before it is judged. Raises `Answered` when it was answered before."""
        if self.once is not None:
            await self.once.stated(members)

    @property
    def database(self) -> Database:
        """Whose `write` raises `Answered` when it was done before."""
        if self.once is not None:
            return ClaimingDatabase(self.context.database, self.once)
        return self.context.database

    @property
    def recorder(self) -> Recording:
        """The same for units with a ledger."""
        if self.once is not None:
            return ClaimingRecorder(self.context.recorder, self.once)
        return self.context.recorder

    def creating(self) -> CreateDesk:
        return replace(self.context.creating(), database=self.database)

    async def keep(self, tx: Connection, response: Response, *, secret: bool = False, task: Task | None = None) -> None:
        """Store the answer for whoever asks the same again. In the creating transaction, which `database` or `recorder` runs.

        `secret`: sealed. `task`: what was created, as long as which is open the answer is kept.
        """
        if self.once is not None:
            await self.once.keep(tx, response, secret=secret, task=task)

    async def in_steps(self, work: Callable[[], Awaitable[Response]], *, seconds: float) -> Response:
        """For what is not done in one transaction: nobody else does it meanwhile, and its answer is kept."""
        return await (work() if self.once is None else self.once.in_steps(work, seconds=seconds))

    def id(self, prefix: str) -> str:
        """The id in the path. What cannot be one of this kind is not there."""
        stated = str(self.request.path_params["id"])
        if not ID.fullmatch(stated) or not stated.startswith(f"{prefix}_"):
            raise absent(prefix)
        return stated


Answer: TypeAlias = Callable[[Call], Awaitable[Response]]


def absent(prefix: str) -> Problem:
    """The one answer for what never was, what is gone, and what belongs to another project."""
    one, many = NAMES[prefix]
    if prefix in (ids.PROJECT, ids.KEY):  # one with `admin` looks after those of all projects
        return Problem("not_found", f"This key may see no {one} with this id. GET /v1/{many} lists those it may.")
    return Problem("not_found", f"Your project has no {one} with this id. GET /v1/{many} lists those it has.")


def reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def listing(views: Sequence[object], *, has_more: bool, next: str | None) -> dict[str, object]:
    """The shape of every list."""
    return {"object": "list", "data": views, "has_more": has_more, "next": next}


def listed(
    call: Call,
    views: Sequence[object],
    *,
    has_more: bool,
    next: str | None,
    **beside: object,
) -> Response:
    """One page of a list. `beside`: further members, which the next page is asked for with as well."""
    answer = reply({**listing(views, has_more=has_more, next=next), **beside})
    if has_more and next is not None:
        asked = {
            **dict(call.request.query_params),
            **{name: str(value) for name, value in beside.items()},
            "after": next,
        }
        link = f"{call.context.base}{call.request.scope['path']}?{urlencode(asked)}"
        answer.headers["link"] = f'<{link}>; rel="next"'
    return answer
