"""Reads a client's JSON body: one media type, no encodings, counted while it comes."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from starlette.requests import Request

from service.api.context import Limits
from service.api.intake import receive, refuse_encoded
from service.api.problems import Problem
from service.core.json_text import load_json
from service.core.request import Fault, pointer, refuse_unusable, shown


async def read_json(request: Request, limits: Limits, *, judged: bool = False) -> object:
    """The decoded body. Raises `Problem`, `Malformed`, or `Invalid` where it holds text that cannot be kept.

    `judged`: somebody else looks for that, and tells it among all other faults.
    """
    refuse_encoded(request)
    _refuse_other_types(request)
    detail = f"The body is larger than {limits.body_bytes} bytes. Send a smaller one."
    too_large = Problem("too_large", detail)
    raw = await receive(request, most=limits.body_bytes, seconds=limits.body_seconds, too_large=too_large)
    value = load_json(raw)
    if not judged:
        refuse_unusable(value)
    return value


async def read_optional(request: Request, limits: Limits) -> object:
    """The decoded body of a route that also works without one."""
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return {}
    return await read_json(request, limits)


def read_members(body: object, known: Collection[str], faults: list[Fault]) -> dict[str, object]:
    """The members of a decoded object that are known; every other one is a fault, as is anything but an object."""
    if not isinstance(body, dict):
        faults.append(Fault(pointer="", detail="This must be an object."))
        return {}
    for name in body:
        if name not in known:
            close = difflib.get_close_matches(name[:40].lower(), known, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Leave it out."
            faults.append(Fault(pointer=pointer(name), detail=f'There is no "{shown(name)}". {hint}'))
    return {name: value for name, value in body.items() if name in known}


def _refuse_other_types(request: Request) -> None:
    """By the header alone; one that is stated twice says nothing."""
    essence, *parameters = ", ".join(request.headers.getlist("content-type")).lower().split(";")
    stated = [said for one in parameters if (said := one.replace(" ", "").replace("\t", "").replace('"', ""))]
    if essence.strip() != "application/json" or stated not in ([], ["charset=utf-8"]):
        raise Problem("unsupported_media_type", "Send JSON in UTF-8, with Content-Type: application/json.")
