"""Reads a request as it was written to a file: a line, headers, an empty line, the body."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

HEAD_MOST: Final = 64 * 1024
HEADERS_MOST: Final = 500
END: Final = re.compile(rb"\r?\n\r?\n")
HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:(.*)")
CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]{0,200}\r?\n")


class BadDump(ValueError):
    """The text is no request. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """The headers and body of a request. `notes`: what does not agree with each other in it."""

    headers: list[tuple[str, str]]
    body: bytes
    notes: tuple[str, ...] = ()


def read_request(raw: bytes) -> Dumped:
    """The request in a dump. Raises `BadDump`."""
    found = END.search(raw, 0, HEAD_MOST)
    head, body = (raw[: found.start()], raw[found.end() :]) if found else (raw, b"")
    if not found and len(raw) > HEAD_MOST:
        raise BadDump("there is no empty line between headers and body in its first 64 KiB")
    lines = [line for line in head.decode("latin-1").splitlines() if line.strip()]
    headers = [read_header(line) for line in lines[:HEADERS_MOST] if not _starts(line)]
    if not headers:
        raise BadDump("it holds no headers; it begins with a line such as webhook-id: evt_…")
    return _framed(headers, body)


def read_header(line: str) -> tuple[str, str]:
    """`name: value`. Raises `BadDump`."""
    found = HEADER.fullmatch(line.strip("\r\n"))
    if found is None:
        raise BadDump(f"{line[:60]!r} is no header; it looks like webhook-id: evt_…")
    return found[1], found[2].strip(" \t")


def _starts(line: str) -> bool:
    """Whether it is the line before the headers."""
    return bool(re.fullmatch(r"(?:[A-Z]{3,10} \S{1,4000}(?: HTTP/[0-9.]+)?|HTTP/[0-9.]+ .*)", line))


def _framed(headers: list[tuple[str, str]], body: bytes) -> Dumped:
    """The body as its headers frame it."""
    stated = {name.lower(): value for name, value in headers}
    if "chunked" in stated.get("transfer-encoding", "").lower() and (whole := _unchunked(body)) is not None:
        return Dumped(headers, whole, ("the body was written down in chunks; they are put together",))
    length = stated.get("content-length", "")
    if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) == len(body):
        return Dumped(headers, body)
    if int(length) < len(body):
        note = f"the file holds {len(body) - int(length)} bytes more than content-length says; they are left out"
        return Dumped(headers, body[: int(length)], (note,))
    return Dumped(headers, body, (f"content-length says {length} bytes, and there are {len(body)}",))


def _unchunked(body: bytes) -> bytes | None:
    """The body without its chunks' frames, when it is in chunks to the end."""
    whole, at = b"", 0
    while (found := CHUNK.match(body, at)) is not None:
        size = int(found[1], 16)
        if size == 0:
            return whole
        whole += body[found.end() : found.end() + size]
        at = found.end() + size
        at += 2 if body[at : at + 2] == b"\r\n" else 1 if body[at : at + 1] == b"\n" else 0
    return None
