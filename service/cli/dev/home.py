"""The folder of a `dev`: one process at a time has it, nothing in it is the reader's own, and it ignores itself in Git."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USUAL = Path(".taskrelay-dev")
MARK = "README"
MARK_TEXT = (
    "Made by `taskrelay dev`: its database, key and logs. Commands run in here use its settings. It may be deleted.\n"
)
LOCK, KEY, SETTINGS = "lock", "key", "taskrelay.toml"
COMPANIES = ("cloudsway", "ulazai", "acedata", "apiinone")


class HomeError(Exception):
    """The folder cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Home:
    """A folder that is ours for as long as it is open."""

    folder: Path

    @property
    def key(self) -> str | None:
        """The API key of an earlier run."""
        try:
            return (self.folder / KEY).read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def keep_key(self, key: str) -> None:
        private(self.folder / KEY, key + "\n")

    def write_settings(self, text: str) -> None:
        private(self.folder / SETTINGS, text)


@contextmanager
def opened(folder: Path, *, fresh: bool) -> Iterator[Home]:
    """Make or take up the folder; `fresh` empties it. Raises `HomeError`."""
    try:
        _make(folder)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(f"cannot use {folder}: {error.strerror or error}. Another place: --folder") from None
    try:
        _take(lock, folder)
        if fresh:
            _empty(folder)
        (folder / ".gitignore").write_text("*\n")  # whatever repository we were called in
        yield Home(folder)
    finally:
        os.close(lock)


def _make(folder: Path) -> None:
    if folder.exists() and not _ours(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise HomeError(f"{folder} is there and not of `taskrelay dev`; it stays as it is. Another place: --folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / MARK).write_text(MARK_TEXT)


def _ours(folder: Path) -> bool:
    mark = folder / MARK
    return mark.is_file() and mark.read_text(errors="replace") == MARK_TEXT


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip() or "another"
        raise HomeError(
            f"{folder} is used by a `taskrelay dev` that runs, process {owner}. End that one first, or: --folder"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in (LOCK, MARK):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def private(path: Path, text: str) -> None:
    """Write a file that only we can read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def settings_text(sandbox: str, port: int, job_seconds: float) -> str:
    """A `taskrelay.toml` with an account at each company the sandbox plays; one of them has two wire forms."""
    # A push that does not come is missed soon, and what never pushes is asked when the sandbox is about done.
    expected = max(1, round(job_seconds))
    lines = [
        "# Written anew by each `taskrelay dev`; changes are lost.",
        'database_url = "sqlite:///taskrelay.db"',
        f'public_url = "http://127.0.0.1:{port}"',
        f"port = {port}",
        "",
        "[egress]  # receivers on this machine may be called",
        'allow = "127.0.0.0/8,::1/128"',
        'ports = "*"',
    ]
    for name in COMPANIES:
        lines += ["", f"[accounts.{name}]", f'base_url = "{sandbox}"', 'api_key = "any-text-will-do-at-the-sandbox"']
        lines += [f"expected_seconds = {expected}", 'rate = "20/s"']
        if name == "cloudsway":
            lines.append('endpoint_path = "dev"')
        if name == "apiinone":
            lines.append(
                "enabled = true  # its replies are documented nowhere, so elsewhere it is off until you say so"
            )
    return "\n".join(lines) + "\n"
