"""The engines the storage suite runs on, and small builders of rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

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
