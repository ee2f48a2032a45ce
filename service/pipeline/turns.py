"""Whose turn it is: requests of four sorts share an account's rate, and no backlog of one starves another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Lot(IntEnum):
    """The sorts of request, in the order of their turns."""

    VERIFY = 0  # a push rings
    SUBMIT = 1
    LOOK_UP = 2
    POLL = 3


# Whether it answers again is tried with a question where there can be one: a purchase without an answer may have been made.
PROBES = (Lot.VERIFY, Lot.LOOK_UP, Lot.POLL, Lot.SUBMIT)


class Turns(Generic[T]):
    """One request of each lot in turn; the next round goes on where this one stopped."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, waiting: Mapping[Lot, deque[T]], start: Callable[[T], bool]) -> int:
        """Start what may be started, as `start` says, and take it off the queues. Returns how many that were."""
        started = passed = 0
        while passed < len(Lot):
            queue = waiting[Lot(self._next)]
            self._next = (self._next + 1) % len(Lot)
            if queue and start(queue[0]):
                queue.popleft()
                started, passed = started + 1, 0
            else:
                passed += 1
        return started


def probe(waiting: Mapping[Lot, deque[T]], start: Callable[[T], bool]) -> int:
    """Start one, the least dangerous."""
    return int(any(waiting[lot] and start(waiting[lot][0]) for lot in PROBES))
