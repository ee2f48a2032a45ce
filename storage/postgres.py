"""The engine for many replicas: PostgreSQL through asyncpg, writes in groups of one commit, reads on a small pool.

Reasons for its shape, measured on loopback: a transaction for each request 4.8 k/s, groups 16 k/s; so one connection of a replica
writes, and what arrives during its commit is the next group. Other replicas write at the same time: rows are locked in one order
(tasks by id, then lanes by key, which whole groups write last), whoever loses a race runs again, and what an answer to COMMIT would
have said is asked of the server by the transaction's number, never guessed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg

from storage import connecting, dialect, migrate
from storage.closing import to_its_end
from storage.database import EVERYTHING, Key, Params, Postgres, Unit
from storage.errors import CommitUnknown, Unavailable, Unreached
from storage.groups import Failed, Groups
from storage.postgres_errors import away, passes, silent, translated
from storage.reaching import refused

if TYPE_CHECKING:
    Link: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

log = logging.getLogger("taskrelay.database")

T = TypeVar("T")

READERS = 4
CLOSE_SECONDS = 5.0
ANSWER_SECONDS = 10.0  # for a server that says nothing at all; its own time-outs come first (migrate.py)
PATIENCE_SECONDS = 10.0  # how long trouble that passes is waited for: a fail-over, a deadlock, a lock
READ_PATIENCE_SECONDS = 2.0  # whoever reads has stored nothing yet, and may as well ask again
PAUSE_SECONDS = 0.05
UNDECIDED_SECONDS = 30.0  # how long a lost answer to COMMIT is asked after
STATEMENTS = 1024  # kept prepared on a connection: more than there are
FOR_GOOD = 2**31  # statements after which the driver renews a connection, which then prepares all its texts again
BROKEN_OUT = 8  # units of a group that fail one after another, before each of the others gets a transaction of its own

NUMBER = "SELECT pg_current_xact_id()::text"
NUMBERED = "\n RETURNING pg_current_xact_id()::text"
FATE = "SELECT pg_xact_status($1::text::xid8)"
# Whoever went on could buy again what was bought, and give out again places of the feed that were read.
OLDER = (
    "this database has lost what it had committed: it is an older copy, or a standby that was behind. Nothing is written to it. "
    "Stop every replica, say `taskrelay db restored --at <when it was taken>`, and start them again"
)


class PostgresConnection:
    """A unit's view of one connection inside a transaction."""

    def __init__(self, link: Link, options: Postgres) -> None:
        self._link = link
        self._skip_locked = options.skip_locked
        self._last: dict[Key, dict[str, Params]] = {}

    def _spelled(self, sql: str) -> tuple[str, tuple[str, ...]]:
        return dialect.postgres(sql, skip_locked=self._skip_locked)

    async def fetch(self, sql: str, params: Params | None = None, /) -> list[tuple[object, ...]]:
        text, names = self._spelled(sql)
        given = params or {}
        return [tuple(row) for row in await self._link.fetch(text, *[given[name] for name in names])]

    async def each(self, sql: str, rows: Sequence[Params], /) -> list[tuple[object, ...]]:
        if not rows:
            return []
        text, names = self._spelled(sql)
        return [tuple(row) for row in await self._link.fetchmany(text, [[row[name] for name in names] for row in rows])]

    async def many(self, sql: str, rows: Sequence[Params], /) -> None:
        if rows:
            text, names = self._spelled(sql)
            await self._link.executemany(text, [[row[name] for name in names] for row in rows])

    async def change(self, sql: str, rows: Sequence[Params], /) -> int:
        return len(await self.each(sql, rows))

    async def lastly(self, sql: str, rows: Mapping[Key, Params], merge: Callable[[Params, Params], Params], /) -> None:
        for key, row in rows.items():
            wanted = self._last.setdefault(key, {})
            wanted[sql] = merge(wanted[sql], row) if sql in wanted else row

    async def finish(self) -> tuple[str, bool]:
        """Run what is to be run last; returns the transaction's number, in the same round trip if there is one, and whether that wrote.

        A commit that wrote nothing is not synced, number or not: a crash of the server forgets it, and nothing is lost.
        """
        waiting = [(sql, row) for key in sorted(self._last) for sql, row in self._last[key].items()]
        found: list[tuple[object, ...]] = []
        for sql, run in groupby(waiting, key=lambda one: one[0]):
            found = await self.each(sql + NUMBERED, [row for _, row in run]) or found
        return str(found[0][0] if found else await self._link.fetchval(NUMBER)), bool(found)


