"""Reads a client's JSON body: one media type, no encodings, counted while it comes."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Collection

from starlette.requests import Request

from service.api.context import Limits
from service.api.problems import Problem
from service.core.json_text import load_json
from service.core.request import Fault, pointer, shown


async def read_json(request: Request, limits: Limits) -> object:
    """The decoded body. Raises `Problem` or `Malformed`."""
    _refuse_unread(request, limits.body_bytes)
    kept = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                kept += chunk
                if len(kept) > limits.body_bytes:
                    raise _too_large(limits.body_bytes)
    except TimeoutError:
        detail = f"The body did not arrive within {limits.body_seconds:g} seconds. Send it again."
        raise Problem("too_slow", detail, headers={"connection": "close"}) from None
    return load_json(bytes(kept))


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


def _refuse_unread(request: Request, limit: int) -> None:
    """Refuse by the headers alone what need not be read."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem("unsupported_media_type", "Send the body without Content-Encoding.")
    essence, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if essence.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Problem("unsupported_media_type", "Send JSON in UTF-8, with Content-Type: application/json.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> Problem:
    return Problem("too_large", f"The body is larger than {limit} bytes. Send a smaller one.")
