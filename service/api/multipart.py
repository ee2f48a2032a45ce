"""Reads a form with one file (RFC 7578): strictly, in one pass, counted while it comes. What is odd is refused, not repaired."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from starlette.requests import Request

from service.api.intake import receive, refuse_encoded
from service.api.problems import Problem
from service.core.request import Fault, Invalid, pointer

MANY = 8  # parts
HEAD_BYTES = 4096  # of one part
FORM_BYTES = 16 * 1024  # what a form may bring beside the file
FIELD_BYTES = 200

# Spring states a charset before the boundary, .NET writes the names of parts without quotes.
_PARAMETER = r"[ \t]*;[ \t]*([a-z]{1,20})=(?:\"([^\"\\]{1,70})\"|([^\s\";,]{1,70}))"
_TYPE = re.compile(rf"multipart/form-data((?:{_PARAMETER})+)[ \t]*", re.IGNORECASE)
_STATED = re.compile(_PARAMETER, re.IGNORECASE)
_DISPOSITION = re.compile(
    rb"form-data[ \t]*;[ \t]*name=(?:\"([^\"\\\r\n]{1,100})\"|([^\s\";\\]{1,100}))"
    rb"((?:[ \t]*;[ \t]*filename(?:=(?:\"(?:[^\"\\\r\n]|\\.)*\"|[^\s\";]+)|\*=[^;\s]*))*)[ \t]*",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Form:
    """What a form held. `file`: the bytes of its one file; the name that came with it is nobody's business."""

    fields: dict[str, str] = field(default_factory=dict)
    file: bytes | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form: the field it is for, whether it came as a file, and its bytes."""

    name: str
    is_file: bool
    content: bytes = field(repr=False)


async def read_parts(request: Request, *, most: int, beside: int, many: int, seconds: float) -> list[Part]:
    """Every part of the form in a body, in order; what they mean is for the caller to judge. `most`: bytes of its file,
    `beside`: of the rest. Raises `Problem`."""
    boundary = _boundary(request)
    body = await _read(request, most + beside, most, seconds)
    parts = [Part(*_name(head), content) for head, content in _parts(body, boundary, many)]
    files = [len(part.content) for part in parts if part.is_file]
    if any(size > most for size in files):
        raise too_large(most)
    if len(body) - sum(files) > beside:
        raise Problem("too_large", f"What stands beside the file is larger than {beside} bytes. Send less.")
    return parts


async def read_form(request: Request, *, file: str, fields: frozenset[str], most: int, seconds: float) -> Form:
    """The form in a body. `file`: the field that holds the file; `fields`: texts that may stand beside it.

    Raises `Problem`, or `Invalid` with what is wrong with its fields.
    """
    boundary = _boundary(request)
    body = await _read(request, most + FORM_BYTES, most, seconds)
    return _form(_parts(body, boundary), file, fields, most)


def _boundary(request: Request) -> bytes:
    refuse_encoded(request)
    found = _TYPE.fullmatch(request.headers.get("content-type", ""))
    stated: list[tuple[str, str]] = (
        [(name.lower(), quoted or bare) for name, quoted, bare in _STATED.findall(found[1])] if found else []
    )
    boundaries = [text for name, text in stated if name == "boundary"]
    beside = [(name, text.lower()) for name, text in stated if name != "boundary"]
    if len(boundaries) != 1 or beside not in ([], [("charset", "utf-8")]):
        raise Problem("unsupported_media_type", 'Send a form: multipart/form-data with the image in the field "file".')
    return boundaries[0].encode("latin-1")


async def _read(request: Request, limit: int, most: int, seconds: float) -> bytes:
    return await receive(request, most=limit, seconds=seconds, too_large=too_large(most))


def _parts(body: bytes, boundary: bytes, many: int = MANY) -> list[tuple[bytes, bytes]]:
    """Heads and contents: nothing before the first boundary, nothing but a line break after the last."""
    opening, between = b"--" + boundary, b"\r\n--" + boundary
    if not body.startswith(opening):
        raise _malformed()
    parts: list[tuple[bytes, bytes]] = []
    at = len(opening)
    while True:
        if body[at : at + 2] == b"--":
            if body[at + 2 :] not in (b"", b"\r\n"):
                raise _malformed()
            return parts
        start = body.find(b"\r\n\r\n", at, at + HEAD_BYTES)
        end = body.find(between, max(start, at))
        if body[at : at + 2] != b"\r\n" or start < 0 or end < start + 4 or len(parts) >= many:
            raise _malformed()
        parts.append((body[at + 2 : start], body[start + 4 : end]))
        at = end + len(between)


def _form(parts: list[tuple[bytes, bytes]], file: str, fields: frozenset[str], most: int) -> Form:
    form, faults = Form(), []
    for head, content in parts:
        name, _ = _name(head)
        if name != file and name not in fields:
            known = " and ".join(sorted(fields))
            faults.append(Fault(pointer=pointer(name), detail=f"There is no such field. The form has {file}, {known}."))
        elif name in form.fields or (name == file and form.file is not None):
            faults.append(Fault(pointer=pointer(name), detail="This is given twice. Give it once."))
        elif name == file:
            if len(content) > most:
                raise too_large(most)
            form.file = content
        elif len(content) > FIELD_BYTES or not (text := _text(content)):
            faults.append(Fault(pointer=pointer(name), detail="This must be a short line of text."))
        else:
            form.fields[name] = text
    if faults:
        raise Invalid(faults)
    return form


def _name(head: bytes) -> tuple[str, bool]:
    """The field a part is for, and whether it is a file. Only the two headers that browsers and clients send are known."""
    name: str | None = None
    is_file = False
    for line in head.split(b"\r\n"):
        header, colon, value = line.partition(b":")
        match header.strip().lower():
            case b"content-disposition" if name is None and (found := _DISPOSITION.fullmatch(value.strip())):
                name, is_file = (found[1] or found[2]).decode("utf-8", errors="replace"), bool(found[3])
            case b"content-type" if colon:
                pass
            case b"content-length" if colon:
                pass
            case b"content-transfer-encoding" if value.strip().lower() in (b"binary", b"8bit", b"7bit"):
                pass
            case _:
                raise _malformed()
    if name is None:
        raise _malformed()
    return name, is_file


def _text(content: bytes) -> str:
    text = content.decode("utf-8", errors="replace")
    return text if text.isprintable() else ""


def _malformed() -> Problem:
    return Problem(
        "malformed_form", "The form cannot be read: its parts do not follow RFC 7578. Let a library write it."
    )


def too_large(most: int) -> Problem:
    return Problem("too_large", f"The file is larger than {most} bytes. Send a smaller one.")
