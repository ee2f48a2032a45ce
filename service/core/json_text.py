"""JSON from outside, bounded before anything is built from it: what a client sent is read strictly or not at all."""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

MAX_DEPTH = 32
MAX_NODES = 10_000
MAX_INTEGER = 2**53  # beyond it JavaScript and many JSON parsers round silently

BOM = b"\xef\xbb\xbf"

# Possessive, and the closing quote optional: every character is looked at once, whatever the text is.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]|,', re.DOTALL)


class Malformed(ValueError):
    """The text is not JSON that we read; `detail` is for the one who sent it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def excess(text: str, *, depth: int = MAX_DEPTH, nodes: int = MAX_NODES) -> str | None:
    """Which bound the text breaks, found without building a value; None when it breaks none.

    `json` recurses once a level and answers deep nesting with RecursionError, which is no ValueError.
    """
    openings = text.count("[") + text.count("{")
    if openings <= depth and openings + text.count(",") < nodes:
        return None  # too few brackets to nest too deep, wherever they stand: most texts end here
    level, seen = 0, 1
    for tokens, match in enumerate(_TOKEN.finditer(text)):
        mark = match[0][0]
        if mark in "[{":
            level += 1
            seen += 1
        elif mark in "]}":
            level -= 1
        elif mark == ",":
            seen += 1
        if level > depth:
            return f"is nested deeper than {depth} levels"
        # A value brings at most four tokens (key, opening, closing, comma); more is not JSON, and not worth scanning.
        if seen > nodes or tokens > 4 * nodes:
            return f"has more than {nodes} values"
    return None


def load_json(raw: bytes) -> object:
    """Read a client's body. Raises `Malformed`, and nothing else, on whatever is not plain bounded JSON in UTF-8."""
    if not raw.strip():
        raise Malformed("The body is empty. Send one JSON object.")
    if raw.startswith(BOM):
        raise Malformed("The body starts with a byte order mark. Send UTF-8 without one.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start} does not belong. Send UTF-8.") from None
    beyond = excess(text)
    if beyond is not None:
        raise Malformed(f"The body {beyond}. Send a simpler one.")
    try:
        value: object = json.loads(
            text, parse_int=_integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_pairs
        )
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise Malformed(f"The body is not JSON: {what} at line {error.lineno}, column {error.colno}.") from None
    return value


def _integer(digits: str) -> int:
    # The length comes first: int() of thousands of digits is slow, and of more than 4,300 an error of its own.
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise Malformed(f"The number {digits[:20]}… is beyond 2^53. Send it as text, in quotes.")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Malformed(f"The number {digits[:20]} is too large.")
    return value


def _constant(word: str) -> NoReturn:
    raise Malformed(f"{word} is not JSON. Send a number or null.")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"The key {json.dumps(twice[:40])} appears twice in one object. Send it once.")
    return members
