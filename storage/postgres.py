"""The engine for many replicas: PostgreSQL through asyncpg, writes in groups of one commit, reads on a small pool.

Reasons for its shape, measured on loopback: a transaction for each request 4.8 k/s, groups 16 k/s; so one connection of a replica
writes, and what arrives during its commit is the next group. Other replicas write at the same time: the texts lock rows in one order
(tasks by id, then lanes by key), whoever loses a race runs again, alone, and what an answer to COMMIT would have said is asked of
the server by the transaction's number, never guessed.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg

from storage import dialect, migrate
from storage.database import Params, Unit
from storage.errors import Busy, CommitUnknown, Duplicate, Full, Missing, StorageError, Unavailable
from storage.groups import Failed, Groups

if TYPE_CHECKING:
    Link: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

T = TypeVar("T")

READERS = 4
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = (
    15.0  # the server's own time-outs come first (migrate.py); this one is for a server that says nothing at all
)
PATIENCE_SECONDS = 10.0  # how long trouble that passes is waited for: a fail-over, a deadlock, a lock
PAUSE_SECONDS = 0.05
UNDECIDED_SECONDS = 30.0  # how long a lost answer to COMMIT is asked after

# Somebody else was first; nothing was written, and running again is the answer.
RACES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
SLOW = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
# The server cannot just now: starting, stopping, failing over, full of connections, or out of reach.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that was the primary a moment ago
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    ConnectionError,
    OSError,
    TimeoutError,
)
FULL = (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)
KEY = re.compile(r"Key \((?P<columns>.*?)\)=")


class PostgresConnection:
    """A unit's view of one connection inside a transaction."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def fetch(self, sql: str, params: Params | None = None, /) -> list[tuple[object, ...]]:
        text, names = dialect.postgres(sql)
        given = params or {}
        return [tuple(row) for row in await self._link.fetch(text, *[given[name] for name in names])]

    async def each(self, sql: str, rows: Sequence[Params], /) -> list[tuple[object, ...]]:
        if not rows:
            return []
        text, names = dialect.postgres(sql)
        return [tuple(row) for row in await self._link.fetchmany(text, [[row[name] for name in names] for row in rows])]

    async def many(self, sql: str, rows: Sequence[Params], /) -> None:
        if rows:
            text, names = dialect.postgres(sql)
            await self._link.executemany(text, [[row[name] for name in names] for row in rows])

    async def change(self, sql: str, rows: Sequence[Params], /) -> int:
        return len(await self.each(sql, rows))


