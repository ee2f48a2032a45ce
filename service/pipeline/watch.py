"""Wakes requests that wait for a change, in this process. A hint only: whoever waits also looks again by itself.

Bounded: past `most` waiters nobody new waits, and an answer simply comes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from service.core.lifecycle import Outcome
from service.pipeline.ledger import Batch

T = TypeVar("T")

MOST = 1000
LOOK_AGAIN_SECONDS = 5.0  # a change made by another replica rings nobody here
HELD_SECONDS, HELD_LONG_SECONDS = (
    0.005,
    0.25,
)  # commits take milliseconds; whoever leaves a transaction open is not asked after in a hurry


class Pace:
    """How long to rest between two looks. What another transaction holds back comes without a ring, and mostly at once."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._held = HELD_SECONDS

    def seconds(self, *, held: bool, went_on: bool = False) -> float:
        """`held`: something is there that may not be read yet. `went_on`: since the last look something could."""
        if went_on or not held:
            self._held = HELD_SECONDS
        if not held:
            return self._longest
        span, self._held = self._held, min(self._held * 2, HELD_LONG_SECONDS)
        return min(span, self._longest)


class Watch:
    """Who waits for what, by the id of a task or of a project."""

    def __init__(self, *, most: int = MOST, look_again_seconds: float = LOOK_AGAIN_SECONDS) -> None:
        self._most = most
        self._look_again = look_again_seconds
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._count = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._count

    @property
    def closed(self) -> bool:
        """Whether the process is about to stop."""
        return self._closed

    @property
    def look_again_seconds(self) -> float:
        """How long who listens may rest: what nobody rang for is found then."""
        return self._look_again

    def recorded(self, batch: Batch) -> None:
        """Tell of a commit: its tasks changed, and their projects may have new events."""
        if not self._waiting:
            return
        changed: set[str] = set(batch.told)
        for one in batch.recorded:
            if one.task is not None and one.outcome in (Outcome.CHANGED, Outcome.CONFLICT):
                changed |= {one.task.id, one.task.project_id}
        self.changed(changed)

    def changed(self, keys: Iterable[str]) -> None:
        """Wake whoever waits for one of these ids."""
        for key in keys:
            for rung in self._waiting.get(key, ()):
                rung.set()

    @property
    def wanted(self) -> list[str]:
        """What is waited for now."""
        return list(self._waiting)

    def close(self) -> None:
        """Send everybody home: the process is about to stop, and answers what is true now."""
        self._closed = True
        self.changed(list(self._waiting))

    @contextmanager
    def listening(self, key: str) -> Iterator[asyncio.Event]:
        """What is set at every change of `key`, and when the process is about to stop. Clear it before looking."""
        rung = asyncio.Event()
        self._waiting.setdefault(key, set()).add(rung)
        try:
            yield rung
        finally:
            self._waiting[key].discard(rung)
            if not self._waiting[key]:
                del self._waiting[key]

    async def until(
        self,
        key: str,
        look: Callable[[], Awaitable[T]],
        enough: Callable[[T], bool],
        *,
        seconds: float,
        held: Callable[[T], bool] = lambda _: False,
    ) -> T:
        """Look until what is seen is enough, or the time is over; returns what was seen last.

        Listens before it looks, so a change between looking and waiting is not missed. `held`: more is there, and nobody will ring for it.
        """
        if seconds <= 0 or self._closed or self._count >= self._most:
            return await look()
        end, pace = asyncio.get_running_loop().time() + seconds, Pace(self._look_again)
        self._count += 1
        try:
            with self.listening(key) as rung:
                while True:
                    rung.clear()
                    closed = self._closed  # at the end too what is true then: a change while we look is looked at
                    seen = await look()
                    left = end - asyncio.get_running_loop().time()
                    if enough(seen) or left <= 0 or closed:
                        return seen
                    await rest(rung, min(left, pace.seconds(held=held(seen))))
        finally:
            self._count -= 1


async def rest(rung: asyncio.Event, seconds: float) -> None:
    """Wait until it rings, or for so long."""
    try:
        async with asyncio.timeout(seconds):
            await rung.wait()
    except TimeoutError:
        pass
