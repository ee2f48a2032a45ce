"""The database and the keys alone, for commands that do one thing and end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.bootstrap.keys import keyring_of, refuse_lost_keys, secret_file
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
    async with open_alone(settings) as database:
        yield database, shared or await _kept_beside(settings, database)


@asynccontextmanager
async def open_alone(settings: Settings) -> AsyncIterator[Database]:
    """The database for commands that neither read nor write what is sealed: no key is asked for, and none is made."""
    database = await open_database(settings.database_url, clock=clock, postgres=postgres_of(settings))
    try:
        yield database
    finally:
        await database.close()


async def _kept_beside(settings: Settings, database: Database) -> Keyring:
    """The keys of the file beside the database. It is made for one that holds nothing sealed: what is refused leaves none behind."""
    path = secret_file(settings)
    if path is not None and not path.exists():
        await refuse_lost_keys(database, (), missing=path)
    return keyring_of(settings)


def replay_of(database: Database) -> AsyncIterator[Checked]:
    """Replay every task of an open store and hold it against what is stored, a page at a time."""
    return check(database)
