"""The embedded engine: SQLite through aiosqlite, one writer whose units are grouped into one commit, separate readers.

Measured reasons for its shape:
- One connection shared by transactions loses writes (a rollback takes another coroutine's insert with it), so the writer runs
  whole units, one after another, and readers have their own connections.
- A group of units is one call on aiosqlite's thread: a hop per statement runs 5 k units/s, a hop per group 29 k/s. aiosqlite has no
  public form for that, so its private `_execute` is called here and nowhere else, and the version is pinned.
- A write starts with BEGIN IMMEDIATE: a deferred one that upgrades fails with SQLITE_BUSY_SNAPSHOT at once, whatever the busy timeout.
- synchronous=FULL: with NORMAL, 200 of 200 acknowledged commits were not yet on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import aiosqlite
import orjson

from storage import dialect, migrate
from storage.database import Params, Unit
from storage.errors import Duplicate, Missing, StorageError, Unavailable

T = TypeVar("T")

OLDEST = (3, 37, 0)  # STRICT tables
GROUP = 512  # units in one commit at most
WAITING = 20_000  # units that may wait before callers are told to come back
READERS = 2
# A push and an event take 2.4 kB each: pages of 4 kB hold one and waste the rest, a third more to commit.
PAGE_BYTES = 8192
CHECKPOINT_BYTES = 4_096_000  # four times as many brought no throughput, and a p99 of 20 instead of 11 ms
BUSY_SECONDS = 5.0


class SQLiteConnection:
    """A unit's view of one SQLite connection. Its coroutines never suspend: the unit runs through on the driver's thread."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    async def fetch(self, sql: str, params: Params | None = None, /) -> list[tuple[object, ...]]:
        if not params:
            return self._raw.execute(sql).fetchall()
        text, values = dialect.sqlite(sql)
        return self._raw.execute(text, _bind(values(params))).fetchall()

    async def each(self, sql: str, rows: Sequence[Params], /) -> list[tuple[object, ...]]:
        execute, found = self._raw.execute, list[tuple[object, ...]]()
        if rows:
            text, values = dialect.sqlite(sql)
            for row in rows:
                found += execute(text, values(row)).fetchall()
        return found

    async def many(self, sql: str, rows: Sequence[Params], /) -> None:
        await self.change(sql, rows)

    async def change(self, sql: str, rows: Sequence[Params], /) -> int:
        if not rows:
            return 0
        text, values = dialect.sqlite(sql)
        return self._raw.executemany(text, map(values, rows)).rowcount


def _bind(values: tuple[object, ...]) -> tuple[object, ...]:
    """A list travels as JSON text for `json_each`."""
    if any(type(value) is list for value in values):
        return tuple(orjson.dumps(value).decode() if type(value) is list else value for value in values)
    return values


def drive(unit: Coroutine[Any, Any, T]) -> T:
    """Run a unit to its end in this thread. It cannot suspend, since nothing it may await does."""
    try:
        unit.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    unit.close()
    raise RuntimeError("a unit of work awaited something other than its connection")


