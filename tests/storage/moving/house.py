"""A furnished house: rows in every table, of every kind of value, read off the schema, so that none can be forgotten here either."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from storage import migrate

NOW = 1_790_000_000_000_000
TEXTS = ("", "plain", "Zürich", "ünï\u2028çødé 🎬", "a'b\"c\\d\ne\r\tf", "\x01\x7f\ufffd", "%s $1 :name", "NULL", "\\N")
NUMBERS = (0, 1, -1, 2**63 - 1, -(2**63), NOW)
BYTES = (b"", b"\x00", b"\x00\xff\xfe" * 7, b'{"a": 1}', bytes(range(256)))
PLACES = ("forgotten", "since_position")  # of the feed: new events come above them, so there must be an above

TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('migrations', 'installation', 'sqlite_sequence')"
PARENTS = 'SELECT "from", "table", "to" FROM pragma_foreign_key_list(?)'


def furnished(path: Path, rows: int = 7) -> Path:
    """An SQLite database that has so many rows in each table."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = OFF")
        migrate.migrate_sqlite(raw, NOW)
        raw.execute("BEGIN")
        chance, fresh = random.Random(7), count(1)
        for table in (name for (name,) in raw.execute(TABLES).fetchall()):
            while raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] < rows:  # noqa: S608 (of the schema)
                with suppress(sqlite3.IntegrityError):  # chance made a number twice where it may be once
                    _furnish(raw, table, chance, fresh)
        raw.execute(
            "UPDATE lanes SET owner = NULL, until = 0 WHERE owner IS NOT NULL"
        )  # as a process leaves them that has ended
        raw.execute("COMMIT")
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    return path


def _furnish(raw: sqlite3.Connection, table: str, chance: random.Random, fresh: count[int]) -> None:
    parents = {column: (parent, target) for column, parent, target in raw.execute(PARENTS, (table,))}
    row: dict[str, object] = {}
    for name, kind, full in raw.execute(
        'SELECT name, type, "notnull" OR pk FROM pragma_table_info(?)', (table,)
    ).fetchall():
        if name in parents:
            parent, target = parents[name]
            if not raw.execute(f"SELECT 1 FROM {parent}").fetchone():  # noqa: S608 (of the schema)
                _furnish(raw, parent, chance, fresh)
            row[name] = chance.choice(raw.execute(f"SELECT {target} FROM {parent}").fetchall())[0]  # noqa: S608
        elif (table, name) == ("events", "position"):
            row[name] = None  # numbered by the database
        elif name in PLACES:
            row[name] = next(fresh)
        elif not full and chance.random() < 0.4:
            row[name] = None
        else:
            row[name] = _value(kind, chance, next(fresh))
    names = ", ".join(row)
    text = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 (of the schema)
    raw.execute(text, list(row.values()))


def _value(kind: str, chance: random.Random, number: int) -> object:
    """Each with a number of its own in it: there are unique rules about."""
    if kind == "TEXT":
        return f"{chance.choice(TEXTS)}{number}"
    if kind == "BLOB":
        return chance.choice(BYTES) + str(number).encode()
    return chance.choice((*NUMBERS, number, -number))


def of_sqlite(path: Path) -> dict[str, Counter[tuple[object, ...]]]:
    """Every row of every table."""
    with closing(sqlite3.connect(path)) as raw:
        names = [*(name for (name,) in raw.execute(TABLES)), "installation"]
        return {name: Counter(raw.execute(f"SELECT * FROM {name}").fetchall()) for name in names}  # noqa: S608


async def of_postgres(url: str, like: Path) -> dict[str, Counter[tuple[object, ...]]]:
    """Every row of the same tables, with the columns in the same order."""
    link = await asyncpg.connect(url)
    try:
        await link.execute("SET statement_timeout = 0")
        found = {}
        with closing(sqlite3.connect(like)) as raw:
            for name in [*(name for (name,) in raw.execute(TABLES)), "installation"]:
                columns = ", ".join(
                    f'"{one}"' for (one,) in raw.execute("SELECT name FROM pragma_table_info(?)", (name,))
                )
                rows = await link.fetch(f"SELECT {columns} FROM {name}")  # noqa: S608 (of the schema)
                found[name] = Counter(tuple(row) for row in rows)
        return found
    finally:
        await link.close()


def change(path: Path, *texts: str) -> list[list[Any]]:
    """What somebody does to the file by hand."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        return [raw.execute(text).fetchall() for text in texts]
