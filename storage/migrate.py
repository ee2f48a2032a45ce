"""Bring a database to the schema this code expects: numbered files, forward only, each in a transaction of its own.

A schema newer than the code is refused politely: the newer release wrote rows that this one may not understand.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from storage.dialect import sqlite_schema
from storage.errors import StorageError

LEDGER = """
    CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT
"""


def migrations() -> list[tuple[int, str, str]]:
    """(number, name, text) of every migration in this release, ascending."""
    folder = resources.files("storage") / "migrations"
    found = [(entry.name, entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [(int(name[:4]), name.removesuffix(".sql"), text) for name, text in sorted(found)]


def statements(text: str) -> list[str]:
    """The statements of a migration file; each ends with `;` at the end of a line."""
    parts = [part.strip() for part in (text + "\n").split(";\n")]
    return [f"{part}\n;" if part.endswith(")") else part for part in parts if part]


def behind(path: str) -> list[str]:
    """What this release would still apply to the SQLite file. Only looks; of a file that cannot be read nothing is said."""
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as raw:
            done = {number for (number,) in raw.execute("SELECT number FROM migrations")}
    except sqlite3.Error:
        return []
    return [name for number, name, _ in migrations() if number not in done]


def migrate_sqlite(raw: sqlite3.Connection, now: int) -> None:
    """Apply what is missing. One process at a time: BEGIN IMMEDIATE waits for another migrator."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        raw.execute(LEDGER)
        done = {number for (number,) in raw.execute("SELECT number FROM migrations")}
        known = migrations()
        newer = done - {number for number, _, _ in known}
        if newer:
            raise StorageError(
                f"the database has schema {max(newer)}, this taskrelay knows {known[-1][0]}: install the newer release again"
            )
        for number, name, text in known:
            if number in done:
                continue
            for statement in statements(sqlite_schema(text)):
                raw.execute(statement)
            raw.execute("INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)", (number, name, now))
        raw.execute(
            "INSERT INTO installation (id, created_at) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM installation)",
            (secrets.token_hex(16), now),
        )
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise
