"""Which events an endpoint takes by what they are about: provider, model, metadata. `*` stands for any text, also none.

Stored as JSON text, `{"provider": ["cloudsway"], "model": ["kling-*"], "metadata": {"shop": ["eu-*"]}}`: every member must fit,
each by one of its patterns. An event that is about no task (`account.*`, `endpoint.*`) passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import orjson

from storage.records import light

PATTERNS: Final = 20  # for each member
NAMES: Final = 20  # of metadata
LONGEST: Final = 500
Patterns = tuple[str, ...]


@light(frozen=True, slots=True)
class Filter:
    """A filter, read once for all events."""

    provider: Patterns
    model: Patterns
    metadata: tuple[tuple[str, Patterns], ...]

    def admits(self, provider: str | None, model: str | None, metadata: str | None) -> bool:
        """Whether an event about such a task passes. `metadata`: JSON text, which only a filter by metadata reads."""
        if self.provider and not fits(self.provider, provider):
            return False
        if self.model and not fits(self.model, model):
            return False
        if not self.metadata:
            return True
        stated = pairs(metadata or "{}")
        return all(fits(patterns, stated.get(name)) for name, patterns in self.metadata)


@lru_cache(maxsize=4096)
def load(text: str) -> Filter:
    """What `dump` wrote."""
    stored = orjson.loads(text)
    return Filter(
        tuple(stored.get("provider", ())),
        tuple(stored.get("model", ())),
        tuple((name, tuple(patterns)) for name, patterns in stored.get("metadata", {}).items()),
    )


def dump(provider: Sequence[str], model: Sequence[str], metadata: Mapping[str, Sequence[str]]) -> str | None:
    """The text of a filter; None for one that lets everything pass."""
    members: dict[str, object] = {"provider": list(provider), "model": list(model), "metadata": dict(metadata)}
    told = {name: member for name, member in members.items() if member}
    return orjson.dumps(told).decode() if told else None


# A batch tells several events of a task, and each meets several endpoints.
@lru_cache(maxsize=512)
def pairs(metadata: str) -> Mapping[str, str]:
    found = orjson.loads(metadata)
    return found if isinstance(found, dict) else {}


def fits(patterns: Patterns, value: str | None) -> bool:
    return value is not None and any(matches(pattern, value) for pattern in patterns)


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value fits. Each piece is looked for once, leftmost: a pattern cannot be made slow."""
    first, *rest = pattern.split("*")
    if not rest:
        return value == pattern
    last = rest.pop()
    if not value.startswith(first) or len(value) < len(first) + len(last) or not value.endswith(last):
        return False
    place, end = len(first), len(value) - len(last)
    for piece in rest:
        place = value.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True
