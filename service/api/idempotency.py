"""How a request says that it may be a repeat: Idempotency-Key, or the counter that SDKs made by Stainless send (OpenAI's).

The header is draft-ietf-httpapi-idempotency-key-header-07: a string of structured fields, quoted. Many clients send it bare.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable

import orjson

from service.api.problems import Problem

HEADER = b"idempotency-key"
STAINLESS = b"x-stainless-"
COUNT = b"x-stainless-retry-count"
LONGEST = 255
QUOTED = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
# A comma is where a proxy has joined two headers, a quote is a string that is not closed.
BARE = re.compile(rb"[\x21\x23-\x2b\x2d-\x7e]+")
HOW = f'Send one Idempotency-Key of 1 to {LONGEST} printable ASCII characters in quotes: "order-8841".'


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key that is stated, quoted or bare. Raises `Problem` for what is none."""
    stated = [value.strip(b" \t") for name, value in headers if name == HEADER]
    if not stated:
        return None
    if len(stated) == 1:
        if quoted := QUOTED.fullmatch(stated[0]):
            key = re.sub(rb'\\(["\\])', rb"\1", quoted[1])
        else:
            key = stated[0] if BARE.fullmatch(stated[0]) else b""
        if 1 <= len(key) <= LONGEST:
            return key.decode("ascii")
    raise Problem("malformed_idempotency_key", HOW)


def retry_of(headers: Collection[tuple[bytes, bytes]]) -> int | None:
    """Which try of an SDK's call this is, from 0; None of a client that does not count."""
    if not any(name.startswith(STAINLESS) for name, _ in headers):
        return None
    stated = [value for name, value in headers if name == COUNT]
    counts = len(stated) == 1 and re.fullmatch(rb"[0-9]{1,6}", stated[0])
    return int(stated[0]) if counts else 0


def fingerprint(asked: object, key: bytes) -> str:
    """What tells two requests apart, whatever the order of their members and however they were encoded.

    Under a secret key, because a request may hold credentials: whoever has the rows alone cannot try passwords against it.
    """
    try:
        text = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # half of a surrogate pair: what holds one is judged later, and refused at its place
        text = json.dumps(asked, sort_keys=True).encode("ascii")
    return hashlib.blake2b(text, key=key, digest_size=20).hexdigest()