class PostgresDatabase:
    """One database on a server. Made by `open`."""

    def __init__(self, url: str, writer: Link, readers: asyncpg.Pool[asyncpg.Record], options: Postgres) -> None:
        self._url = url
        self._link = writer  # of whatever group runs: there is one at a time
        self._readers = readers
        self._options = options
        self._groups = Groups(
            self._write_group, passes=passes, translate=translated, patience=PATIENCE_SECONDS, pause=_pause, apart=True
        )
        self._reads: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._committed = 0  # the number of our last transaction that is known to have been synced
        self._older = False

    @classmethod
    async def open(cls, url: str, options: Postgres = EVERYTHING) -> PostgresDatabase:
        """Raises `Unavailable` when nobody answers, `StorageError` when the schema or a setting is not what durability needs."""
        writer: Link | None = None
        try:
            writer = await connecting.connect(url, **_ways(options))
            # One transaction: a pooler may give each statement outside of one to another connection.
            async with writer.transaction(readonly=True):
                await migrate.check_postgres(writer)
            readers = await _readers(url, options)
        except BaseException as error:
            if writer is not None:
                writer.terminate()
            raise refused(error, url) or translated(error) from error
        return cls(url, writer, readers, options)

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
        while self._reads:
            await asyncio.wait(self._reads)
        for closing in (self._readers, self._link):
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await closing.close()
            except TimeoutError:  # a server that says nothing does not say goodbye either
                closing.terminate()

    async def _read(self, unit: Unit[T]) -> T:
        """Again for a while when the connection was lost: a pool finds out only by using one, and a restart takes a second."""
        give_up_at = asyncio.get_running_loop().time() + READ_PATIENCE_SECONDS
        while True:
            try:
                return await self._read_once(unit)
            except Exception as error:
                late = asyncio.get_running_loop().time() > give_up_at
                if late or not away(error) or silent(error):
                    raise translated(error) from error
            await _pause()

    async def _read_once(self, unit: Unit[T]) -> T:
        async with self._readers.acquire(timeout=ANSWER_SECONDS) as link:
            transaction = link.transaction(isolation="repeatable_read", readonly=True)
            try:
                await transaction.start()
                result = await unit(PostgresConnection(link, self._options))
                await transaction.commit()
                return result
            except BaseException as error:
                await _undo(link, transaction, error)
                raise

    async def _write_group(self, units: Sequence[Unit[Any]]) -> list[object]:
        """One transaction for all; when a unit fails, again without it, and that one alone: so it costs the others little."""
        outcomes: dict[int, object] = {}
        together, alone = list(range(len(units))), list[int]()
        while together:
            results: list[object] = []
            try:
                await self._transaction([units[n] for n in together], results)
                outcomes |= dict(zip(together, results, strict=True))
                break
            except Exception as error:
                # When none of them failed but what they do together, each may be the cause.
                first, unreached = len(results), isinstance(error, Unreached)
                whole = unreached or away(error) or first == len(together)
                broken = together if whole else together[first : first + 1]
                if passes(error) or unreached or len(units) == 1:
                    outcomes |= dict.fromkeys(broken, Failed(error))
                else:
                    alone += broken if len(alone) < BROKEN_OUT else together
                together = [n for n in together if n not in outcomes and n not in alone]
        for n in alone:
            outcomes[n] = await self._alone(units[n])
        return [outcomes[n] for n in range(len(units))]

    async def _alone(self, unit: Unit[Any]) -> object:
        results: list[object] = []
        try:
            await self._transaction([unit], results)
        except Exception as error:
            return Failed(error)
        return results[0]

    async def _transaction(self, units: Sequence[Unit[Any]], results: list[object]) -> None:
        """Run the units, filling `results`: how many there are when this raises tells which unit it was."""
        link = await self._linked()
        transaction = link.transaction()
        connection = PostgresConnection(link, self._options)
        try:
            await transaction.start()
            for unit in units:
                results.append(await unit(connection))
            number, wrote = await connection.finish()
            if int(number) <= self._committed:  # a pooler shows us another server without a new connection
                raise self._refusal()
        except BaseException as error:
            await _undo(link, transaction, error)
            raise
        try:
            await transaction.commit()
        except Exception as error:
            if not away(error):
                raise
            link.terminate()
            if not await self._was_committed(number):
                raise
        if wrote:
            self._committed = int(number)

    async def _linked(self) -> Link:
        """The connection that writes, made anew when it was lost. Raises `Unreached`, also where it leads to an older copy."""
        if self._older:
            raise self._refusal()
        if self._link.is_closed():
            link = await connecting.reach(self._url, **_ways(self._options))
            if self._committed and not await _knows(link, str(self._committed)):
                link.terminate()
                raise self._refusal()
            self._link = link
        return self._link

    def _refusal(self) -> Unreached:
        """For good: by its numbers such a server cannot be told from the right one for long."""
        if not self._older:
            log.critical(OLDER)
        self._older = True
        return Unreached(OLDER)

    async def _was_committed(self, number: str) -> bool:
        """What the lost answer to a COMMIT was. Raises CommitUnknown when the server never says."""
        give_up_at = asyncio.get_running_loop().time() + UNDECIDED_SECONDS
        while asyncio.get_running_loop().time() < give_up_at:
            try:
                state = await self._fate(number)
            except Exception as error:
                if isinstance(error, (asyncpg.PostgresError, Unreached)) and not away(error):
                    break  # a number it has not come to: another server, which lost our transaction or never had it
                if not away(error):
                    raise
                state = "in progress"
            if state is None:
                break
            if state != "in progress":
                return state == "committed"
            await _pause()
        raise CommitUnknown("the server went away during a commit and does not say what became of it")

    async def _fate(self, number: str) -> str | None:
        link = await self._linked()
        transaction = link.transaction(readonly=True)
        try:
            await transaction.start()
            state: str | None = await link.fetchval(FATE, number)
            await transaction.commit()
            return state
        except BaseException as error:
            await _undo(link, transaction, error)
            raise


