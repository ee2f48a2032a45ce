"""The clock that tests set."""

from __future__ import annotations

from collections.abc import Callable

SECOND = 1_000_000


class Clock:
    """Microseconds UTC, moved by hand. `watch`: who else shall know each new time, at once."""

    def __init__(self, now: int = 1_790_000_000_000_000) -> None:
        self._now = now
        self._watching: Callable[[int], None] | None = None

    def __call__(self) -> int:
        return self._now

    @property
    def now(self) -> int:
        return self._now

    @now.setter
    def now(self, now: int) -> None:
        self._now = now
        if self._watching is not None:
            self._watching(now)

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def watch(self, watching: Callable[[int], None]) -> None:
        self._watching = watching
        watching(self._now)
