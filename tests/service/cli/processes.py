"""Runs the real command as real processes, and waits for what they say instead of for time."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.cli.demo.stage import clean_environment, our_command

SECONDS = 40.0


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
    """A command that goes on until it is told to stop. Use it as a context."""

    popen: subprocess.Popen[bytes]
    said: list[str] = field(default_factory=list)
    _rest: bytes = b""

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

    def until(self, wanted: Callable[[str], bool]) -> str:
        """The first line not yet read that is wanted."""
        assert self.popen.stdout is not None
        end = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.popen.stdout, selectors.EVENT_READ)
            while True:
                while b"\n" in self._rest:
                    line, self._rest = self._rest.split(b"\n", 1)
                    self.said.append(line.decode())
                    if wanted(self.said[-1]):
                        return self.said[-1]
                assert selector.select(max(end - time.monotonic(), 0)), f"it never said so: {self.said}"
                more = os.read(self.popen.stdout.fileno(), 65536)
                assert more, f"it ended with {self.popen.wait(SECONDS)} and said: {self.said}"
                self._rest += more

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
        out, _ = self.popen.communicate(timeout=SECONDS)
        self.said += (self._rest + out).decode().splitlines()
        self._rest = b""
        return self.popen.returncode

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        if self.popen.stdout is not None and not self.popen.stdout.closed:
            self.popen.communicate(timeout=SECONDS)


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
