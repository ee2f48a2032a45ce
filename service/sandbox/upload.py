"""Reads an uploaded file out of a multipart body, and tells its kind by its first bytes."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import HTTP

from service.sandbox.order import Refused

MULTIPART_MARGIN = 64 << 10


def read_file(content_type: str, body: bytes, most: int, code: str | None = None) -> bytes:
    """The bytes of the form's field `file`."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise Refused("send multipart/form-data with a field named file", code=code)
    form = message_from_bytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body, policy=HTTP)
    for part in form.iter_parts():
        if part.get_param("name", header="content-disposition") == "file":
            found = part.get_payload(decode=True)
            content = found if isinstance(found, bytes) else b""
            if len(content) > most:
                raise Refused(f"the file is over {most >> 20} MB", code=code)
            return content
    raise Refused("the form has no field named file", code=code)


def picture_kind(content: bytes) -> str | None:
    """What its bytes are: what its name or header claims is not asked."""
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return None