class SQLiteDatabase:
    """One SQLite file. Made by `open`."""

    def __init__(self, path: str, writer: aiosqlite.Connection, readers: Sequence[aiosqlite.Connection]) -> None:
        self.path = path
        self._writer = writer
        self._readers = list(readers)
        self._idle_readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for reader in readers:
            self._idle_readers.put_nowait(reader)
        self._queue: deque[tuple[Unit[Any], asyncio.Future[Any]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Future[None]] = set()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._lock: int | None = None

    @classmethod
    async def open(cls, path: str, *, clock: Callable[[], int]) -> SQLiteDatabase:
        if sqlite3.sqlite_version_info < OLDEST:
            raise StorageError(
                f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed (it comes with Python's sqlite3 module)"
            )
        if not Path(path).absolute().parent.is_dir():  # noqa: ASYNC240 (once, at start)
            raise StorageError(f"{path}: the folder does not exist; create it or set TASKRELAY_DATABASE_URL")
        opened: list[aiosqlite.Connection] = []
        try:
            _create_private(path)
            writer = await _connect(path, opened)
            await on_thread(writer, _prepare_writer, writer._conn, clock())
            readers = [await _connect(path, opened) for _ in range(READERS)]
            for reader in readers:
                await on_thread(reader, reader._conn.execute, "PRAGMA query_only = ON")
        except BaseException as error:
            for connection in opened:
                await _disconnect(connection)
            if isinstance(error, sqlite3.Error):
                raise _translated(error, path) from error
            raise
        return cls(path, writer, readers)

    async def write(self, unit: Unit[T], /) -> T:
        if self._closed:
            raise Unavailable("the database is closed")
        if len(self._queue) >= WAITING:
            raise Unavailable(f"{WAITING} writes are waiting already")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append((unit, done))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        # A caller that goes away cancels this future and not its unit, which runs all the same.
        return await done

    async def read(self, unit: Unit[T], /) -> T:
        if self._closed:
            raise Unavailable("the database is closed")
        ended = asyncio.get_running_loop().create_future()
        self._reads.add(ended)
        try:
            return await self._on_idle_reader(unit)
        finally:
            self._reads.discard(ended)
            ended.set_result(None)

    async def _on_idle_reader(self, unit: Unit[T]) -> T:
        reader = await self._idle_readers.get()
        work = asyncio.ensure_future(on_thread(reader, _read, reader._conn, unit))
        work.add_done_callback(lambda _: self._idle_readers.put_nowait(reader))
        try:
            result: T = await asyncio.shield(work)
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error
        return result

    async def close(self) -> None:
        self._closed = True
        if self._closing is None:
            self._closing = asyncio.create_task(self._finish())
        # Shielded: cancelling a caller would cancel the runner, and the accepted units' callers would never hear.
        await asyncio.shield(self._closing)

    async def _finish(self) -> None:
        if self._runner is not None:
            await self._runner
        # A read that waits for its turn first: asyncio's queue is not fair, it would lose its reader to the next line and wait for ever.
        while self._reads:
            await asyncio.wait(self._reads)
        for _ in self._readers:
            await self._idle_readers.get()  # a reader in use comes back first
        for connection in (*self._readers, self._writer):
            await _disconnect(connection)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def claim_serving(self) -> bool:
        """Become the one process that serves this file. Held until the process ends, however it ends.

        Raises StorageError naming the process that has it. Short commands need no claim: they only write.
        """
        lock = os.open(f"{os.path.realpath(self.path)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise StorageError(
                f"{self.path} is served by process {owner}. One process per SQLite file; for replicas use PostgreSQL"
            ) from error
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock
        return True

    async def _run(self) -> None:
        """Drain the queue. What arrives during one commit is the next group; nothing lingers to fill a group."""
        while self._queue:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP))]
            try:
                outcomes = await on_thread(self._writer, _write_group, self._writer._conn, [unit for unit, _ in group])
            except BaseException as error:
                outcomes = [_Failed(error)] * len(group)
            for (_, done), outcome in zip(group, outcomes, strict=True):
                if done.cancelled():
                    continue
                if isinstance(outcome, _Failed):
                    done.set_exception(_translated(outcome.error, self.path))
                else:
                    done.set_result(outcome)
        self._runner = None


class _Failed:
    """A unit's exception, told apart from a unit that returns one."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def on_thread(connection: aiosqlite.Connection, work: Callable[..., T], *arguments: object) -> T:
    """Run `work` on the connection's thread: the one private call of the driver, kept in one place."""
    result: T = await connection._execute(work, *arguments)  # type: ignore[no-untyped-call]
    return result


async def _connect(path: str, opened: list[aiosqlite.Connection]) -> aiosqlite.Connection:
    connection = aiosqlite.connect(path, isolation_level=None, cached_statements=512, timeout=BUSY_SECONDS)
    opened.append(connection)
    await connection
    await on_thread(connection, _configure, connection._conn, path)
    return connection


async def _disconnect(connection: aiosqlite.Connection) -> None:
    """Also ends the thread: one that has not quite ended speaks to a loop that may be closed, and prints a traceback."""
    await connection.close()
    connection._thread.join()


