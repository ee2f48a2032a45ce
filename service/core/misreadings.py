"""The usual ways to get a secret or a signature header wrong, each with the words that tell it.

Used by `taskrelay verify`: what fits only after one of these names the mistake.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from service.core.signature import MIN_KEY_BYTES, NAMES, PREFIX, BadSecret, decode_secret
from service.core.times import SECOND, parse_iso

MILLISECONDS: Final = re.compile(r"[0-9]{13}")
DECIMAL: Final = re.compile(r"([0-9]{9,11})\.[0-9]+")
HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){16,128}")
RENAMED: Final = re.compile(r"(?:http[-_]|x[-_])?(webhook[-_](?:id|timestamp|signature))", re.IGNORECASE)


def keys_of(secret: str) -> Iterator[tuple[str, bytes]]:
    """The keys that somebody may have taken from the text of a secret, by what he did with it."""
    text = secret.strip()
    bare = text.removeprefix(PREFIX)
    yield "the whole text of the secret, whsec_ included, is used as the key", text.encode("utf-8", "replace")
    if bare != text:
        yield (
            "the characters behind whsec_ are used as the key without decoding their base64",
            bare.encode("utf-8", "replace"),
        )
    unquoted = text.strip("\"'")
    if unquoted != text and (key := _key(unquoted)) is not None:
        yield "the secret has quotation marks around it", key
    if HEX.fullmatch(bare):
        yield "the secret is given in hexadecimal, not as whsec_ and base64", bytes.fromhex(bare)
    once = _base64(bare)
    if once is None:
        return
    if once.startswith(PREFIX.encode()) and (key := _key(once.decode("latin-1").strip())) is not None:
        yield "the secret is wrapped in base64 once more, as a Kubernetes Secret shows it", key
    twice = _base64(once.decode("latin-1"))
    if twice is not None and len(twice) >= MIN_KEY_BYTES:
        yield "the base64 of the secret is decoded twice", twice


def repairs(stated: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The three headers as they may have been before something mangled them, by what it did."""
    id, timestamp, signature = (stated[name] for name in NAMES)
    for told, mended in _timestamps(timestamp):
        yield f"webhook-timestamp {told}", {**stated, "webhook-timestamp": mended}
    for told, mended in _signatures(signature):
        yield f"webhook-signature {told}", {**stated, "webhook-signature": mended}
    plain = {name: value.strip().strip("\"'") for name, value in stated.items()}
    if plain != stated:
        yield "a header has quotation marks or spaces around its value", plain
    if (unescaped := unquote(id)) != id:
        yield "webhook-id is percent-encoded", {**stated, "webhook-id": unescaped}


def renamed(name: str) -> str | None:
    """The header that this one was called before a framework or proxy renamed it."""
    found = RENAMED.fullmatch(name)
    standard = found[1].lower().replace("_", "-") if found else None
    return standard if standard != name.lower() else None


def _timestamps(text: str) -> Iterator[tuple[str, str]]:
    bare = text.strip("\"' ")
    if MILLISECONDS.fullmatch(bare):
        yield "is in milliseconds; it comes in seconds", str(int(bare) // 1000)
    if found := DECIMAL.fullmatch(bare):
        yield "has a fraction; it comes as whole seconds", found[1]
    if not bare.isdecimal() and len(bare) <= 64 and (at := parse_iso(bare)) is not None:
        yield "is written as a date; it comes as seconds since 1970", str(at // SECOND)


def _signatures(text: str) -> Iterator[tuple[str, str]]:
    joined = re.sub(r"[,;\s]+(?=[vV]1a?[,=])", " ", text)
    made = (
        ("is percent-encoded", unquote(text)),
        ("has spaces where + was: something decoded it as a form", re.sub(r" (?![vV]1a?,)", "+", text)),
        ("has its signatures joined by something else than a space", joined),
        ("has = behind v1 instead of a comma", re.sub(r"\b(v1a?)=", r"\1,", text)),
        ("has V1 in capitals", re.sub(r"\bV1(?=a?,)", "v1", text)),
        ("is in the URL-safe alphabet of base64", text.replace("-", "+").replace("_", "/")),
        ("has lost its v1, in front", f"v1,{text}"),
        ("has lost its v1a, in front", f"v1a,{text}"),
    )
    yield from ((told, mended) for told, mended in made if mended != text)
    digits = re.sub(r"^v1[,=]", "", text)
    if HEX.fullmatch(digits):
        yield (
            "is in hexadecimal, and v1 is base64",
            "v1," + base64.b64encode(bytes.fromhex(digits)).decode("ascii"),
        )


def _key(text: str) -> bytes | None:
    try:
        return decode_secret(text)
    except BadSecret:
        return None


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
