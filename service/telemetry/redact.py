"""Takes secrets and control characters out of text that is about to be written somewhere.

The last of several nets: no part of taskrelay hands a secret to a log, and this holds when one does so by mistake, or
when a library or an exception quotes a URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = "***"

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Standard Webhooks secrets and private keys (`whpk_` is public).
    (re.compile(r"\b(wh(?:sec|sk)_)[A-Za-z0-9+/=_-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)[ \t]+[^\s\"',;]+"), rf"\1 {HIDDEN}"),
    # `authorization: …`, `"api_key": "…"`, `password=…`, as headers, JSON, reprs and key-value text write them.
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|x-api-key|api[_-]?key|secret|password|passwd|token|cookie|set-cookie)"
            r"(\\?+[\"']?+\s*+[:=]\s*+\\?+(?:b(?=[\"']))?+[\"']?+)(?!(?:Bearer|Basic)\b)[^\s\"',;&}\\]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
    # The path itself is the credential: who knows it can push, or fetch an output.
    (re.compile(r"(/callbacks/[A-Za-z0-9_.-]+/|/o/)[^\s/?#\"'<>\\)]+"), rf"\1{HIDDEN}"),
)

# A whole address is taken at once and looked at by `_address`: patterns that search for its end from every beginning
# need quadratic time on hostile text.
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s\"'<>]+|(?:(?<=[\s\"'(=])|^)/[^\s\"'<>]+")
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::\d{0,5})?")

_SECRET_NAMES = re.compile(r"(?i)authorization|api_?-?key|secret|password|passwd|(?<!next_)token$|cookie|credential")

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional overrides and lone surrogates: a terminal or a
# viewer would act on them, so one record could look like two, or like another.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

DEEP = 6
LONG = 8192


def text(given: str) -> str:
    """The text without secrets, at most 8 KiB of it."""
    for pattern, replacement in _RULES:
        given = pattern.sub(replacement, given)
    given = _ADDRESS.sub(_address, given)
    return given if len(given) <= LONG else f"{given[:LONG]}… ({len(given)} characters)"


def _address(found: re.Match[str]) -> str:
    """A URL or path without user, password and query: signed download links carry their permission there."""
    scheme, mark, rest = found[0].partition("://")
    if not mark or "?" in scheme:
        return _without_query(found[0])
    # A raw password may hold / or ?. Then everything up to the last @ is hidden: rather too much than too little.
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in _without_query(rest) or ("@" in rest and not _HOST.fullmatch(host)):
        rest = f"{HIDDEN}@{rest.rpartition('@')[2]}"
    return f"{scheme}{mark}{_without_query(rest)}"


def _without_query(url: str) -> str:
    path, mark, _ = url.partition("?")
    return f"{path}{mark}{HIDDEN}" if mark else path


def value(given: object, depth: int = DEEP) -> object:
    """A value as it may be logged: JSON types only, secrets hidden by name and by form."""
    if given is None or isinstance(given, bool | int | float):
        return given
    if depth == 0:
        return HIDDEN
    if isinstance(given, Mapping):
        return {text(str(key)): named(str(key), item, depth) for key, item in given.items()}
    if isinstance(given, list | tuple | set | frozenset):
        return [value(item, depth - 1) for item in given]
    if isinstance(given, bytes | bytearray):
        return f"{len(given)} bytes"  # payloads belong to customers; the database has them
    return text(str(given))


def named(name: str, item: object, depth: int = DEEP) -> object:
    """What stands under this name, hidden if the name says that it is a secret."""
    if _SECRET_NAMES.search(name) and not isinstance(item, bool | int | None):
        return HIDDEN
    return value(item, depth - 1)


def visible(given: str) -> str:
    """The text with every control character spelled out, so that it stays on its line."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", given)