class PostgresDatabase:
    """One database on a server. Made by `open`."""

    def __init__(self, writer: asyncpg.Pool[asyncpg.Record], readers: asyncpg.Pool[asyncpg.Record]) -> None:
        self._writer = writer
        self._readers = readers
        self._groups = Groups(
            self._write_group, passes=_passes, translate=_translated, patience=PATIENCE_SECONDS, pause=_pause
        )
        self._reads: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, url: str) -> PostgresDatabase:
        """Raises `Unavailable` when nobody answers, `StorageError` when the schema or a setting is not what durability needs."""
        pools: list[asyncpg.Pool[asyncpg.Record]] = []
        try:
            for size in (1, READERS):
                pools.append(await _pool(url, size))
            async with pools[0].acquire() as link:
                await migrate.check_postgres(link)
        except BaseException as error:
            for pool in pools:
                pool.terminate()
            raise _translated(error) from error
        return cls(*pools)

    async def write(self, unit: Unit[T], /) -> T:
        if self._closed:
            raise Unavailable("the database is closed")
        return await self._groups.write(unit)

    async def read(self, unit: Unit[T], /) -> T:
        if self._closed:
            raise Unavailable("the database is closed")
        # A reader that goes away would leave its query running and its connection in an unknown state.
        work = asyncio.create_task(self._read(unit))
        self._reads.add(work)
        work.add_done_callback(self._reads.discard)
        return await asyncio.shield(work)

    def claim_serving(self) -> bool:
        """Any number of processes may serve: what needs one owner has a lane."""
        return False

    async def close(self) -> None:
        self._closed = True
        if self._closing is None:
            self._closing = asyncio.create_task(self._finish())
        await asyncio.shield(self._closing)

    async def _finish(self) -> None:
        await self._groups.finish()
        while self._reads:
            await asyncio.wait(self._reads)
        for pool in (self._readers, self._writer):
            await pool.close()

    async def _read(self, unit: Unit[T]) -> T:
        """Once more when the connection was lost: a pool finds out only by using one."""
        for last in (False, True):
            try:
                async with (
                    self._readers.acquire(timeout=ANSWER_SECONDS) as link,
                    link.transaction(isolation="repeatable_read", readonly=True),
                ):
                    return await unit(PostgresConnection(link))
            except Exception as error:
                if last or not isinstance(error, AWAY):
                    raise _translated(error) from error
        raise AssertionError("unreachable")

    async def _write_group(self, units: Sequence[Unit[Any]]) -> list[object]:
        """One transaction for all. If anything in it fails, roll all of it back and run each unit once, alone.

        Alone a unit takes its locks in the one order; a group takes them unit by unit, so two groups may deadlock.
        """
        try:
            return await self._transaction(units)
        except Exception as error:
            if isinstance(error, AWAY) or len(units) == 1:
                return [Failed(error)] * len(units)
        outcomes: list[object] = []
        while len(outcomes) < len(units):
            try:
                outcomes += await self._transaction([units[len(outcomes)]])
            except Exception as error:
                outcomes += [Failed(error)] * (len(units) - len(outcomes) if isinstance(error, AWAY) else 1)
        return outcomes

    async def _transaction(self, units: Sequence[Unit[Any]]) -> list[object]:
        async with self._writer.acquire(timeout=ANSWER_SECONDS) as link:
            transaction = link.transaction()
            await transaction.start()
            try:
                number = await link.fetchval("SELECT pg_current_xact_id()::text")
                connection = PostgresConnection(link)
                results: list[object] = [await unit(connection) for unit in units]
            except BaseException:
                if not link.is_closed():
                    await transaction.rollback()
                raise
            try:
                await transaction.commit()
                return results
            except AWAY as error:
                lost = error
        if await self._was_committed(number):
            return results
        raise lost

    async def _was_committed(self, number: str) -> bool:
        """What the lost answer to a COMMIT was. Raises CommitUnknown when the server never says."""
        give_up_at = asyncio.get_running_loop().time() + UNDECIDED_SECONDS
        while asyncio.get_running_loop().time() < give_up_at:
            try:
                async with self._writer.acquire(timeout=ANSWER_SECONDS) as link:
                    state = await link.fetchval("SELECT pg_xact_status($1::text::xid8)", number)
            except AWAY:
                state = "in progress"
            except (
                asyncpg.PostgresError
            ):  # a number it has not come to: another server, which lost our transaction or never had it
                break
            if state != "in progress":
                if state is None:
                    break
                return bool(state == "committed")
            await _pause()
        raise CommitUnknown("the server went away during a commit and does not say what became of it")


async def _pool(url: str, size: int) -> asyncpg.Pool[asyncpg.Record]:
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        reset=_as_it_is,
        timeout=CONNECT_SECONDS,
        command_timeout=ANSWER_SECONDS,
        server_settings={"application_name": "taskrelay"},
    )


async def _as_it_is(link: object) -> None:
    """Nothing to clean: a connection carries no state beyond its transaction. The pool's own way costs each use a round trip."""


async def _pause() -> None:
    await asyncio.sleep(PAUSE_SECONDS * (0.5 + random.random()))  # spreads replicas that met


def _passes(error: BaseException) -> bool:
    return isinstance(error, (*RACES, *SLOW, *AWAY)) and not isinstance(error, CommitUnknown)


def _translated(error: BaseException) -> BaseException:
    """A driver's exception in our words; everything else as it is."""
    told: StorageError
    match error:
        case asyncpg.UniqueViolationError():
            told = Duplicate(_columns(error))
        case asyncpg.ForeignKeyViolationError():
            told = Missing("the row refers to one that does not exist")
        case _ if isinstance(error, FULL):
            told = Full("the database server has no room")
        case _ if isinstance(error, (*RACES, *SLOW)):
            told = Busy(f"the database is busy: {error}")
        case asyncpg.PostgresError() if not isinstance(error, AWAY):
            told = StorageError(str(error))  # a statement or value of ours is wrong
        case _ if isinstance(error, AWAY):
            told = Unavailable(f"the database cannot be used just now: {error or type(error).__name__}")
        case _:
            return error
    told.__cause__ = error
    return told


def _columns(error: asyncpg.UniqueViolationError) -> str:
    """The columns as SQLite names them; the server's own language may be another, then the rule's name must do."""
    match = KEY.match(error.detail or "")
    if match is None:
        return f"{error.table_name}: {error.constraint_name}"
    return ", ".join(f"{error.table_name}.{column}" for column in match["columns"].split(", "))
