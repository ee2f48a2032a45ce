"""The engines the storage suite runs on. Rows to put into them come from builders.py and strategies.py."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from storage import migrate
from storage.database import EVERYTHING, Database, Postgres, open_database
from tests import databases, postgres
from tests.clocks import Clock as Clock

Opener = Callable[[], Awaitable[Database]]


@asynccontextmanager
async def opened(url: str, clock: Callable[[], int]) -> AsyncIterator[Database]:
    """Closed however the test ends: the driver's threads outlive a loop, and pytest would never end."""
    database = await open_database(url, clock=clock)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


# What PostgreSQL is used with. `plain` is behind a pooler, and shows that nothing but speed rests on the rest.
SPEEDS = {"postgres": EVERYTHING, "plain": Postgres(skip_locked=False, notify=False, prepared=False)}


@pytest.fixture(params=["sqlite", *(pytest.param(speed, marks=pytest.mark.slow) for speed in SPEEDS)])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of one fresh database of each engine."""
    if engine in SPEEDS:
        return asyncio.run(emptied(request.getfixturevalue("postgres_database")))
    return f"sqlite:///{tmp_path}/t.db"


@pytest.fixture
async def opener(url: str, engine: str, clock: Clock) -> AsyncIterator[Opener]:
    """Opens further handles on one fresh database; closes them all at the end, or a failing test would hang pytest."""
    opened: list[Database] = []

    async def open_one() -> Database:
        database = await open_database(url, clock=clock, postgres=SPEEDS.get(engine, EVERYTHING))
        opened.append(database)
        return database

    yield open_one
    for database in opened:
        await database.close()


@pytest.fixture
async def embedded(tmp_path: Path, clock: Clock) -> AsyncIterator[Database]:
    """A fresh database of the embedded engine."""
    async with opened(f"sqlite:///{tmp_path}/t.db", clock) as database:
        yield database


@pytest.fixture
async def sqlite_file(tmp_path: Path, clock: Clock) -> Path:
    """A fresh file of the embedded engine, for what only that one has: its plans."""
    async with opened(f"sqlite:///{tmp_path}/t.db", clock):
        return tmp_path / "t.db"


@pytest.fixture
async def database(opener: Opener) -> Database:
    return await opener()


@pytest.fixture
async def other_handle(opener: Opener, database: Database) -> Database:
    return await opener()


async def emptied(url: str) -> str:
    """The database without a row, as after its migration."""
    link = await asyncpg.connect(url)
    try:
        await link.execute("SET statement_timeout = 0; SET lock_timeout = 0; SET session_replication_role = replica")
        for (name,) in await link.fetch(databases.TABLES):
            await link.execute(f"DELETE FROM {name}")  # noqa: S608 (names of ours; TRUNCATE takes 50 ms, this takes 2)
        await link.execute(databases.BEGIN_AGAIN)
        await link.execute("RESET session_replication_role")
        await migrate.migrate_postgres(link)
    finally:
        await link.close()
    return url


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> str:
    """The URL of a migrated database of this session's own."""
    return asyncio.run(postgres.database(postgres_server, f"taskrelay_{os.getpid()}"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL."""
    with postgres.server(durable=False) as url:  # it is thrown away, and a shared disk makes each sync a second
        yield url
