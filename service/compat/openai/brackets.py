"""Bracket notation of forms: `metadata[order]`, `images[]`, `shots[][prompt]`, as OpenAI's SDKs write what is nested.

Of a list of objects the SDK for Python sends all values of one name, then all of the next; so the k-th value of each name
belongs to the k-th object. Where names have unequal counts nobody can tell, and the fault says to send JSON text instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from service.core.request import Fault, pointer

DEEPEST = 6
LISTS = frozenset({"images", "shots", "fallbacks", "webhook_events"})  # of which `name[0]` is a place and no name

_NAME = re.compile(r"([^\[\]]{1,100})((?:\[[^\[\]]{0,100}\])*)")
_STEP = re.compile(r"\[([^\[\]]*)\]")
_UNEQUAL = (
    "Its objects have different members, which a form cannot tell apart. Send the list as JSON text in this field."
)

Path: TypeAlias = tuple[str, ...]
Given: TypeAlias = tuple[Path, str]


def nest(pairs: Sequence[tuple[str, str]], faults: list[Fault]) -> dict[str, object]:
    """What the fields of a form say, as an object. A field that cannot be read is a fault and left out."""
    by_name: dict[str, list[Given]] = {}
    for name, value in pairs:
        found = _NAME.fullmatch(name)
        steps = tuple(_STEP.findall(found[2])) if found is not None else ()
        if found is None or len(steps) > DEEPEST:
            faults.append(
                Fault(pointer=pointer(name), detail="This name cannot be read. Write it as name[inner] or name[].")
            )
        else:
            by_name.setdefault(found[1], []).append((steps, value))
    members: dict[str, object] = {}
    for name, given in by_name.items():
        try:
            members[name] = _value(given, places=name in LISTS)
        except _Unreadable as error:
            faults.append(Fault(pointer=pointer(name), detail=str(error)))
    return members


class _Unreadable(ValueError):
    """The fields of one name contradict each other; the text says what to do."""


def _value(given: Sequence[Given], *, places: bool = False) -> object:
    """What stands behind one name."""
    if all(not path for path, _ in given):
        if len(given) > 1:
            raise _Unreadable("This is given twice. Give it once.")
        return given[0][1]
    if any(not path for path, _ in given):
        raise _Unreadable("This is given both as one value and as several. Choose one way.")
    heads = {path[0] for path, _ in given}
    if heads == {""}:
        return _listed([(path[1:], value) for path, value in given])
    if "" in heads:
        raise _Unreadable("This is given both as a list and by name. Choose one way.")
    by_name: dict[str, list[Given]] = {}
    for path, value in given:
        by_name.setdefault(path[0], []).append((path[1:], value))
    if places and heads == {str(place) for place in range(len(heads))}:
        return [_value(by_name[str(place)]) for place in range(len(heads))]
    return {name: _value(inner) for name, inner in by_name.items()}


def _listed(given: Sequence[Given]) -> list[object]:
    """`name[]`: values in order, or objects given column by column."""
    if all(not path for path, _ in given):
        return [value for _, value in given]
    columns: dict[Path, list[str]] = {}
    for path, value in given:
        columns.setdefault(path, []).append(value)
    if () in columns or any("" in path for path in columns) or len({len(one) for one in columns.values()}) > 1:
        raise _Unreadable(_UNEQUAL)
    count = len(next(iter(columns.values())))
    return [_value([(path, values[place]) for path, values in columns.items()]) for place in range(count)]
