"""The databases of this process on one PostgreSQL server, for suites that are written for either engine: see tests/engines.py.

A folder has one. Those of tests that are over are emptied and used again, which takes 10 ms where making one takes 130.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import asyncpg

from storage import migrate, positions
from tests import postgres
from tests.clocks import Clock

# The server's own clock_timestamp() stands behind this one, which shows what the test's clock shows.
CLOCK = """
    CREATE SCHEMA clock;
    CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT timestamptz 'epoch' + pg_read_file('{file}')::bigint * interval '1 microsecond' $$;
    ALTER DATABASE {name} SET search_path = public, clock, pg_catalog
"""
# Many small services, few rows: nothing to tidy up, and no transaction that is not a test's.
SETTINGS = "max_connections = 400\nautovacuum = off"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migrations' ORDER BY tablename"
TRIGGERS = "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
BEGIN_AGAIN = (
    "SELECT setval(format('%I.%I', schemaname, sequencename), 1, false) FROM pg_sequences WHERE schemaname = 'public'"
)

CANNOT = "The server must run on this machine and be asked by its superuser (TEST_POSTGRES_URL; unset it to have one of our own)"


class Face:
    """A file that holds the time a clock shows, for a server on this machine to read."""

    def __init__(self) -> None:
        folder = Path(mkdtemp(prefix="taskrelay-clock-"))
        folder.chmod(0o755)  # as root, the server runs as somebody else
        self.file = folder / "now"
        self._open = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644)

    def show(self, now: int) -> None:
        os.pwrite(self._open, b"%020d" % now, 0)

    def close(self) -> None:
        os.close(self._open)
        self.file.unlink()
        self.file.parent.rmdir()


class Databases:
    """Those of this process, on one server that lives as long."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._face = Face()
        self._made = 0
        self._tables: frozenset[str] = frozenset()
        self._of: dict[Path, tuple[str, bool]] = {}
        self._free: list[tuple[str, bool]] = []

    async def address(self, folder: Path, clock: Callable[[], int] | None) -> str:
        if clock is not None:
            self._face.show(clock())
        if isinstance(clock, Clock):
            clock.watch(self._face.show)
        if folder not in self._of:
            self._of[folder] = await self._take(clock is not None)
        return postgres.address(self._server, self._of[folder][0])

    def release(self) -> None:
        self._free += self._of.values()
        self._of.clear()

    async def _take(self, clocked: bool) -> tuple[str, bool]:
        found = next((one for one in self._free if one[1] is clocked), None)
        if found is None:
            return await self._make(clocked), clocked
        self._free.remove(found)
        await empty(postgres.address(self._server, found[0]), self._tables)
        return found

    async def _make(self, clocked: bool) -> str:
        self._made += 1
        name = f"taskrelay_{os.getpid()}_{self._made}"
        first = CLOCK.format(file=self._face.file, name=name) if clocked else ""
        try:
            self._tables = await tables(await postgres.database(self._server, name, first=first))
        except (asyncpg.UndefinedFileError, asyncpg.InsufficientPrivilegeError) as error:
            raise RuntimeError(f"{error}. {CANNOT}") from error
        return name

    def close(self) -> None:
        self._face.close()


async def tables(url: str) -> frozenset[str]:
    link = await asyncpg.connect(url)
    try:
        return frozenset(name for (name,) in await link.fetch(TABLES))
    finally:
        await link.close()


async def empty(url: str, ours: frozenset[str]) -> None:
    """As after the migration, with `ours` as its tables. By DELETE: of a few rows it takes 2 ms, and TRUNCATE 50."""
    link = await asyncpg.connect(url)
    try:
        await link.execute("SET session_replication_role = replica")  # rows go in any order
        for name, table in await link.fetch(TRIGGERS):
            await link.execute(f"DROP TRIGGER {name} ON {table}")
        for (table,) in await link.fetch(TABLES):
            away = f"DELETE FROM {table}" if table in ours else f"DROP TABLE {table}"  # noqa: S608 (names of ours)
            await link.execute(away)
        await link.execute(BEGIN_AGAIN)
        await link.execute(positions.BASE.replace("CREATE", "CREATE OR REPLACE"))
        await link.execute("RESET session_replication_role")
        await migrate.migrate_postgres(link)
    finally:
        await link.close()
