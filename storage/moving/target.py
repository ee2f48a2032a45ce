"""Moving house, the new one: an empty PostgreSQL, filled a batch at a time, each with its place in one transaction.

While the ledger (`moving`, `moving_tables`) is there, the database is half a house, and no command opens it (storage/migrate.py).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from storage import connecting, migrate, positions
from storage.errors import StorageError, Unavailable
from storage.moving.tables import Checksum, Table, Values, quoted
from storage.records import light

if TYPE_CHECKING:
    Link: TypeAlias = asyncpg.Connection[asyncpg.Record]

CONNECT_SECONDS = 10.0
AHEAD = 64  # rows read at once: of the widest, 256 KiB each, 16 MB

COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
HOUSE = "SELECT id, moved_at FROM installation"
MAKE_LEDGER = """
    CREATE TABLE moving (source TEXT NOT NULL, verified BIGINT NOT NULL);
    CREATE TABLE moving_tables (name TEXT NOT NULL PRIMARY KEY, place TEXT, count BIGINT NOT NULL, digest TEXT NOT NULL)
"""
DROP_LEDGER = "DROP TABLE moving_tables, moving"
COMPANY = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'taskrelay%' AND application_name <> 'taskrelay db copy'
"""
ADVANCE = """
    UPDATE moving_tables SET place = $2, count = $3, digest = $4 WHERE name = $1 AND place IS NOT DISTINCT FROM $5 RETURNING 1
"""
GIVE_UP = "UPDATE installation SET moved_at = $1 WHERE id = $2 RETURNING 1"
POSITIONS = "SELECT feed_go_on($1)"


