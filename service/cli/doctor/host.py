"""This machine: Python, SQLite, open files, disk space, who else installed over us, and who may read our secrets."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.doctor.finding import Finding, fine, note, wrong

if TYPE_CHECKING:
    from service.settings import Settings

ABOUT = "machine"
OLDEST_PYTHON = (3, 11)
# CVE-2024-4032: older ipaddress tables call some private ranges public. Ours are our own; whatever else runs here uses Python's.
MENDED_PYTHON = {(3, 11): 10, (3, 12): 4}
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
SPARE_FILES = 200  # database, log, listening socket, connections to providers
TURNED_AWAY = 128  # past MAX_CONNECTIONS, that are still told so
MORE_FILES = "ulimit -n 65536   (systemd: LimitNOFILE=65536)"
FULL_BYTES, LOW_BYTES = 200_000_000, 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`files`: how many `serve` may have open at once. `free`: bytes on the database's disk, None where it is not here."""

    python: tuple[int, int, int]
    sqlite: tuple[int, ...]
    files: int
    free: int | None
    strangers: tuple[str, ...]  # distributions that put files into our packages
    own: bool  # installed, and not run from its source folder


def measure(settings: Settings) -> Measured:
    from service.runtime import file_limit
    from storage import files

    claimed = _owners()
    return Measured(
        python=sys.version_info[:3],
        sqlite=files.sqlite_version(),
        files=file_limit(*resource.getrlimit(resource.RLIMIT_NOFILE)),
        free=_free(settings),
        strangers=tuple(owner for owner in claimed if owner != "taskrelay"),
        own="taskrelay" in claimed,
    )


@cache
def _owners() -> tuple[str, ...]:
    """Which distributions put files into our packages. Reads the list of every file that is installed."""
    owners = metadata.packages_distributions()
    return tuple(sorted({owner for name in ("service", "storage") for owner in owners.get(name, [])}))


def _free(settings: Settings) -> int | None:
    from service.bootstrap.keys import secret_file

    beside = secret_file(settings)
    return shutil.disk_usage(beside.parent).free if beside is not None and beside.parent.is_dir() else None


def judge(seen: Measured, settings: Settings) -> list[Finding]:
    return [*_python(seen), *_installed(seen), *_files(seen, settings), *_disk(seen)]


def _python(seen: Measured) -> Iterator[Finding]:
    told = ".".join(map(str, seen.python))
    if seen.python[:2] < OLDEST_PYTHON:
        yield wrong(ABOUT, f"Python {told} is too old", "install Python 3.11.10 or newer")
    elif seen.python[2] < MENDED_PYTHON.get(seen.python[:2], 0):
        mended = f"{seen.python[0]}.{seen.python[1]}.{MENDED_PYTHON[seen.python[:2]]}"
        text = f"Python {told} takes some private addresses for public ones (CVE-2024-4032); taskrelay judges by a table of its own"
        yield note(ABOUT, text, f"install Python {mended} or newer")
    else:
        yield fine(ABOUT, f"Python {told}")
    sqlite = ".".join(map(str, seen.sqlite))
    if seen.sqlite < OLDEST_SQLITE:
        text = f"SQLite {sqlite} is too old: its tables cannot be STRICT"
        yield wrong(ABOUT, text, "use a Python that brings SQLite 3.37 or newer, such as the one of python.org or uv")
    else:
        yield fine(ABOUT, f"SQLite {sqlite}")


def _installed(seen: Measured) -> Iterator[Finding]:
    """Whether another distribution has put files over ours: pip does that without a word."""
    if seen.strangers:
        text = f"{', '.join(seen.strangers)} also installed a package named service or storage"
        yield wrong(ABOUT, text, "python -m venv taskrelay && taskrelay/bin/pip install taskrelay")
    else:
        yield fine(ABOUT, "an environment of its own" if seen.own else "run from its source folder")


def _files(seen: Measured, settings: Settings) -> Iterator[Finding]:
    own = 2 * settings.egress.per_host + SPARE_FILES
    needed, least = settings.max_connections + TURNED_AWAY + own, settings.max_streams + own
    if 0 <= seen.files < least:
        yield wrong(
            ABOUT, f"only {seen.files} files may be open at once, and {least} are needed for little", MORE_FILES
        )
    elif 0 <= seen.files < needed:
        text = f"only {seen.files} files may be open at once; {settings.max_connections} connections and the rest can be {needed}"
        yield note(ABOUT, text, f"{MORE_FILES}, or TASKRELAY_MAX_CONNECTIONS={max(seen.files - TURNED_AWAY - own, 16)}")
    else:
        yield fine(ABOUT, f"{seen.files} open files allowed" if seen.files >= 0 else "any number of open files")


def _disk(seen: Measured) -> Iterator[Finding]:
    if seen.free is None:
        return
    told = f"{seen.free / 1e9:.1f} GB free for the database"
    if seen.free < FULL_BYTES:
        yield wrong(ABOUT, f"{told}: nothing can be accepted once it is full", "make room, or move the database")
    elif seen.free < LOW_BYTES:
        yield note(ABOUT, told, "make room, or lower TASKRELAY_RETENTION__TASKS_DAYS")
    else:
        yield fine(ABOUT, told)


def readable_secrets(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Files with secrets that everybody on this machine may read."""
    from service.bootstrap.keys import secret_file
    from service.settings import shape

    beside = secret_file(settings)
    named = [Path(value) for name, value in environ.items() if (meant := shape.path_of(name)) and meant[1]]
    found = [wrong(ABOUT, _open(path), f"chmod 600 {path}") for path in [beside] if path is not None and _others(path)]
    return found + [note(ABOUT, _open(path), f"chmod 600 {path}") for path in named if _others(path)]


def _open(path: Path) -> str:
    return f"{path} holds a secret and may be read by others on this machine"


def _others(path: Path) -> bool:
    try:
        return bool(os.stat(path).st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False
