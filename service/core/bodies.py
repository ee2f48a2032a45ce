"""What becomes of a JSON body on its way through somebody's framework, and how two bodies differ.

Used by `taskrelay verify` to say which of the usual things happened to bytes whose signature does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from service.core import samples
from service.core.events import EventType

BOM: Final = b"\xef\xbb\xbf"
LAYOUTS: Final[Sequence[Mapping[str, Any]]] = (
    {"separators": (",", ":")},  # JSON.stringify, orjson, ours
    {"separators": (", ", ": ")},  # Python's json.dumps
    {"indent": 2},
    {"indent": 4},
    {"indent": "\t"},
)
DEEP: Final = 60


class Unreadable(ValueError):
    """Not JSON, or nested deeper than anything of ours."""


def readings(body: bytes) -> Iterator[bytes]:
    """The bytes that this body may have been, or may have become: as other line ends, and written anew as JSON."""
    bare = body.removeprefix(BOM)
    yield from (bare, bare.strip(), bare.rstrip(b"\r\n"), body + b"\n", body + b"\r\n")
    yield from (bare.replace(b"\r\n", b"\n"), bare.replace(b"\n", b"\r\n"), BOM + body)
    with suppress(UnicodeError):
        yield bare.decode("utf-8").encode("latin-1")  # UTF-8 that was taken for latin-1 and encoded once more
    try:
        value = load(bare)
    except Unreadable:
        return
    for order in (_as_it_is, _in_our_order, _sorted):
        ordered = order(value)
        for layout in LAYOUTS:
            for ascii in (False, True):
                text = json.dumps(ordered, ensure_ascii=ascii, **layout)
                yield _bytes(text)
                if "/" in text:
                    yield _bytes(text.replace("/", "\\/"))  # PHP's json_encode


def as_text(body: bytes) -> Iterator[tuple[str, bytes]]:
    """What careless code signs instead of the body, by what it did."""
    yield "an empty body: something had read the stream before", b""
    yield "the text of Python's bytes, \"b'…'\": decode or join bytes with bytes", repr(body).encode()
    yield '"[object Object]": the parsed body put into a string', b"[object Object]"
    with suppress(Unreadable):
        yield "the text of Python's dict: the body was parsed first", str(load(body)).encode("utf-8", "replace")


def load(body: bytes) -> Any:
    """The value, its members in the order they stand in. Raises `Unreadable`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable("this is not JSON") from None
    if _depth(value) > DEEP:
        raise Unreadable("this is nested too deep")
    return value


def difference(received: bytes, sent: bytes) -> str:
    """How the first differs from the second, in a few words that follow "the body"."""
    if received == sent:
        return "is the same"
    if not received:
        return "is empty: something had read it before"
    if sent.startswith(received):
        return f"is cut off after {len(received)} of {len(sent)} bytes"
    if received.startswith(BOM):
        return "begins with a byte order mark"
    if received.strip() == sent.strip():
        return "has other white space or line breaks around it"
    if received.replace(b"\r\n", b"\n") == sent.replace(b"\r\n", b"\n"):
        return "has other line ends (CRLF)"
    try:
        got, was = load(received), load(sent)
    except Unreadable:
        return f"differs from byte {_first_difference(received, sent)} on"
    if (place := first_change(got, was)) is not None:
        return f"says something else at {place or 'its top'}"
    return "says the same in other words: " + ", ".join(_rewritten(received, sent, got, was))


def first_change(got: Any, was: Any, place: str = "") -> str | None:
    """The JSON pointer of the first value that differs; None when all are equal."""
    if isinstance(got, dict) and isinstance(was, dict):
        for name in [*was, *(name for name in got if name not in was)]:
            here = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
            if (name in got) is not (name in was):
                return here
            if (found := first_change(got[name], was[name], here)) is not None:
                return found
        return None
    if isinstance(got, list) and isinstance(was, list) and len(got) == len(was):
        pairs = zip(got, was, strict=True)
        return next(
            (found for n, pair in enumerate(pairs) if (found := first_change(*pair, f"{place}/{n}")) is not None), None
        )
    return None if got == was and isinstance(got, bool) is isinstance(was, bool) else place


def _rewritten(received: bytes, sent: bytes, got: Any, was: Any) -> list[str]:
    told = []
    if _names(got) != _names(was):
        told.append("members in another order")
    if _spaces(received) != _spaces(sent):
        told.append("pretty-printed" if b"\n" in received.strip() else "other spaces between members")
    if (b"\\u" in received) is not (b"\\u" in sent):
        told.append("characters escaped as \\uXXXX")
    if (b"\\/" in received) is not (b"\\/" in sent):
        told.append("slashes escaped")
    return told or ["numbers or escapes written otherwise"]


def _names(value: Any) -> list[Any]:
    """The names of members in order, however deep."""
    if isinstance(value, dict):
        return [[name, _names(inner)] for name, inner in value.items()]
    return [_names(inner) for inner in value] if isinstance(value, list) else []


def _spaces(body: bytes) -> int:
    """Bytes of white space outside strings."""
    count, inside, escaped = 0, False, False
    for byte in body:
        if inside:
            inside, escaped = (byte != 0x22 or escaped), byte == 0x5C and not escaped
        elif byte == 0x22:
            inside = True
        else:
            count += byte in b" \t\r\n"
    return count


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _depth(value: Any) -> int:
    deep, level = 0, [value]
    while level and deep <= DEEP:
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        deep += 1
    return deep


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _as_it_is(value: Any) -> Any:
    return value


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value


def _in_our_order(value: Any) -> Any:
    return _ordered_as(value, _template())


@lru_cache(maxsize=1)
def _template() -> Any:
    """An event of ours, for the order of its members."""
    return load(samples.sample(EventType.TASK_SUCCEEDED, id="evt_", now=0, public_url=""))


def _ordered_as(value: Any, template: Any) -> Any:
    if isinstance(value, dict):
        known: Mapping[str, Any] = template if isinstance(template, dict) else {}
        first = [name for name in known if name in value]
        return {
            name: _ordered_as(value[name], known.get(name)) for name in [*first, *(n for n in value if n not in known)]
        }
    if isinstance(value, list):
        inner = template[0] if isinstance(template, list) and template else None
        return [_ordered_as(one, inner) for one in value]
    return value


def alphabetical(body: bytes) -> bool:
    """Whether all its members stand in alphabetical order, which those of an event of ours never do."""
    try:
        value = load(body)
    except Unreadable:
        return False
    return isinstance(value, dict) and len(value) > 2 and _names(value) == _names(_sorted(value))
