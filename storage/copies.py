"""Backup and restore of an SQLite database: a copy from one snapshot, checked, marked as a copy, and in its place whole or not at all.

The mark (`installation.copied_at`) lies in the copy itself, so whoever puts it in place, by hand or by `restore`: the next
start knows that what was open then may have been bought since (service/pipeline/drill.py).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote

from storage import files, migrate
from storage.errors import StorageError
from storage.records import light

PAGES = 2_048  # copied at a time: 8 MB
PATIENCE_SECONDS = 5.0
# What damage makes of reading: SQLite's own words may quote bytes that are no text, and a row may hold what its table forbids.
DAMAGED = (sqlite3.Error, ValueError, TypeError)
THROWN_AWAY = "the copy is damaged, so it was thrown away"

Progress = Callable[[int, int], None]  # pages done, pages in all


@light(frozen=True, slots=True, kw_only=True)
class Copy:
    """What a copy holds. `aside`: where the database went that was there before."""

    path: Path
    bytes: int
    copied_at: int
    tasks: int
    open_tasks: int
    events: int
    aside: Path | None = None


def back_up(path: Path, target: Path, *, now: int, replace: bool = False, progress: Progress | None = None) -> Copy:
    """Copy a database, serving or not. The copy is one instant of it, readable by its owner alone."""
    if not path.is_file():
        raise StorageError(f"there is no database at {path}. TASKRELAY_DATABASE_URL names another")
    if target.exists() and not replace:
        raise StorageError(f"{target} exists already. Name another file, or say --force to replace it")
    if os.path.realpath(target) == os.path.realpath(path):
        raise StorageError(f"{target} is the database itself. Name another file")
    with _unfinished(target) as fresh:
        copied_at = _copy(path, fresh, now, progress)
        made = _examined(fresh, copied_at)
        _settle(fresh, target, replace=replace)
    return made.at(target)


def restore(copy: Path, path: Path, *, now: int, progress: Progress | None = None) -> Copy:
    """Put a copy in the database's place, and the database that was there aside. Refused while a process serves it."""
    if not copy.is_file():
        raise StorageError(f"there is no file {copy}")
    files.refuse_unusable(str(path))
    place = Path(os.path.realpath(path))
    if (process := files.holder(str(place))) is not None:
        raise StorageError(f"{place} is served by process {process}. Stop it first, then restore again")
    lock = files.claim(str(place))
    try:
        with _unfinished(place) as fresh:
            copied_at = _copy(copy, fresh, now, progress)
            made = _examined(fresh, copied_at)
            aside = _put_aside(place, now) if place.exists() else None
            _settle(fresh, place, replace=True)
    finally:
        os.close(lock)
    return made.at(place, aside=aside)


@light(frozen=True, slots=True, kw_only=True)
class _Found:
    """A copy that was examined, not yet in its place."""

    copied_at: int
    tasks: int
    open_tasks: int
    events: int

    def at(self, path: Path, aside: Path | None = None) -> Copy:
        return Copy(
            path=path,
            bytes=path.stat().st_size,
            copied_at=self.copied_at,
            tasks=self.tasks,
            open_tasks=self.open_tasks,
            events=self.events,
            aside=aside,
        )


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A private file beside the target, gone when it does not get there."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {(error.strerror or str(error)).lower()}") from None
    try:
        yield fresh
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{fresh}{end}").unlink(missing_ok=True)


def _copy(source: Path, fresh: Path, now: int, progress: Progress | None) -> int:
    """Copy from one snapshot and mark the copy. Returns of which instant it is."""
    told = (lambda _, left, pages: progress(pages - left, pages)) if progress is not None else None
    try:
        with closing(_opened(source)) as whole, closing(sqlite3.connect(fresh, isolation_level=None)) as copy:
            # A snapshot held from the first page to the last: a copy page by page would begin anew with every commit.
            whole.execute("BEGIN")
            whole.execute("SELECT count(*) FROM sqlite_master").fetchone()
            whole.backup(copy, pages=PAGES, progress=told, sleep=0)
            whole.execute("ROLLBACK")
            _refuse_strange(copy, source)
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()  # one file, that can be moved
            copy.execute("UPDATE installation SET copied_at = coalesce(copied_at, ?)", (now,))
            [(copied_at,)] = copy.execute("SELECT copied_at FROM installation").fetchall()
    except DAMAGED as error:
        raise StorageError(f"{source} cannot be copied: {error}") from error
    return int(copied_at)


