"""Every statement as SQLite reads it."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

import pytest

from storage import migrate
from tests.storage import texts
from tests.storage.builders import NOW


@pytest.fixture(scope="module")
def raw() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate.migrate_sqlite(connection, NOW)
        yield connection


@pytest.mark.parametrize("text", texts.statements().values(), ids=texts.statements())
def test_a_statement_prepares_with_its_parameters(raw: sqlite3.Connection, text: str) -> None:
    assert raw.execute(f"EXPLAIN {text}", defaultdict(lambda: None)).fetchall()


def test_all_statements_are_found() -> None:
    found = {name.partition(".")[0] for name in texts.statements()}
    assert found >= {"tasks", "callbacks", "outbox", "endpoints", "lanes", "projects"}
    assert len(texts.statements()) >= 60
