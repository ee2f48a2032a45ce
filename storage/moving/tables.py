"""Moving house: which tables there are, in which order they can be filled, and the checksum that tells two copies of one apart.

All of it is read off the source's own schema, so a table that a later release adds is moved without anybody remembering it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from graphlib import TopologicalSorter
from typing import TypeAlias

from storage.records import light

Values: TypeAlias = tuple[object, ...]

NAMES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> 'migrations'"
COLUMNS = "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid"
PARENTS = 'SELECT DISTINCT "table" FROM pragma_foreign_key_list(?)'
MODULUS = 1 << 256


@light(frozen=True, slots=True, kw_only=True)
class Table:
    """`key`: its primary key, by which it is read a part at a time. `texts`: the columns that PostgreSQL holds no zero byte in."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    texts: tuple[str, ...]
    parents: tuple[str, ...]

    def key_of(self, row: Values) -> Values:
        return tuple(row[self.columns.index(name)] for name in self.key)


class Checksum:
    """Of a set of rows, in whatever order they come: the sum of their SHA-256. The engines sort texts differently."""

    def __init__(self, rows: int = 0, digest: str = "0") -> None:
        self.rows = rows
        self._sum = int(digest, 16)

    def add(self, row: Values) -> None:
        # Numbers, texts, bytes and nothing are the only values, and a row of them is written in one way alone.
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(repr(row).encode()).digest())) % MODULUS
        self.rows += 1

    @property
    def digest(self) -> str:
        return f"{self._sum:064x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checksum) and (self.rows, self._sum) == (other.rows, other._sum)

    __hash__ = None  # type: ignore[assignment]  # it changes


def read_tables(raw: sqlite3.Connection) -> list[Table]:
    """Every table but the migrator's, those that others refer to before the others."""
    found = {name: _table(raw, name) for (name,) in raw.execute(NAMES).fetchall()}
    order = TopologicalSorter({name: table.parents for name, table in sorted(found.items())})
    return [found[name] for name in order.static_order()]


def _table(raw: sqlite3.Connection, name: str) -> Table:
    columns = raw.execute(COLUMNS, (name,)).fetchall()
    return Table(
        name=name,
        columns=tuple(column for column, _, _ in columns),
        key=tuple(column for column, _, _ in sorted((one for one in columns if one[2]), key=lambda one: one[2])),
        texts=tuple(column for column, kind, _ in columns if kind == "TEXT"),
        parents=tuple(parent for (parent,) in raw.execute(PARENTS, (name,)) if parent != name),
    )


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def weight(row: Sequence[object]) -> int:
    """About how many bytes it takes in memory."""
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