async def _knows(link: Link, number: str) -> bool:
    """Whether the server has a transaction of ours as committed, or is too far on to tell."""
    try:
        return await link.fetchval(FATE, number) in ("committed", None)
    except asyncpg.InvalidParameterValueError:  # a number it has not come to
        return False
    except BaseException:
        link.terminate()
        raise


async def _readers(url: str, options: Postgres) -> asyncpg.Pool[asyncpg.Record]:
    # Made when they are needed. With a least number, which the pool restores by itself (asyncpg 0.32), two runs of four in which the server
    # was restarted in a loop hung: the pool never gave its one connection out again. The writing one is in no pool.
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=READERS,
        max_queries=FOR_GOOD,
        reset=_as_it_is,
        connect=connecting.reach,
        **_ways(options),
    )


def _ways(options: Postgres) -> dict[str, Any]:
    return {
        "command_timeout": ANSWER_SECONDS,
        "statement_cache_size": STATEMENTS if options.prepared else 0,
        "server_settings": {"application_name": "taskrelay"},
    }


async def _as_it_is(link: object) -> None:
    """Nothing to clean: a connection carries no state beyond its transaction. The pool's own way costs each use a round trip."""


async def _undo(link: Link, transaction: asyncpg.transaction.Transaction, error: BaseException) -> None:
    """Roll back; a connection that does not answer is dropped, for it would be waited for as long again."""
    if not away(error) and isinstance(error, Exception) and not link.is_closed():
        try:
            await transaction.rollback()
            return
        except Exception:  # what went wrong first is what the caller hears
            pass
    link.terminate()


async def _pause() -> None:
    await asyncio.sleep(PAUSE_SECONDS * (0.5 + random.random()))  # spreads replicas that met