def _opened(path: Path) -> sqlite3.Connection:
    """Never makes a file; and writes nothing in it, though the log beside it may have to be made."""
    address = f"file:{quote(os.path.realpath(path))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE_SECONDS)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _refuse_strange(copy: sqlite3.Connection, source: Path) -> None:
    """Whether it is a database of ours, and of a release that this one can read."""
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"migrations", "installation", "tasks"} <= tables:
        raise StorageError(f"{source} is no database of taskrelay")
    try:
        migrate.refuse_newer(dict(copy.execute(migrate.APPLIED).fetchall()))
    except StorageError as error:
        raise StorageError(f"{source}: {error}") from None


def _examined(fresh: Path, copied_at: int) -> _Found:
    """What it holds, once every page of it was found to be in order."""
    tasks_in_all = "SELECT count(*), count(*) - count(finished_at), (SELECT count(*) FROM events) FROM tasks"
    try:
        with closing(sqlite3.connect(fresh, isolation_level=None)) as copy:
            if why := _faults(copy):
                raise StorageError(f"{THROWN_AWAY}: {why}")
            [(tasks, open_tasks, events)] = copy.execute(tasks_in_all).fetchall()
    except DAMAGED as error:  # so badly that it cannot even be checked
        raise StorageError(f"{THROWN_AWAY}: {error}") from error
    return _Found(copied_at=copied_at, tasks=tasks, open_tasks=open_tasks, events=events)


def _faults(copy: sqlite3.Connection) -> str:
    """What is wrong with it; empty when nothing is."""
    faults = [str(fault) for (fault,) in copy.execute("PRAGMA integrity_check(3)") if fault != "ok"]
    strays = copy.execute("PRAGMA foreign_key_check").fetchone() is not None
    return "; ".join(faults) or ("rows refer to others that are not there" if strays else "")


def _put_aside(place: Path, now: int) -> Path:
    """Give the database that is there another name beside its own. It is whole there: its log is moved into it first."""
    aside = _free_name(place, now)
    with suppress(FileNotFoundError):
        os.link(f"{place}-wal", f"{aside}-wal")  # opening a damaged database may throw its log away
    try:
        with closing(sqlite3.connect(place, isolation_level=None, timeout=PATIENCE_SECONDS)) as old:
            # Leaving WAL takes everybody else's leave: whoever has it open still would write into the new one's log.
            old.execute("PRAGMA journal_mode = DELETE").fetchone()
            old.execute("SELECT id FROM installation").fetchone()
        Path(f"{aside}-wal").unlink(missing_ok=True)
    except DAMAGED as error:
        if str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY"):
            Path(f"{aside}-wal").unlink(missing_ok=True)
            raise StorageError(
                f"{place} is in use by another command: {error}. Let it end, then restore again"
            ) from error
        for end in ("-wal", "-shm"):  # damaged, which may be why it is restored: its log is aside, and not the copy's
            Path(f"{place}{end}").unlink(missing_ok=True)
    os.link(place, aside)
    return aside


def _free_name(place: Path, now: int) -> Path:
    """A name that nothing has: of two restores in one second the first put the database itself aside, which must stay."""
    first = f"{place.name}.before-restore-{now // 1_000_000}"
    names = chain([first], (f"{first}-{number}" for number in count(2)))
    return next(
        path for path in map(place.with_name, names) if not any(Path(f"{path}{end}").exists() for end in ("", "-wal"))
    )


def _settle(fresh: Path, target: Path, *, replace: bool) -> None:
    """Synced, then in its place by one step."""
    _sync(fresh)
    try:
        if replace:
            os.replace(fresh, target)
        else:
            os.link(fresh, target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {(error.strerror or str(error)).lower()}") from None
    _sync(target.parent)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
