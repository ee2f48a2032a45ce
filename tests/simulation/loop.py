"""An event loop on virtual time, and processes on it that can be stopped, resumed and killed between any two steps.

Time stands still while anything can run and then jumps to the next timer. There are no sockets and no threads, so that
the order of everything is decided by what is on the loop alone.

A process is a context variable: what a task of it starts inherits it. A stopped one keeps its steps for later, a killed
one takes none any more; not even its `finally` blocks run, as after kill -9.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")
AT_ONCE = 50_000  # steps without time passing


class Stuck(RuntimeError):
    """Nothing can run and no timer is set: somebody waits for what nobody will do."""


class Process:
    """Something that can be stopped and killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stopped = False
        self.held: list[Step | Timer] = []
        self.countdown = 0  # steps until `at_zero`; 0: not counting
        self.at_zero: Callable[[], None] | None = None
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    def after_steps(self, count: int, what: Callable[[], None]) -> None:
        """Do something just before the step that comes so many steps from now."""
        self.countdown, self.at_zero = count, what


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class Step(events.Handle):
    """One callback, of one process or of the world."""

    __slots__ = ("process",)

    def __init__(self, callback: Callable[..., object], args: Any, loop: Loop, context: Context | None) -> None:
        super().__init__(callback, args, loop, context)
        self.process = self._context.get(PROCESS)  # type: ignore[attr-defined]


class Timer(events.TimerHandle):
    """One callback at a time."""

    __slots__ = ("process",)

    def __init__(
        self, when: float, callback: Callable[..., object], args: Any, loop: Loop, context: Context | None
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.process = self._context.get(PROCESS)  # type: ignore[attr-defined]


class Loop(asyncio.BaseEventLoop):
    """Virtual time, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._count = 0
        self._runnable: deque[Step | Timer] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self.steps = 0
        self._since = 0  # steps taken when time last moved
        self.set_task_factory(_task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Step:
        handle = Step(callback, args, self, context)
        self._runnable.append(handle)
        return handle

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        raise RuntimeError("a thread has no place in a simulation")

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        raise RuntimeError("a thread has no place in a simulation")

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        timer = Timer(when, callback, args, self, context)
        self._count += 1
        # Two timers of one instant fire in the order they were set.
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        pass  # found out when its time comes

    def _run_once(self) -> None:
        if not self._runnable:
            self._advance()
        runnable = self._runnable
        for _ in range(len(runnable)):
            step = runnable.popleft()
            if step._cancelled:
                continue
            process = step.process
            if process is not None:
                if process.countdown:
                    process.countdown -= 1
                    if not process.countdown and process.at_zero is not None:
                        process.at_zero()
                if process.dead:
                    continue
                if process.stopped:
                    process.held.append(step)
                    continue
            self.steps += 1
            step._run()
        if self.steps - self._since > AT_ONCE:
            raise Stuck(f"more than {AT_ONCE} steps in one instant: a busy loop; now at {runnable[0]!r:.600}")

    def _advance(self) -> None:
        """Jump to the next timer."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Stuck("nothing can run and no timer is set")
        self._now = max(self._now, timers[0][0])
        self._since = self.steps
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                self._runnable.append(timer)

    def stop_process(self, process: Process) -> None:
        process.stopped = True

    def resume_process(self, process: Process) -> None:
        """What came meanwhile now happens, in the order it came."""
        process.stopped = False
        held, process.held = process.held, []
        self._runnable.extend(held)

    def kill(self, process: Process) -> None:
        process.dead = True
        process.held.clear()

    def _process_events(self, event_list: object) -> None:
        raise RuntimeError("there are no events but ours")

    def _write_to_self(self) -> None:
        raise RuntimeError("a thread has no place in a simulation")


def _task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], context: Context | None = None, **more: Any
) -> asyncio.Task[T]:
    task = asyncio.Task(coro, loop=loop, context=context, **more)
    process = (context.get(PROCESS) if context is not None else None) or PROCESS.get()
    if process is not None:
        if len(process.tasks) > 5_000:
            process.tasks = [one for one in process.tasks if not one.done()]
        process.tasks.append(task)
    return task
