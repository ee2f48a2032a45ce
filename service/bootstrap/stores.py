"""The database and the keys alone, for commands that do one thing and end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.bootstrap.keys import keyring_of, secret_file
from service.bootstrap.world import clock
from service.core.keys import Keyring
from service.pipeline.replay import Checked, check
from service.settings import Settings
from storage.database import Database, Postgres, open_database


def postgres_of(settings: Settings) -> Postgres:
    """What of PostgreSQL may be used."""
    return Postgres(notify=not settings.postgres.pooled, prepared=not settings.postgres.pooled)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[tuple[Database, Keyring]]:
    """The database and the keys alone: what short commands need."""
    shared = keyring_of(settings) if settings.secret_keys or secret_file(settings) is None else None
    database = await open_database(settings.database_url, clock=clock, postgres=postgres_of(settings))
    try:
        yield database, shared or keyring_of(settings)  # after the file: what cannot be opened leaves no key behind
    finally:
        await database.close()


def replay_of(database: Database) -> AsyncIterator[Checked]:
    """Replay every task of an open store and hold it against what is stored, a page at a time."""
    return check(database)
