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
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import aiosqlite
import orjson

from storage import dialect, files, migrate
from storage.closing import to_its_end
from storage.database import Key, Params, Unit
from storage.errors import Busy, Duplicate, Full, Missing, StorageError, Unavailable
from storage.groups import Failed, Groups

T = TypeVar("T")
Pace = Callable[[], Awaitable[None]]

OLDEST = (3, 37, 0)  # STRICT tables
READERS = 2
# A push and an event take 2.4 kB each: pages of 4 kB hold one and waste the rest, a third more to commit.
PAGE_BYTES = 8192
CHECKPOINT_BYTES = 4_096_000  # four times as many brought no throughput, and a p99 of 20 instead of 11 ms
PRAGMAS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    # What is erased is overwritten: whether a library does so by itself depends on how it was built (Debian's does, others do not).
    "secure_delete = ON",
    f"wal_autocheckpoint = {CHECKPOINT_BYTES // PAGE_BYTES}",
    "temp_store = MEMORY",
)
BUSY_SECONDS = 5.0  # how long a write waits for a foreign writer
BUSY_STEP_SECONDS = 0.25  # it is waited for in steps: who asked first gives up first, and who asked late still has time


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

    async def lastly(self, sql: str, rows: Mapping[Key, Params], merge: Callable[[Params, Params], Params], /) -> None:
        await self.change(sql, list(rows.values()))  # one writer has the whole file: nobody can wait in a circle


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


class Inline:
    """Stands in for aiosqlite's connection: runs its work in the caller's thread, after `pace`.

    For simulations, which must replay to the bit. A whole process would stand still while the disk works.
    """

    def __init__(self, raw: sqlite3.Connection, pace: Pace) -> None:
        self._conn = raw
        self._pace = pace

    async def _execute(self, work: Callable[..., T], *arguments: object) -> T:
        await self._pace()
        return work(*arguments)

    async def close(self) -> None:
        self._conn.close()


Wire = aiosqlite.Connection | Inline


class SQLiteDatabase:
    """One SQLite file. Made by `open`."""

    def __init__(self, path: str, writer: Wire, readers: Sequence[Wire]) -> None:
        self.path = path
        self._writer = writer
        self._readers = list(readers)
        self._idle_readers: asyncio.Queue[Wire] = asyncio.Queue()
        for reader in readers:
            self._idle_readers.put_nowait(reader)
        self._groups = Groups(
            self._write_group,
            passes=_is_busy,
            translate=lambda error: _translated(error, path),
            patience=BUSY_SECONDS,
        )
        self._reads: set[asyncio.Future[None]] = set()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._lock: int | None = None

    @classmethod
    async def open(cls, path: str, *, clock: Callable[[], int], pace: Pace | None = None) -> SQLiteDatabase:
        """`pace`: run every statement in the calling thread, each piece of work after this; else on aiosqlite's threads."""
        if sqlite3.sqlite_version_info < OLDEST:
            raise StorageError(
                f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed (it comes with Python's sqlite3 module)"
            )
        files.refuse_unusable(path)
        opened: list[Wire] = []
        try:
            files.create_private(path)
            writer = await _connect(path, opened, pace)
            await on_thread(writer, _prepare_writer, writer._conn, clock())
            readers = [await _connect(path, opened, pace) for _ in range(READERS)]
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
        return await self._groups.write(unit)

    async def _write_group(self, units: Sequence[Unit[Any]]) -> list[object]:
        return await on_thread(self._writer, _write_group, self._writer._conn, units)

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

    @property
    def waiting(self) -> int:
        return self._groups.waiting

    def watched(self, told: Callable[[int, float], None], /) -> None:
        self._groups.told = told

    async def close(self) -> None:
        self._closed = True
        if self._closing is None:
            self._closing = asyncio.create_task(self._finish())
        await to_its_end(self._closing)

    async def _finish(self) -> None:
        await self._groups.finish()
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
        self._lock = files.claim(self.path)
        return True


async def on_thread(connection: Wire, work: Callable[..., T], *arguments: object) -> T:
    """Run `work` on the connection's thread: the one private call of the driver, kept in one place."""
    result: T = await connection._execute(work, *arguments)
    return result


async def _connect(path: str, opened: list[Wire], pace: Pace | None) -> Wire:
    how: dict[str, Any] = {"isolation_level": None, "cached_statements": 512, "timeout": BUSY_SECONDS}
    connection: Wire
    if pace is not None:
        connection = Inline(sqlite3.connect(path, **how), pace)
        opened.append(connection)
    else:
        connection = aiosqlite.connect(path, **how)
        connection._thread.daemon = True  # a process that ends without a word, at a second Ctrl-C, is not held up by it
        opened.append(connection)
        await connection
    await on_thread(connection, _configure, connection._conn, path)
    return connection


async def _disconnect(connection: Wire) -> None:
    """Also ends the thread: one that has not quite ended speaks to a loop that may be closed, and prints a traceback."""
    await connection.close()
    if not isinstance(connection, Inline):
        connection._thread.join()


def _configure(raw: sqlite3.Connection, path: str) -> None:
    """Set what a connection needs and read back what durability rests on."""
    raw.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; an old one keeps its own
    _switch_to_wal(raw)
    for pragma in PRAGMAS:
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
    _settle_log(raw)
    migrate.migrate_sqlite(raw, now)
    raw.execute(f"PRAGMA busy_timeout = {round(min(BUSY_STEP_SECONDS, BUSY_SECONDS) * 1000)}")


def _settle_log(raw: sqlite3.Connection) -> None:
    """Move the log into the file, synced, and empty it. Waits for nobody: while another process uses the log, it stays.

    At start: after a failed sync Linux calls the log's pages clean though they never reached the disk, and only writing them anew
    brings them there. On a full disk: the log is up to four megabytes of room.
    """
    [(patience,)] = raw.execute("PRAGMA busy_timeout").fetchall()
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience}")


def _write_group(raw: sqlite3.Connection, units: Sequence[Unit[Any]]) -> list[object]:
    """One transaction for all. If anything in it fails, roll all of it back and run each unit once, alone."""
    connection = SQLiteConnection(raw)
    try:
        return _transaction(raw, connection, units)
    except BaseException as error:
        _stop_if_disk_failed(error)
        made_room = _is_full(error) and _make_room(raw)
        if _is_busy(error) or (len(units) == 1 and not made_room):
            return [Failed(error)] * len(units)
    outcomes: list[object] = []
    while len(outcomes) < len(units):
        try:
            outcomes += _transaction(raw, connection, [units[len(outcomes)]])
        except BaseException as error:
            _stop_if_disk_failed(error)
            outcomes += [Failed(error)] * (len(units) - len(outcomes) if _is_busy(error) else 1)
    return outcomes


def _make_room(raw: sqlite3.Connection) -> bool:
    """Whether the log could be emptied. On a disk without room for even that, it is as before."""
    try:
        _settle_log(raw)
    except sqlite3.Error as error:
        _stop_if_disk_failed(error)
        return False
    return True


def _is_busy(error: BaseException) -> bool:
    """Whether another process kept the file. Its lock was waited for already; each unit of a group would wait as long again."""
    return _name(error).startswith("SQLITE_BUSY")


def _is_full(error: BaseException) -> bool:
    """Whether the disk has no room. The index of the log says so in another way, before it has changed anything."""
    return _name(error) in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")


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
    if name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")) and not _is_full(error):
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
    elif _is_full(error):
        told = Full(f"{path}: the disk is full")
    elif _is_busy(error):
        told = Busy(f"{path}: {error}")
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
