"""One authenticated request on its way through a route, and how answers are written."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.api.context import Context
from service.api.problems import Problem
from service.pipeline.audit_trail import Act
from storage.records import ApiKey

NAMES = {
    "task": ("task", "tasks"),
    "ep": ("endpoint", "endpoints"),
    "evt": ("event", "events"),
    "dlv": ("delivery", "deliveries"),
}
ID = re.compile(r"[a-z]{2,8}_[0-9A-Z]{26}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request whose key is known and may do this."""

    context: Context
    request: Request
    key: ApiKey

    @property
    def project_id(self) -> str:
        return self.key.project_id

    def by(self, action: str, **detail: object) -> Act:
        """What the caller orders, for the trail."""
        return Act(action=action, key_id=self.key.id, detail=detail)

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
    return Problem("not_found", f"Your project has no {one} with this id. GET /v1/{many} lists those it has.")


def reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def listing(views: Sequence[object], *, has_more: bool, next: str | None) -> dict[str, object]:
    """The shape of every list."""
    return {"object": "list", "data": views, "has_more": has_more, "next": next}
