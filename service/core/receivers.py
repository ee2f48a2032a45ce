"""What a receiver's code did to arrive at the signature it computed, when that is not the right one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from hmac import digest
from typing import Final

from service.core import bodies, misreadings, signature
from service.core.evidence import Diagnosis, Evidence
from service.core.signature import BadSecret

DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
FIX: Final = (
    "The key is what the base64 behind whsec_ decodes to; what is signed is webhook-id, a full stop, webhook-timestamp, a full stop "
    "and the raw body; HMAC-SHA256, then base64."
)


def explain(evidence: Evidence, computed: str) -> Diagnosis | None:
    """The mistakes, of key, of content and of body, that together give what was computed. None: it is the right one."""
    stated, fault = signature.read_headers(evidence.headers)
    wanted = _raw(computed)
    if wanted is None:
        text = "What your code computed is no HMAC-SHA256: that is 32 bytes, in base64 or hexadecimal."
        return Diagnosis(verdict="receiver", text=text, fix=FIX)
    if fault is not None:
        return None
    for of_key, key in _keys(evidence.secrets[0] if evidence.secrets else ""):
        for of_body, body in _bodies(evidence.body):
            for of_content, content in _contents(stated["webhook-id"], stated["webhook-timestamp"], body):
                if digest(key, content, "sha256") == wanted:
                    return _told([of_key, of_content, of_body])
    text = "What your code computed comes from no mistake that this knows: another secret, or other bytes."
    return Diagnosis(verdict="receiver", text=text, fix=FIX)


def _told(mistakes: list[str]) -> Diagnosis | None:
    made = [one for one in mistakes if one]
    if not made:
        return None
    return Diagnosis(
        verdict="receiver", text=f"Your code computed another signature, because {'; and '.join(made)}.", fix=FIX
    )


def _keys(secret: str) -> Iterator[tuple[str, bytes]]:
    with suppress(BadSecret):
        yield "", signature.decode_secret(secret)
    yield from misreadings.keys_of(secret)


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", body
    yield from ((f"the body was {told}", changed) for told, changed in bodies.as_text(body))
    for changed in dict.fromkeys(bodies.readings(body)):
        if changed != body:
            yield f"the body was parsed or decoded first, and so it {bodies.difference(changed, body)}", changed


def _contents(id: str, timestamp: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    first, second = id.encode("utf-8", "replace"), timestamp.encode("utf-8", "replace")
    yield "", b"%b.%b.%b" % (first, second, body)
    yield "the body alone was signed", body
    yield "the id was left out", b"%b.%b" % (second, body)
    yield "the timestamp was left out", b"%b.%b" % (first, body)
    yield "id and timestamp were taken in the wrong order", b"%b.%b.%b" % (second, first, body)
    yield "the full stops between id, timestamp and body were left out", first + second + body


def _raw(text: str) -> bytes | None:
    bare = text.strip().removeprefix("v1,").removeprefix("sha256=")
    if DIGEST.fullmatch(bare):
        return bytes.fromhex(bare)
    bare = bare.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == signature.DIGEST_BYTES else None
