"""Reads the body of a create: a form, as the SDK for Python always sends, or JSON, as the one for Node sends without a file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from service.api.body import read_json
from service.api.call import Call
from service.api.multipart import Part, read_parts
from service.api.uploads import room
from service.compat.openai.brackets import nest
from service.core.request import Fault, Invalid, pointer

PARTS: Final = 400
FILE: Final = "input_reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a request brought. `form`: its members are text, as a form knows nothing else."""

    members: dict[str, object]
    file: bytes | None = field(default=None, repr=False)
    form: bool = False


async def receive(call: Call, places: ExitStack) -> Sent:
    """The body, read and bounded. Raises `Problem`, `Malformed` or `Invalid`. `places`: holds its room if it may bring a file."""
    request, limits = call.request, call.context.limits
    if not request.headers.get("content-type", "").strip().lower().startswith("multipart/"):
        body = await read_json(request, limits)
        if not isinstance(body, dict):
            raise Invalid([Fault(pointer="", detail="This must be an object.")])
        return Sent(members=body)
    length = request.headers.get("content-length", "")
    small = length.isdecimal() and int(length[:20]) <= limits.body_bytes
    if not small:
        places.enter_context(room(call.context))
    seconds = limits.body_seconds if small else limits.upload_seconds
    parts = await read_parts(request, most=limits.upload_bytes, beside=limits.body_bytes, many=PARTS, seconds=seconds)
    return _sent(parts)


def _sent(parts: list[Part]) -> Sent:
    faults: list[Fault] = []
    files = [part for part in parts if part.is_file]
    faults += [
        Fault(pointer=pointer(part.name), detail=f"The only file that is taken is {FILE}.")
        for part in files
        if part.name != FILE
    ]
    if len(files) > 1 and not faults:
        faults.append(Fault(pointer=pointer(FILE), detail="This is given twice. Give it once."))
    fields = [(part.name, _text(part, faults)) for part in parts if not part.is_file]
    members = nest(fields, faults)
    if files and FILE in members:
        faults.append(
            Fault(pointer=pointer(FILE), detail="This is given both as a file and as text. Give one of them.")
        )
    if faults:
        raise Invalid(faults)
    return Sent(members=members, file=files[0].content if files else None, form=True)


def _text(part: Part, faults: list[Fault]) -> str:
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"This is not UTF-8: byte {error.start} does not belong."
        faults.append(Fault(pointer=pointer(part.name), detail=detail))
        return ""
