"""Bring a database to the schema this code expects: numbered files, forward only, each in a transaction of its own.

A schema newer than the code is refused politely, unless the migrations that made it newer let this code stay: replicas of two releases
serve side by side while one follows the other. `-- oldest code: 3` in a migration says that who knows schema 3 may work after it.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from storage import positions
from storage.dialect import postgres, sqlite_schema
from storage.errors import StorageError

if TYPE_CHECKING:
    import asyncpg

    Link: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

LEDGER = """
    CREATE TABLE IF NOT EXISTS migrations (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, oldest INTEGER NOT NULL, applied_at INTEGER NOT NULL
    ) STRICT
"""
APPLIED = "SELECT number, oldest FROM migrations"
MADE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
OLDEST = re.compile(r"^-- oldest code: (\d+)\b", re.MULTILINE)


def migrations() -> list[tuple[int, str, str]]:
    """(number, name, text) of every migration in this release, ascending."""
    folder = resources.files("storage") / "migrations"
    found = [(entry.name, entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [(int(name[:4]), name.removesuffix(".sql"), text) for name, text in sorted(found)]


def tables() -> list[str]:
    """Every table of ours, ascending: a database may hold other things beside."""
    made = (name for _, _, text in migrations() for name in MADE.findall(text))
    return sorted({"migrations", *made})


def oldest_code(number: int, text: str) -> int:
    """The oldest schema whose code may still work once this migration is applied; without a word of it, the migration's own."""
    said = OLDEST.search(text)
    return int(said[1]) if said is not None else number


def statements(text: str) -> list[str]:
    """The statements of a migration file; each ends with `;` at the end of a line."""
    parts = [part.strip() for part in (text + "\n").split(";\n")]
    return [f"{part}\n;" if part.endswith(")") else part for part in parts if part]


def behind(path: str) -> list[str]:
    """What this release would still apply to the SQLite file. Only looks; of a file that cannot be read nothing is said."""
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as raw:
            done = {number for (number,) in raw.execute("SELECT number FROM migrations")}
    except (sqlite3.Error, ValueError):  # SQLite's words on a damaged one may be no text
        return []
    return [name for number, name, _ in migrations() if number not in done]


def migrate_sqlite(raw: sqlite3.Connection, now: int) -> None:
    """Apply what is missing. One process at a time: BEGIN IMMEDIATE waits for another migrator."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        raw.execute(LEDGER)
        done: dict[int, int] = dict(raw.execute(APPLIED).fetchall())
        refuse_newer(done)
        for number, name, text in migrations():
            if number in done:
                continue
            for statement in statements(sqlite_schema(text)):
                raw.execute(statement)
            note = (number, name, oldest_code(number, text), now)
            raw.execute("INSERT INTO migrations (number, name, oldest, applied_at) VALUES (?, ?, ?, ?)", note)
        raw.execute(
            "INSERT INTO installation (id, created_at) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM installation)",
            (secrets.token_hex(16), now),
        )
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise


def refuse_newer(done: Mapping[int, int]) -> None:
    """`done`: the migrations of a database, each with the oldest code that may work after it."""
    known = max(number for number, _, _ in migrations())
    if any(oldest > known for oldest in done.values()):
        raise StorageError(
            f"the database has schema {max(done)}, this taskrelay knows {known}: install the newer release again"
        )


POSTGRES_LEDGER = """
    CREATE TABLE IF NOT EXISTS migrations (
        number BIGINT PRIMARY KEY, name TEXT NOT NULL, oldest BIGINT NOT NULL, applied_at BIGINT NOT NULL
    )
"""
POSTGRES_NOTE = """
    INSERT INTO migrations (number, name, oldest, applied_at) VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
"""
POSTGRES_INSTALL = """
    INSERT INTO installation (id, created_at)
    SELECT $1::text, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint WHERE NOT EXISTS (SELECT 1 FROM installation)
"""
ONE_MIGRATOR = "SELECT pg_advisory_xact_lock(hashtextextended('taskrelay migrate', 0))"  # ends with the transaction, however it ends

# All are 0, which is off, by default. They belong to the role in this database, so that they hold behind a pooler too.
TIMEOUTS = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "5s",  # below what a writer is patient for: a replica stopped in one costs nobody an error
    "client_connection_check_interval": "5s",
}
SET_TIMEOUT = """
    DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET {setting} = %L', current_database(), '{value}'); END $$
"""

HALF_MOVED = (
    "an SQLite database moves in here, and not all of it is here yet. Go on with the command of before: taskrelay db copy sqlite:///… "
    "(until it has ended the SQLite file is the one that serves; to stay with that, drop this PostgreSQL database)"
)


async def migrate_postgres(link: Link) -> list[str]:
    """Apply what is missing and set the time-outs of this role in this database. Returns the names of what was applied.

    One process at a time. Connections that are open keep the time-outs they began with.
    """
    applied = []
    async with link.transaction():
        await link.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '2s'")
        await link.execute(ONE_MIGRATOR)
        await _check_encoding(link)
        await link.execute(POSTGRES_LEDGER)
        done = await _applied(link)
        refuse_newer(done)
        await positions.prepare(link)
        for number, name, text in migrations():
            if number in done:
                continue
            for statement in statements(text):
                await link.execute(postgres(statement)[0])
            await link.execute(POSTGRES_NOTE, number, name, oldest_code(number, text))
            applied.append(name)
        await link.execute(POSTGRES_INSTALL, secrets.token_hex(16))
        await positions.go_on(link)
        for setting, value in TIMEOUTS.items():
            await link.execute(SET_TIMEOUT.format(setting=setting, value=value))
    return applied


async def _check_encoding(link: Link) -> None:
    """In another one what clients write is refused, and without one (SQL_ASCII) its characters are counted wrongly."""
    encoding = await link.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        name = await link.fetchval("SELECT current_database()")
        raise StorageError(
            f"the encoding of this database is {encoding}. Make it anew: createdb --encoding=UTF8 --template=template0 {name}"
        )


async def _applied(link: Link) -> dict[int, int]:
    return {row[0]: row[1] for row in await link.fetch(APPLIED)}


async def check_postgres(link: Link, *, moving_in: bool = False) -> None:
    """Raises StorageError unless the schema is this release's, commits are synced and no statement can hang for ever.

    Nor may it be half of what an SQLite file holds; `moving_in`: who asks is about to bring the rest (storage/moving).
    """
    ledger = await link.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
    done = await _applied(link) if ledger else {}
    refuse_newer(done)
    if missing := [name for number, name, _ in migrations() if number not in done]:
        raise StorageError(f"the schema lacks {', '.join(missing)}. Run: taskrelay db migrate")
    if not moving_in and await link.fetchval("SELECT to_regclass('moving') IS NOT NULL"):
        raise StorageError(HALF_MOVED)
    if not moving_in:
        await positions.check(link)
    commit = await link.fetchval("SHOW synchronous_commit")
    if commit not in ("on", "remote_apply"):
        raise StorageError(
            f"synchronous_commit is {commit}: what is acknowledged could be lost. Set it to on for this role"
        )
    if off := [name for name in TIMEOUTS if await link.fetchval(f"SHOW {name}") in ("0", "0ms")]:
        raise StorageError(f"{', '.join(off)} of this role is off. Run: taskrelay db migrate")
