"""Ctrl-C and SIGTERM while a command runs: an exception that undoes what was begun, but never inside an import.

An import must not be broken off. What runs in it may turn the exception into another (pydantic-core, asked for a schema, makes a
SchemaError of a KeyboardInterrupt), or swallow it with a word on stderr (callbacks of weak references, such as those of import locks).
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

from service.cli.terminal import INTERRUPTED, TERMINATED

T = TypeVar("T")

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


def run(main: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """`asyncio.run`, which at Ctrl-C cancels `main` where it stands: it does so only if Python's own handler is in place."""
    before = signal.getsignal(signal.SIGINT)
    ours = callable(before) and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main)
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
