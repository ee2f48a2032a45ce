"""A log whose reader is slow, stands still or goes away: nobody waits for it, and what it misses is counted and told."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.telemetry import metrics, outlet
from service.telemetry.outlet import Outlet, say_at_once

PAGE = select.PIPE_BUF
PIPE = 4 * PAGE
MORE_THAN_A_PIPE = 40_000  # lines of some ten bytes; a pipe takes 64 KiB


class Pipe:
    """A pipe, an outlet on one end, and a reader who may or may not read."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)
        self.lock = threading.RLock()
        self.outlet = Outlet(self.writer, self.lock, lambda missing: f"{missing} missing")
        self.open = [self.reader, self.writer]

    def write(self, *lines: str) -> None:
        for line in lines:
            with self.lock:
                self.outlet.write(line)

    def drained(self, seconds: float = 30.0) -> bool:
        with self.lock:
            return self.outlet.drain(seconds)

    def read(self, until: Callable[[list[str]], bool]) -> list[str]:
        """Whole lines, as they come, until they are enough."""
        seen = b""
        while not (seen.endswith(b"\n") and until(seen.decode().splitlines())):
            assert select.select([self.reader], [], [], 30.0)[0], f"nothing came after {seen[-60:]!r}"
            seen += os.read(self.reader, 65_536)
        return seen.decode().splitlines()

    def close(self, end: int) -> None:
        self.open.remove(end)
        os.close(end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    try:
        yield made
    finally:
        for end in list(made.open):
            if end == made.reader:
                made.close(end)  # whoever waits for it hears of that
        made.drained()
        for end in list(made.open):
            made.close(end)


def dropped() -> float:
    return metrics.REGISTRY.get_sample_value("taskrelay_log_lines_dropped_total") or 0.0


def test_a_line_is_with_its_reader_before_the_call_returns_and_takes_no_thread(pipe: Pipe) -> None:
    before = set(threading.enumerate())  # those of other tests may end meanwhile
    pipe.write("one", "two")
    assert os.read(pipe.reader, 100) == b"one\ntwo\n"
    assert set(threading.enumerate()) <= before


def test_while_nobody_reads_writing_goes_on_and_all_comes_later_in_its_order(pipe: Pipe) -> None:
    lines = [f"{number:09}" for number in range(2_000)] + ["long " * 3_000, "last"]
    pipe.write(*lines)
    assert pipe.read(lambda seen: seen[-1] == "last") == lines
    assert pipe.drained()
    pipe.write("after")
    assert os.read(pipe.reader, 100) == b"after\n"


def test_what_nobody_reads_is_dropped_past_a_bound_and_a_line_says_how_many_where_they_are_missing(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "KEPT_BYTES", 4 * outlet.BATCH_BYTES)
    before = dropped()
    lines = [f"{number:09}" for number in range(MORE_THAN_A_PIPE)]
    pipe.write(*lines)
    counted = int(dropped() - before)
    assert 0 < counted < len(lines)
    kept = pipe.read(lambda seen: seen[-1].endswith("missing"))
    assert kept == [*lines[: len(lines) - counted], f"{counted} missing"]
    assert pipe.drained()
    pipe.write("after")
    assert os.read(pipe.reader, 100) == b"after\n"


def test_the_end_waits_for_a_slow_reader_and_not_for_one_who_is_gone_for_good(pipe: Pipe) -> None:
    pipe.write("x" * 2 * PIPE)
    assert not pipe.drained(0.01)
    reader = threading.Thread(target=pipe.read, args=(lambda seen: True,))
    reader.start()
    assert pipe.drained()
    reader.join()


def test_a_reader_who_goes_away_while_lines_wait_leaves_them_counted(pipe: Pipe) -> None:
    before = dropped()
    pipe.write("x" * 2 * PIPE, "y")
    pipe.close(pipe.reader)
    assert pipe.drained()
    assert dropped() - before == 2
    with pytest.raises(BrokenPipeError):
        pipe.write("z")


def test_while_no_thread_can_be_had_lines_are_kept_for_the_first_there_is(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lines = ["x" * 2 * PIPE, "kept"]
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none)
        pipe.write(*lines)
        assert not pipe.drained(), "nobody is there to wait for"
    pipe.write("last")
    assert pipe.read(lambda seen: seen[-1] == "last") == [*lines, "last"]


def test_a_descriptor_that_may_not_block_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    lines = [f"{number:09}" for number in range(2_000)]
    pipe.write(*lines)
    assert pipe.read(lambda seen: len(seen) == len(lines)) == lines


def test_a_terminal_that_stands_still_stops_nobody() -> None:
    ours, theirs = pty.openpty()
    lock = threading.RLock()
    lines = Outlet(theirs, lock, str)
    with lock:
        for _ in range(200):
            lines.write("x" * 1_000)
        assert not lines.drain(0.0)
    while True:
        with lock:
            if lines.drain(0.0):
                break
        if select.select([ours], [], [], 0.1)[0]:  # it may have all, and say so in a moment
            os.read(ours, 65_536)
    os.close(ours)
    os.close(theirs)


def test_a_file_gets_each_line_in_one_piece(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        Outlet(file.fileno(), threading.RLock(), str).write("x" * 2 * PIPE)
    assert (tmp_path / "log").read_bytes() == b"x" * 2 * PIPE + b"\n"


def test_a_last_word_waits_for_nobody(pipe: Pipe) -> None:
    with os.fdopen(os.dup(pipe.writer), "w") as stream:
        say_at_once(stream, "heard\n")
        os.write(pipe.writer, b"x" * 3 * PAGE)  # full: a line stands in a page of its own
        say_at_once(stream, "unheard\n")
    assert os.read(pipe.reader, 2 * PIPE).startswith(b"heard\nxxx")
    assert not select.select([pipe.reader], [], [], 0)[0]


def test_a_last_word_to_nobody_is_no_error() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        say_at_once(stream, "x")
    say_at_once(kept := io.StringIO(), "x")
    assert kept.getvalue() == "x"
