"""Where the log's lines go: out at once while their reader keeps up; else kept for a thread, and past a bound dropped and counted.

The service never waits for whoever reads its log: a supervisor that stops reading stood all of it still once the pipe (64 KiB)
was full. In the usual case no thread is there, a line is with the kernel when the call returns, and a kill loses none.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TextIO

from service.telemetry import metrics

KEPT_BYTES: Final = 4 * 1024 * 1024  # while nobody reads: some ten thousand lines
BATCH_BYTES: Final = 64 * 1024
WHOLE: Final = 1024 * 1024


class Outlet:
    """Lines to one descriptor, in the order they came. Called with `lock` held, which its thread takes as well.

    It is the handler's own: the collector may log from inside it, on either thread, and two locks could then wait for each other.
    """

    def __init__(self, fd: int, lock: Any, gap: Callable[[int], str]) -> None:
        """`gap`: the line that stands where so many are missing."""
        self._fd = fd
        self._gap = gap
        self._piece = _piece(os.fstat(fd).st_mode)
        self._room = _looking_at(fd)
        self._turn = threading.Condition(lock)
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._missing = 0
        self._writing = False  # the thread has lines, and whatever comes goes behind them
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Never waits. Raises OSError when it cannot be written at all."""
        raw = line.encode("utf-8", "backslashreplace") + b"\n"
        if not self._writing:
            raw = self._at_once(raw)
            if raw:
                self._writing = True
                self._keep(raw)
        elif self._kept_bytes < KEPT_BYTES:
            self._keep(raw)
        else:
            self._drop(raw)

    def drain(self, seconds: float) -> bool:
        """Wait until everything is out, for so long at most."""
        return self._turn.wait_for(lambda: not self._writing, seconds if self._thread is not None else 0)

    def _at_once(self, raw: bytes) -> bytes:
        """Write what needs no waiting; what is left of it."""
        while raw and self._piece and self._room.poll(0):
            try:
                raw = raw[os.write(self._fd, raw[: self._piece]) :]
            except BlockingIOError:  # whoever started us made it so
                break
        return raw

    def _keep(self, raw: bytes) -> None:
        """For the thread, which starts with the first that it is to write."""
        self._kept.append(raw)
        self._kept_bytes += len(raw)
        if self._thread is None:
            thread = threading.Thread(target=self._write_kept, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads just now, or the interpreter is going down
                return
            self._thread = thread
        self._turn.notify_all()

    def _drop(self, raw: bytes) -> None:
        lines = raw.count(b"\n")
        self._missing += lines
        metrics.log_lines_dropped.labels().inc(lines)

    def _told(self) -> bytes:
        """The line about those that are missing at this place."""
        missing, self._missing = self._missing, 0
        return self._gap(missing).encode() + b"\n"

    # The thread

    def _write_kept(self) -> None:
        while True:
            raw = self._next()
            try:
                self._wait_out(raw)
            except OSError:  # its reader is gone
                with self._turn:
                    for lost in (raw, *self._kept):
                        self._drop(lost)
                    self._kept.clear()
                    self._kept_bytes = 0

    def _next(self) -> bytes:
        """The next lines, once there are any."""
        with self._turn:
            while not self._kept:
                self._writing = False
                self._turn.notify_all()
                self._turn.wait()
            batch, size = [], 0
            while self._kept and size < BATCH_BYTES:
                batch.append(self._kept.popleft())
                size += len(batch[-1])
            self._kept_bytes -= size
            if self._missing:  # there is room: behind what came before the gap, ahead of what comes now
                self._keep(self._told())
            return b"".join(batch)

    def _wait_out(self, raw: bytes) -> None:
        room = _looking_at(self._fd)  # its own: one poll is for one thread at a time
        while raw:
            try:
                raw = raw[os.write(self._fd, raw) :]
            except BlockingIOError:
                room.poll()


def say_at_once(stream: TextIO | None, text: str) -> None:
    """A last word, said only where nobody has to be waited for."""
    with contextlib.suppress(OSError, ValueError):  # nobody may be left to tell
        if stream is not None and not _full(stream):
            stream.write(text)
            stream.flush()


def _full(stream: TextIO) -> bool:
    try:
        fd = stream.fileno()
    except (OSError, ValueError):
        return False  # it has none, or is closed: writing says so
    return not _looking_at(fd).poll(0)


def _piece(mode: int) -> int:
    """How much can be written without waiting where `poll` says that there is room; 0: that is not known, a terminal's is a byte."""
    if stat.S_ISREG(mode):
        return WHOLE  # a disk is not waited for as a reader is
    return select.PIPE_BUF if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else 0


def _looking_at(fd: int) -> select.poll:
    room = select.poll()
    room.register(fd, select.POLLOUT)
    return room
