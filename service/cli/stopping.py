"""Ctrl-C and SIGTERM while a command runs: an exception that undoes what was begun, but never inside an import.

An import must not be broken off. What runs in it may turn the exception into another (pydantic-core, asked for a schema, makes a
SchemaError of a KeyboardInterrupt), or swallow it with a word on stderr (callbacks of weak references, such as those of import locks).
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

from service.cli.terminal import INTERRUPTED, TERMINATED

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], Any]

AGAIN_SECONDS = 0.01
IMPORTS = "<frozen importlib._bootstrap>"


class Stopping:
    """What was heard. `code`: the exit code that says so, or None."""

    code: int | None = None

    def listen(self, *, interruptible: bool) -> None:
        """From here on. Not `interruptible`: started with Ctrl-C switched off, which stays so."""
        if interruptible:
            signal.signal(signal.SIGINT, self._heard)
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if _importing(frame):
            signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        elif number == signal.SIGINT:
            self.code = INTERRUPTED
            raise KeyboardInterrupt
        else:
            self.code = TERMINATED
            raise SystemExit(TERMINATED)  # in order too: a bar gives the cursor back, what was opened is closed


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTS:
            return True
        frame = frame.f_back
    return False


class Signals:
    """What a loop hears, from before it is made until it is closed: `number` of the first signal. It cancels the task that runs.

    asyncio's own handler cannot be used: it is put in place after the task is made, and forgets what it heard before it has begun. An
    exception there leaves a task that nobody cancels, and a loop that is closed while the task's threads still speak to it.
    """

    number: int | None = None

    def __init__(self) -> None:
        self._before: dict[int, Handler] = {}
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if callable(before):  # else it is switched off, or nobody listens
                    self._before[number] = before
                    signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self.number is not None:
            self._before[self.number](self.number, None)

    async def cancelled(self, main: Coroutine[Any, Any, T]) -> T:
        """`main`, until a signal."""
        self._task = asyncio.current_task()
        if self.number is not None:
            raise asyncio.CancelledError
        return await main

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:  # whoever asks twice does not want to wait
            self._before[number](number, frame)
            return
        self.number = number
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._task.get_loop().call_soon_threadsafe(lambda: None)  # it may sleep


def run(main: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """`asyncio.run`, which at Ctrl-C and SIGTERM cancels `main` where it stands, and then does what the signal did before."""
    try:
        with Signals() as signals, asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(signals.cancelled(main))
    finally:
        if inspect.getcoroutinestate(main) == inspect.CORO_CREATED:
            main.close()  # else Python says that nobody awaited it
