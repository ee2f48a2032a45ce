"""The line before a writer: units that wait, run as groups of one commit each, and who hears what became of them.

Measured: a commit for each of many requests 2.5 k/s, groups of what came in during the last commit 12 k/s and more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from storage.database import Apart, Behind, Unit
from storage.errors import Unavailable

T = TypeVar("T")

GROUP = 512  # units in one commit at most
WAITING = 20_000  # units that may wait before callers are told to come back


class Failed:
    """A unit's exception, told apart from a unit that returns one."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Waiting(NamedTuple):
    """A unit whose turn has not come, who waits for it, and until when trouble that passes is waited for."""

    unit: Unit[Any]
    done: asyncio.Future[Any]
    give_up_at: float


class Groups:
    """`run`: a group in one transaction, an outcome for each unit; what fails is a `Failed`. `passes`: whether trying again may help.

    `translate`: a driver's exception in our words. `patience`: for how many seconds a unit is tried again. `pause`: waits before that.
    `apart`: whether units that are `Apart` are grouped with their kind alone, and each group takes its locks in order.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Unit[Any]]], Awaitable[list[object]]],
        *,
        passes: Callable[[BaseException], bool],
        translate: Callable[[BaseException], BaseException],
        patience: float,
        pause: Callable[[], Awaitable[None]] | None = None,
        apart: bool = False,
    ) -> None:
        self.told: Callable[[int, float], None] = lambda units, seconds: None  # of each group, once it has run
        self._run_group = run
        self._passes = passes
        self._translate = translate
        self._patience = patience
        self._pause = pause
        self._apart = apart
        self._queue: deque[_Waiting] = deque()
        self._queue_apart: deque[_Waiting] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._trouble: BaseException | None = None  # what the last group failed of as a whole, and may pass

    async def write(self, unit: Unit[T], /) -> T:
        """Run the unit in the next group. Raises `Unavailable` when too many wait already."""
        queue = self._queue_apart if self._apart and isinstance(unit, Apart) else self._queue
        if len(queue) >= WAITING:
            raise Unavailable(f"{WAITING} writes are waiting already")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        queue.append(_Waiting(unit, done, time.monotonic() + self._patience))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        # A caller that goes away cancels this future and not its unit, which runs all the same.
        return await done

    @property
    def waiting(self) -> int:
        """How many units wait for their turn."""
        return len(self._queue) + len(self._queue_apart)

    async def finish(self) -> None:
        """Run what was accepted."""
        if self._runner is not None:
            await self._runner

    async def _run(self) -> None:
        """Drain the queue. What arrives during one commit is the next group; nothing lingers to fill a group."""
        while self._queue or self._queue_apart:
            for queue in (self._queue_apart, self._queue):
                if queue:
                    await self._run_some(queue)
        self._runner = None

    async def _run_some(self, queue: deque[_Waiting]) -> None:
        group = [queue.popleft() for _ in range(min(len(queue), GROUP))]
        if self._trouble is not None:
            group = self._without_impatient(group, self._trouble)
        if not group:
            return
        if self._apart:
            group.sort(key=_locks)
        began = time.monotonic()
        try:
            outcomes = await self._run_group([one.unit for one in group])
        except BaseException as error:
            outcomes = [Failed(error)] * len(group)
        self.told(len(group), time.monotonic() - began)
        failed = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
        whole = len(failed) == len(group) and self._passes(failed[0])
        self._trouble = failed[0] if whole else None
        again = self._tell(group, outcomes)
        queue.extendleft(reversed(again))
        if again and self._pause is not None:
            await self._pause()

    def _without_impatient(self, group: Sequence[_Waiting], trouble: BaseException) -> list[_Waiting]:
        """While nothing can be written, whoever waited behind others for as long as they would have tried hears the same as they."""
        now = time.monotonic()
        late = [one for one in group if one.give_up_at <= now]
        self._tell(late, [Failed(trouble)] * len(late))
        return [one for one in group if one.give_up_at > now]

    def _tell(self, group: Sequence[_Waiting], outcomes: Sequence[object]) -> list[_Waiting]:
        """Everybody hears of their unit, but those whose trouble may pass."""
        now, again = time.monotonic(), list[_Waiting]()
        for one, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Failed) and self._passes(outcome.error) and now < one.give_up_at:
                again.append(one)
            elif one.done.cancelled():
                continue
            elif isinstance(outcome, Failed):
                one.done.set_exception(self._translate(outcome.error))
            else:
                one.done.set_result(outcome)
        return again


def _locks(one: _Waiting) -> tuple[str, ...]:
    return one.unit.locks if isinstance(one.unit, Apart | Behind) else ()
