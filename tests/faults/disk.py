"""A disk that can be full: a real one of a few hundred kilobytes where that is allowed, SQLite's seam elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.faults import seam
from tests.faults.seam import NO_SPACE, Control

WHAT_TO_DO = (
    "A small disk needs a private mount namespace: run as root, or where users may make namespaces "
    "(sysctl user.max_user_namespaces, docker run --cap-add SYS_ADMIN --security-opt apparmor=unconfined)."
)


GROWTH = 16_384  # kilobytes
ASK = """
import json, sqlite3, sys
raw = sqlite3.connect(sys.argv[1] + "/taskrelay.db")
print(json.dumps(raw.execute(sys.argv[2]).fetchall()))
raw.close()
"""


def _asked(command: Sequence[str]) -> list[list[object]]:
    rows: list[list[object]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return rows


class Disk(Protocol):
    """Where the database stands, as the service sees it, and how the service is run to see it so."""

    folder: Path

    @property
    def here(self) -> Path:
        """The same folder, as this process sees it."""

    def command(self, plain: Sequence[str]) -> tuple[str, ...]: ...

    def ask(self, sql: str) -> list[list[object]]:
        """Rows of the database."""

    def fill(self) -> None:
        """From now on there is no room."""

    def free(self) -> None:
        """There is room again."""


class Seam:
    """An ordinary folder; SQLite is told that it is full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = Control(folder / "control")

    @property
    def here(self) -> Path:
        return self.folder

    def command(self, plain: Sequence[str]) -> tuple[str, ...]:
        return seam.command(self.control.path)

    def ask(self, sql: str) -> list[list[object]]:
        return _asked([sys.executable, "-c", ASK, str(self.folder), sql])

    def fill(self) -> None:
        self.control.arm(NO_SPACE)

    def free(self) -> None:
        self.control.heal()


class SmallDisk:
    """A tmpfs of its own, in a mount namespace that a sleeping process keeps. Use it as a context."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self.folder = folder
        self._kilobytes = kilobytes
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
        script = 'mount -t tmpfs -o "size=$2k,mode=700" taskrelay "$1" && echo ready && exec sleep infinity'
        try:
            self._keeper = subprocess.Popen(
                [*unshare, "sh", "-c", script, "sh", str(folder), str(kilobytes)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except FileNotFoundError:
            raise AssertionError(f"{WHAT_TO_DO} And unshare, of util-linux.") from None
        assert self._keeper.stdout is not None and self._keeper.stderr is not None
        if self._keeper.stdout.readline() != "ready\n":
            said = self._keeper.stderr.read().strip()
            self.end()
            raise AssertionError(f"{WHAT_TO_DO} It said: {said}")

    @property
    def here(self) -> Path:
        return Path(f"/proc/{self._keeper.pid}/root{self.folder}")

    def command(self, plain: Sequence[str]) -> tuple[str, ...]:
        who = () if os.geteuid() == 0 else ("-U", "--preserve-credentials")
        return ("nsenter", "-t", str(self._keeper.pid), "-m", *who, *plain)

    def ask(self, sql: str) -> list[list[object]]:
        # From inside: SQLite resolves /proc/…/root as the link it looks like, and opens another file.
        return _asked(self.command([sys.executable, "-c", ASK, str(self.folder), sql]))

    def fill(self) -> None:
        with open(self.here / "filler", "ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def free(self) -> None:
        """What others wrote goes, and the disk grows: what the database itself wrote would not let go of a very small one."""
        (self.here / "filler").unlink()
        self._kilobytes += GROWTH
        # Not with the options it has: their owner has another number inside the namespace of an ordinary user.
        grow = (
            "mount",
            "--options-source=disable",
            "-i",
            "-t",
            "tmpfs",
            "-o",
            f"remount,size={self._kilobytes}k",
            "none",
        )
        subprocess.run(self.command((*grow, str(self.folder))), check=True)

    def end(self) -> None:
        self._keeper.send_signal(signal.SIGKILL)
        self._keeper.communicate()


@contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[SmallDisk]:
    """A real disk. Fails, with what to do, where none may be made."""
    disk = SmallDisk(folder, kilobytes)
    try:
        yield disk
    finally:
        disk.end()


@contextmanager
def some_disk(folder: Path) -> Iterator[Disk]:
    """The seam, which every machine has; where a Python hides it, a real small disk."""
    if seam.missing() is None:
        yield Seam(folder)
        return
    with small_disk(folder, kilobytes=8192) as disk:
        yield disk
