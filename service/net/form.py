"""Writes a form with one file (RFC 7578), for the few requests that are no JSON."""

from __future__ import annotations

import re
import secrets

from service.providers.base import File

_TOKEN = re.compile(r"[A-Za-z0-9._/+-]{1,100}", re.ASCII)


def form(file: File) -> tuple[str, bytes]:
    """The Content-Type and the body. Raises ValueError for a name that would need quoting: all of them are ours."""
    for word in (file.name, file.filename, file.type):
        if not _TOKEN.fullmatch(word):
            raise ValueError(f"a form cannot carry {word[:40]!r} as it is")
    boundary = _boundary(file.content)
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{file.name}"; filename="{file.filename}"\r\n'
        f"Content-Type: {file.type}\r\n\r\n"
    )
    body = b"".join([head.encode("ascii"), file.content, f"\r\n--{boundary}--\r\n".encode("ascii")])
    return f"multipart/form-data; boundary={boundary}", body


def _boundary(content: bytes) -> str:
    """Drawn by chance, so that no file can end its part early; should one hold it by chance, another is drawn."""
    while True:
        boundary = secrets.token_hex(24)
        if boundary.encode("ascii") not in content:
            return boundary
