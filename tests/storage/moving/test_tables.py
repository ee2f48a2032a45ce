from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from storage import migrate
from storage.moving.tables import Checksum, read_tables
from tests.storage.moving.house import NOW
from tests.storage.schemas import expected


@pytest.fixture
def raw() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        migrate.migrate_sqlite(opened, NOW)
        yield opened


def checksum(*rows: tuple[object, ...]) -> Checksum:
    found = Checksum()
    for row in rows:
        found.add(row)
    return found


def test_every_table_and_column_of_the_schema_is_moved(raw: sqlite3.Connection) -> None:
    columns = {line.split(" ")[0] for line in expected() if "." in line.split(" ")[0] and " -> " not in line}
    assert {f"{table.name}.{column}" for table in read_tables(raw) for column in table.columns} == columns


def test_a_table_that_is_added_later_is_moved_without_a_word(raw: sqlite3.Connection) -> None:
    raw.execute("CREATE TABLE zz_later (b TEXT, c BLOB, a INTEGER, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID")
    [later] = [table for table in read_tables(raw) if table.name == "zz_later"]
    assert (later.columns, later.key, later.texts) == (("b", "c", "a"), ("a", "b"), ("b",))
    assert later.key_of(("b", b"c", 1)) == (1, "b")


def test_every_table_has_a_key_to_go_on_from(raw: sqlite3.Connection) -> None:
    assert [table.name for table in read_tables(raw) if not table.key] == []


def test_what_is_referred_to_comes_before_what_refers_to_it(raw: sqlite3.Connection) -> None:
    order = [table.name for table in read_tables(raw)]
    late = [(table.name, parent) for table in read_tables(raw) for parent in table.parents
            if order.index(parent) > order.index(table.name)]  # fmt: skip
    assert late == []
    assert any(table.parents for table in read_tables(raw))


def test_a_checksum_is_the_same_in_any_order() -> None:
    assert checksum((1, "a"), (2, "b")) == checksum((2, "b"), (1, "a"))


@pytest.mark.parametrize(
    "other",
    [
        [(1, "a")],
        [(1, "a"), (1, "a"), (2, "b")],
        [(1, "a"), (2, "c")],
        [(1, "a"), ("2", "b")],
        [(1, "a"), (2, b"b")],
        [(1, "a"), (2, None)],
        [(1, "b"), (2, "a")],
        [(1, "a", None), (2, "b", None)],
    ],
)
def test_a_checksum_tells_any_difference(other: list[tuple[object, ...]]) -> None:
    assert checksum(*other) != checksum((1, "a"), (2, "b"))


def test_a_checksum_goes_on_from_what_was_noted() -> None:
    first = checksum((1, "a"))
    second = Checksum(first.rows, first.digest)
    second.add((2, "b"))
    assert (second, second.rows) == (checksum((1, "a"), (2, "b")), 2)
