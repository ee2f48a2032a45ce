"""Reads the schema back from a database, in one notation for both engines: what a migration really made."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import asyncpg

WORDS = {"INTEGER": "BIGINT", "BLOB": "BYTEA"}
LEDGER = "migrations"  # the migrator's own table: each engine has its form

COLUMNS = """
    SELECT table_name, column_name, upper(data_type), is_nullable FROM information_schema.columns
     WHERE table_schema = 'public' AND table_name <> $1
"""
PARENTS = """
    SELECT conrelid::regclass::text, c.attname, confrelid::regclass::text, p.attname
      FROM pg_constraint
      JOIN pg_attribute c ON c.attrelid = conrelid AND c.attnum = conkey[1]
      JOIN pg_attribute p ON p.attrelid = confrelid AND p.attnum = confkey[1]
     WHERE contype = 'f'
"""
INDEXES = """
    SELECT indrelid::regclass::text, (SELECT '' FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u')),
           indexrelid::regclass::text, indisunique, indpred IS NOT NULL,
           (SELECT string_agg(pg_get_indexdef(indexrelid, n, false), ', ' ORDER BY n) FROM generate_series(1, indnkeyatts) n)
      FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
     WHERE relnamespace = 'public'::regnamespace AND relname <> $1
"""


def expected() -> list[str]:
    """Kept by hand: a change of the schema is a change of this list."""
    return (Path(__file__).parent / "schema.txt").read_text(encoding="utf-8").splitlines()


def of_sqlite(raw: sqlite3.Connection) -> list[str]:
    """Lines as in schema.txt, sorted."""
    tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    lines = []
    for table in tables:
        if table in ("sqlite_sequence", LEDGER):
            continue
        columns = raw.execute('SELECT name, type, "notnull" OR pk FROM pragma_table_info(?)', (table,)).fetchall()
        lines += [line_of_column(table, name, WORDS.get(word, word), full) for name, word, full in columns]
        parents = raw.execute('SELECT "from", "table", "to" FROM pragma_foreign_key_list(?)', (table,))
        lines += [f"{table}.{column} -> {parent}.{target}" for column, parent, target in parents]
        indexes = raw.execute('SELECT name, "unique", partial FROM pragma_index_list(?)', (table,)).fetchall()
        for name, unique, partial in indexes:
            parts = ", ".join(part for (part,) in raw.execute("SELECT name FROM pragma_index_info(?)", (name,)))
            lines.append(line_of_index(table, "" if name.startswith("sqlite_") else name, parts, unique, partial))
    # The key of a table that numbers its own rows is not listed as an index.
    return sorted([*lines, "events unique (position)"])


async def of_postgres(connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """Lines as in schema.txt, sorted."""
    lines = [
        line_of_column(table, name, word, nullable == "NO")
        for table, name, word, nullable in await connection.fetch(COLUMNS, LEDGER)
    ]
    lines += [
        f"{table}.{column} -> {parent}.{target}" for table, column, parent, target in await connection.fetch(PARENTS)
    ]
    for table, unnamed, name, unique, partial, parts in await connection.fetch(INDEXES, LEDGER):
        name = name if unnamed is None else ""
        lines.append(line_of_index(table, name, parts.replace('"', ""), unique, partial))
    return sorted(lines)


def line_of_column(table: str, name: str, word: str, full: object) -> str:
    return f"{table}.{name} {word}{' NOT NULL' if full else ''}"


def line_of_index(table: str, name: str, columns: str, unique: object, partial: object) -> str:
    words = [table, "unique" if unique else "index", name, f"({columns})", "partial" if partial else ""]
    return " ".join(word for word in words if word)
