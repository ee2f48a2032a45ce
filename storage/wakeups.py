"""Hints between replicas: which lanes have work and which tasks changed. Lost, late or doubled they change nothing but the wait.

One process on SQLite has nobody to tell. Behind a pooler in transaction mode nobody can listen: `alive` says so, and who would
have been woken looks every so often.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

LaneName = tuple[str, str]  # kind, key
PAYLOAD_BYTES = 7_900  # NOTIFY takes 7,999


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """`lanes`: in how many milliseconds each has work, by no clock in particular. `everything`: more happened than could be said."""

    lanes: Mapping[LaneName, int] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()
    everything: bool = False


EVERYTHING = Hint(everything=True)


class Wakeups(Protocol):
    """The line between replicas."""

    @property
    def alone(self) -> bool:
        """There is no other replica, and nothing to hear."""

    @property
    def alive(self) -> bool:
        """What others tell reaches us now."""

    def tell(self, hint: Hint) -> None:
        """Say it soon, with whatever else is to be said by then. Never waits, never fails."""

    async def run(self, heard: Callable[[Hint], None]) -> None:
        """Listen until cancelled."""

    async def close(self) -> None:
        """Say what is still to be said."""


class NoWakeups:
    """For one process alone, or where no line can be had."""

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone
        self.alive = alone

    def tell(self, hint: Hint) -> None:
        pass

    async def run(self, heard: Callable[[Hint], None]) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


def open_wakeups(url: str, *, notify: bool, name: str) -> Wakeups:
    """The line of the database that `url` names. `notify`: whether the server may be listened to. `name`: ours, to know our own words."""
    if not url.startswith("postgresql://"):
        return NoWakeups(alone=True)
    if not notify:
        return NoWakeups(alone=False)
    from storage.listening import Listening

    return Listening(url, name)


def together(hints: Iterable[Hint]) -> Hint:
    """One hint of several; of a lane's times the first."""
    lanes: dict[LaneName, int] = {}
    ids: set[str] = set()
    everything = False
    for hint in hints:
        everything = everything or hint.everything
        ids |= hint.ids
        for lane, soon in hint.lanes.items():
            lanes[lane] = min(soon, lanes.get(lane, soon))
    return Hint(lanes=lanes, ids=frozenset(ids), everything=everything)


def spelled(hint: Hint, name: str) -> str:
    """As it travels. What does not fit is said as `*`: then whoever hears it looks for itself."""
    if not hint.everything:
        lanes = [[kind, key, soon] for (kind, key), soon in hint.lanes.items()]
        text = json.dumps({"from": name, "lanes": lanes, "ids": sorted(hint.ids)}, separators=(",", ":"))
        if len(text) <= PAYLOAD_BYTES:
            return text
    return json.dumps({"from": name, "*": 1})


def read(text: str, name: str) -> Hint | None:
    """What a payload says; None for our own words. Anybody who may connect may say anything: what is no hint means `look`."""
    try:
        said = json.loads(text)
        if said.get("from") == name:
            return None
        if "*" in said:
            return EVERYTHING
        return Hint(lanes=dict(map(_lane, said["lanes"])), ids=frozenset(map(str, said["ids"])))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return EVERYTHING


def _lane(said: Any) -> tuple[LaneName, int]:
    kind, key, soon = said
    return (str(kind), str(key)), max(int(soon), 0)
