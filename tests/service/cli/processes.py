"""Runs the real command as real processes, and waits for what they say instead of for time."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from service.cli.demo.stage import clean_environment, our_command

SECONDS = 90.0  # ends what would hang; a machine that does much else may be ten times as slow


def run(*arguments: str, cwd: Path, settings: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        our_command(*arguments),
        cwd=cwd,
        env=clean_environment() | dict(settings or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def run_json(*arguments: str, cwd: Path, settings: Mapping[str, str] | None = None) -> Any:
    """Run a command that must succeed, and read its document."""
    ended = run(*arguments, "--json", cwd=cwd, settings=settings)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@dataclass
class Running:
    """A command that goes on until it is told to stop. Use it as a context.

    What it says is read all the time: a pipe that nobody reads takes 64 KiB, and then whoever writes to it stands still.
    """

    popen: subprocess.Popen[bytes]
    said: list[str] = field(default_factory=list)  # what was looked at, line by line
    _lines: SimpleQueue[str | None] = field(default_factory=SimpleQueue)
    _deaf: threading.Event = field(default_factory=threading.Event)
    _reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls, *arguments: str, cwd: Path, settings: Mapping[str, str] | None = None, stderr: int | None = None
    ) -> Running:
        popen = subprocess.Popen(
            our_command(*arguments),
            cwd=cwd,
            env=clean_environment() | dict(settings or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if stderr is None else stderr,
            start_new_session=True,
        )
        return cls(popen)

    def _read(self) -> None:
        stdout, rest = self.popen.stdout, b""
        assert stdout is not None
        while not self._deaf.is_set():
            if not select.select([stdout], [], [], 0.2)[0]:
                continue
            more = os.read(stdout.fileno(), 65536)
            *lines, rest = (rest + more).split(b"\n")
            for line in [*lines, *([rest] if rest and not more else [])]:
                self._lines.put(line.decode())
            if not more:
                break
        stdout.close()
        self._lines.put(None)

    def stop_reading(self) -> None:
        """Go away as a reader does: what it says from now on breaks its pipe."""
        self._deaf.set()
        self._reader.join(SECONDS)

    def until(self, wanted: Callable[[str], bool]) -> str:
        """The first line not yet read that is wanted."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(end - time.monotonic(), 0))
            except Empty:
                raise AssertionError(f"it never said so: {self.said}") from None
            assert line is not None, f"it ended with {self.popen.wait(SECONDS)} and said: {self.said}"
            self.said.append(line)
            if wanted(line):
                return line

    def ready(self) -> dict[str, Any]:
        """What it says once it is ready."""
        facts: dict[str, Any] = json.loads(self.until(lambda line: '"ready"' in line))
        return facts

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        if self.popen.poll() is None:
            self.send(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code; what it still said is in `said`."""
        self.popen.wait(SECONDS)
        self._hear_out()
        return self.popen.returncode

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(SECONDS)
        self._hear_out()
        if self.popen.stderr is not None:
            self.popen.stderr.close()

    def _hear_out(self) -> None:
        self._reader.join(SECONDS)
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                self.said.append(line)


def alive(pids: Sequence[int]) -> list[int]:
    """Which of these processes still run; a zombie does not."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found.append(pid)
    return found