@light(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a table has come: the key of its last row, None before the first, and the checksum up to there."""

    key: Values | None
    rows: int
    digest: str

    @property
    def text(self) -> str | None:
        return None if self.key is None else json.dumps(self.key)

    @property
    def checksum(self) -> Checksum:
        return Checksum(self.rows, self.digest)


START = Place(key=None, rows=0, digest=Checksum().digest)


@light(frozen=True, slots=True, kw_only=True)
class Ledger:
    """`source`: the installation that moves in. `verified`: all of it is here and was compared."""

    source: str
    verified: bool
    places: dict[str, Place]


class Target:
    """One connection. What it is asked while the ledger is there may be broken off at any moment."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def house(self) -> tuple[str, int | None] | None:
        """The installation that it is, and when it was given up for another; None while one is only moving in."""
        row = await self._link.fetchrow(HOUSE)
        return (row[0], row[1]) if row is not None else None

    async def ledger(self) -> Ledger | None:
        if not await self._link.fetchval("SELECT to_regclass('moving') IS NOT NULL"):
            return None
        source, verified = await self._link.fetchrow("SELECT source, verified FROM moving")  # type: ignore[misc]
        places = {
            name: Place(key=None if place is None else tuple(json.loads(place)), rows=count, digest=digest)
            for name, place, count, digest in await self._link.fetch(
                "SELECT name, place, count, digest FROM moving_tables"
            )
        }
        return Ledger(source=source, verified=bool(verified), places=places)

    async def refuse_strange(self, tables: Sequence[Table]) -> None:
        """Whether everything that the source has fits in here."""
        there = {(table, column) for table, column in await self._link.fetch(COLUMNS)}
        lacking = [f"{t.name}.{column}" for t in tables for column in t.columns if (t.name, column) not in there]
        if lacking:
            raise StorageError(f"the PostgreSQL database lacks {', '.join(lacking)}: its schema is not this release's")

    async def refuse_company(self) -> None:
        if await self._link.fetchval(COMPANY):
            raise StorageError("another taskrelay uses the PostgreSQL database. Stop it, then run this again")

    async def taken(self, tables: Sequence[Table]) -> list[str]:
        """The tables that have rows, but for the installation's own, which every migrated database has."""
        return [
            table.name
            for table in tables
            if table.name != "installation"
            and await self._link.fetchval(f'SELECT EXISTS (SELECT 1 FROM "{table.name}")')  # noqa: S608 (of the schema)
        ]

    async def begin(self, source: str, tables: Sequence[Table]) -> None:
        """Make the ledger. From here on no command opens the database but this one."""
        async with self._changing():
            await self._link.execute(MAKE_LEDGER)
            await self._link.execute("INSERT INTO moving (source, verified) VALUES ($1, 0)", source)
            await self._start_over(tables)

    async def begin_anew(self, tables: Sequence[Table]) -> None:
        async with self._changing():
            await self._start_over(tables)

    async def _start_over(self, tables: Sequence[Table]) -> None:
        await self._link.execute("UPDATE moving SET verified = 0")
        await self._link.execute(f"TRUNCATE {quoted(table.name for table in tables)}, moving_tables")
        rows = [(table.name, START.text, START.rows, START.digest) for table in tables]
        await self._link.executemany(
            "INSERT INTO moving_tables (name, place, count, digest) VALUES ($1, $2, $3, $4)", rows
        )

    async def append(self, table: Table, rows: Sequence[Values], before: Place, after: Place) -> None:
        """The rows and their place together or not at all."""
        async with self._changing():
            await self._link.copy_records_to_table(table.name, records=rows, columns=table.columns)
            # Whoever else went on meanwhile has moved the place, and its rows are these.
            if not await self._link.fetch(ADVANCE, table.name, after.text, after.rows, after.digest, before.text):
                raise StorageError("another `taskrelay db copy` fills the same database. Let one of them end")

    async def checksum(self, table: Table) -> AsyncIterator[Checksum]:
        """Of all rows that are here, read as any program would read them; told after every part."""
        found = Checksum()
        text = f'SELECT {quoted(table.columns)} FROM "{table.name}"'  # noqa: S608 (names of the schema)
        async with self._changing():
            cursor = await self._link.cursor(text)
            while rows := await cursor.fetch(AHEAD):
                for row in rows:
                    found.add(tuple(row))
                yield found
        yield found

    async def settle(self, last_position: int) -> None:
        """What was compared is right: note it, and go on counting behind the last place of the feed."""
        async with self._changing():
            highest = max(last_position, await self._link.fetchval(positions.HIGHEST))
            await self._link.execute("SELECT feed_go_on($1)", highest)
            await self._link.execute("UPDATE moving SET verified = 1")

    async def finish(self) -> None:
        """It is a whole house: commands open it, and the planner knows how much there is."""
        async with self._changing():
            await self._link.execute(DROP_LEDGER)
            await self._link.execute("ANALYZE")

    async def give_up(self, source: str, now: int) -> bool:
        """It must not be served any more. Whether it is this house at all."""
        return bool(await self._link.fetch(GIVE_UP, now, source))

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """A transaction without the role's time-outs: they are for requests."""
        async with self._link.transaction():
            await self._link.execute(
                "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
            )
            yield


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Target]:
    """Raises StorageError with what to do; the URL, which may hold a password, is in no message."""
    try:
        link: Link = await connecting.connect(
            url,
            statement_cache_size=0,  # a pooler in transaction mode knows no statement of another connection
            server_settings={"application_name": "taskrelay db copy"},
        )
    except ValueError:
        raise StorageError(
            "the PostgreSQL database's URL cannot be read: postgresql://user:password@host/name"
        ) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise Unavailable(f"the PostgreSQL database cannot be reached: {error or type(error).__name__}") from error
    try:
        await migrate.check_postgres(link, moving_in=True)
        yield Target(link)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StorageError(f"{error}. Run it as the owner of the PostgreSQL database, who ran db migrate") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError, TimeoutError) as error:
        told = f"the PostgreSQL database failed: {error or type(error).__name__}. What was copied stays; run this again to go on"
        raise StorageError(told) from error
    finally:
        await link.close(timeout=CONNECT_SECONDS)