def _create_private(path: str) -> None:
    """It holds what clients asked for: for its owner's eyes. SQLite gives its log the same mode; an existing file keeps its own."""
    with contextlib.suppress(OSError):  # what is wrong with the file, SQLite says better
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _configure(raw: sqlite3.Connection, path: str) -> None:
    """Set what a connection needs and read back what durability rests on."""
    raw.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; an old one keeps its own
    _switch_to_wal(raw)
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        f"wal_autocheckpoint = {CHECKPOINT_BYTES // PAGE_BYTES}",
        "temp_store = MEMORY",
    ):
        raw.execute(f"PRAGMA {pragma}")
    journal = raw.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = raw.execute("PRAGMA synchronous").fetchone()[0]
    if (journal, synchronous) != ("wal", 2):
        raise StorageError(
            f"{path}: journal_mode={journal}, synchronous={synchronous}; taskrelay needs WAL and FULL on a local file system"
        )


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    """Two processes that open an empty file meet here, and SQLite tells the second BUSY at once, whatever its busy timeout."""
    give_up_at = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            raw.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > give_up_at:
                raise
        time.sleep(0.01)


def _prepare_writer(raw: sqlite3.Connection, now: int) -> None:
    migrate.migrate_sqlite(raw, now)


def _write_group(raw: sqlite3.Connection, units: Sequence[Unit[Any]]) -> list[object]:
    """One transaction for all. If anything in it fails, roll all of it back and run each unit once, alone."""
    connection = SQLiteConnection(raw)
    try:
        return _transaction(raw, connection, units)
    except BaseException as error:
        _stop_if_disk_failed(error)
        if len(units) == 1 or _is_busy(error):
            return [_Failed(error)] * len(units)
    outcomes: list[object] = []
    while len(outcomes) < len(units):
        try:
            outcomes += _transaction(raw, connection, [units[len(outcomes)]])
        except BaseException as error:
            _stop_if_disk_failed(error)
            outcomes += [_Failed(error)] * (len(units) - len(outcomes) if _is_busy(error) else 1)
    return outcomes


def _is_busy(error: BaseException) -> bool:
    """Whether another process kept the file. Its lock was waited for already; each unit of a group would wait as long again."""
    return _name(error).startswith("SQLITE_BUSY")


def _transaction(raw: sqlite3.Connection, connection: SQLiteConnection, units: Sequence[Unit[Any]]) -> list[object]:
    raw.execute("BEGIN IMMEDIATE")
    try:
        results: list[object] = [drive(unit(connection)) for unit in units]  # type: ignore[arg-type]
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise
    return results


def _read(raw: sqlite3.Connection, unit: Unit[T]) -> T:
    raw.execute("BEGIN")
    try:
        return drive(unit(SQLiteConnection(raw)))  # type: ignore[arg-type]
    except BaseException as error:
        _stop_if_disk_failed(error)
        raise
    finally:
        raw.execute("ROLLBACK")


def _stop_if_disk_failed(error: BaseException) -> None:
    """After a failed read, write or sync of the file nothing in memory may be trusted: stop, and let a restart recover."""
    name = _name(error)
    if name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")):
        _fail_stop(
            f"taskrelay: the database file failed ({name}: {error}). Stopping; check the disk, then start again."
        )


def _name(error: BaseException) -> str:
    """SQLite's own name of the error; extended ones begin with the plain one."""
    return str(getattr(error, "sqlite_errorname", None) or "")


def _fail_stop(message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(74)


def _translated(error: BaseException, path: str) -> BaseException:
    """A driver's exception in our words; everything else as it is."""
    name = _name(error)
    if isinstance(error, sqlite3.IntegrityError) and "UNIQUE constraint failed" in str(error):
        told: StorageError = Duplicate(str(error).removeprefix("UNIQUE constraint failed: "))
    elif isinstance(error, sqlite3.IntegrityError) and "FOREIGN KEY constraint failed" in str(error):
        told = Missing(f"{path}: the row refers to one that does not exist")
    elif isinstance(error, sqlite3.OperationalError) and name != "SQLITE_ERROR":
        told = Unavailable(f"{path}: {error}")
    elif name == "SQLITE_NOTADB":
        told = StorageError(f"{path} is not an SQLite database")
    elif isinstance(error, sqlite3.Error):
        told = StorageError(f"{path}: {error}")  # a statement or value of ours is wrong
    else:
        return error
    told.__cause__ = error
    return told
