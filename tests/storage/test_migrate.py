from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from storage import migrate, projects
from storage.errors import StorageError
from tests.storage.builders import NOW
from tests.storage.children import child, heard, tell
from tests.storage.conftest import Clock, Opener, opened
from tests.storage.schemas import expected, of_sqlite


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "raw.db", isolation_level=None)) as connection:
        yield connection


def ledger(raw: sqlite3.Connection) -> list[tuple[int, str, int]]:
    return raw.execute("SELECT number, name, applied_at FROM migrations ORDER BY number").fetchall()


def test_an_empty_file_gets_the_whole_schema(raw: sqlite3.Connection) -> None:
    migrate.migrate_sqlite(raw, NOW)
    assert of_sqlite(raw) == expected()


def test_every_migration_is_noted_with_its_time(raw: sqlite3.Connection) -> None:
    migrate.migrate_sqlite(raw, NOW)
    assert ledger(raw) == [(number, name, NOW) for number, name, _ in migrate.migrations()]


def test_every_table_refuses_values_of_another_type(raw: sqlite3.Connection) -> None:
    migrate.migrate_sqlite(raw, NOW)
    loose = raw.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict"
    )
    assert loose.fetchall() == []
    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT value in INTEGER column"):
        raw.execute("INSERT INTO lanes (kind, key, epoch, until) VALUES ('account', 'a', 'zz', 0)")


def test_a_second_run_changes_nothing(raw: sqlite3.Connection) -> None:
    migrate.migrate_sqlite(raw, NOW)
    before = list(raw.iterdump())
    migrate.migrate_sqlite(raw, NOW + 1)
    assert list(raw.iterdump()) == before


def test_numbers_run_from_one_without_a_gap() -> None:
    assert [number for number, _, _ in migrate.migrations()] == list(range(1, len(migrate.migrations()) + 1))


def test_a_newer_schema_is_refused_and_left_alone(raw: sqlite3.Connection) -> None:
    migrate.migrate_sqlite(raw, NOW)
    raw.execute("INSERT INTO migrations (number, name, oldest, applied_at) VALUES (9999, 'later', 9999, 1)")
    before = list(raw.iterdump())
    with pytest.raises(StorageError, match=r"schema 9999.*install the newer release"):
        migrate.migrate_sqlite(raw, NOW)
    assert list(raw.iterdump()) == before
    assert not raw.in_transaction


@pytest.mark.parametrize(("oldest", "stays"), [(0, True), (1, False)])
def test_code_stays_beside_a_newer_schema_that_lets_it(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, oldest: int, stays: bool
) -> None:
    known = migrate.migrations()
    number = known[-1][0] + 1
    added = (number, "added", f"-- oldest code: {known[-1][0] + oldest}\nCREATE TABLE added (\n    a BIGINT\n);\n")
    monkeypatch.setattr(migrate, "migrations", lambda: [*known, added])
    migrate.migrate_sqlite(raw, NOW)
    monkeypatch.setattr(migrate, "migrations", lambda: known)
    if stays:
        migrate.migrate_sqlite(raw, NOW + 1)
        return
    with pytest.raises(StorageError, match=rf"schema {number}, this taskrelay knows {number - 1}"):
        migrate.migrate_sqlite(raw, NOW + 1)


def test_a_migration_that_says_nothing_of_older_code_lets_none_stay() -> None:
    assert migrate.oldest_code(7, "CREATE TABLE a (\n    b BIGINT\n);\n") == 7
    assert migrate.oldest_code(7, "-- Expands.\n-- oldest code: 6, which leaves b NULL\nALTER …") == 6


def test_every_migration_says_which_code_may_stay_and_none_names_a_later_one() -> None:
    said = {name: (number, migrate.OLDEST.search(text)) for number, name, text in migrate.migrations()[1:]}
    assert [name for name, (_, oldest) in said.items() if oldest is None] == []
    assert all(migrate.oldest_code(number, text) <= number for number, _, text in migrate.migrations())


async def test_a_newer_schema_is_refused_at_the_door(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    async with opened(url, clock):
        pass
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as raw:
        raw.execute("INSERT INTO migrations (number, name, oldest, applied_at) VALUES (9999, 'later', 9999, 1)")
    with pytest.raises(StorageError, match="install the newer release"):
        async with opened(url, clock):
            pass


def test_a_migration_that_breaks_leaves_nothing_of_itself(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = migrate.migrations()
    broken = (
        good[-1][0] + 1,
        "broken",
        "CREATE TABLE half (\n    a BIGINT\n);\nCREATE TABLE half (\n    a BIGINT\n);\n",
    )
    monkeypatch.setattr(migrate, "migrations", lambda: [*good, broken])
    with pytest.raises(sqlite3.OperationalError, match="half"):
        migrate.migrate_sqlite(raw, NOW)
    assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    monkeypatch.undo()
    migrate.migrate_sqlite(raw, NOW)
    assert of_sqlite(raw) == expected()


def test_a_migrator_keeps_others_out_before_it_looks(raw: sqlite3.Connection, tmp_path: Path) -> None:
    migrate.migrate_sqlite(raw, NOW)
    refused: list[str] = []

    def interfere(text: str) -> None:
        if text.startswith(migrate.APPLIED):
            try:
                second.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                refused.append(str(error))

    with closing(sqlite3.connect(tmp_path / "raw.db", isolation_level=None, timeout=0)) as second:
        raw.set_trace_callback(interfere)
        migrate.migrate_sqlite(raw, NOW)
    assert refused == ["database is locked"]


def test_a_later_release_applies_only_what_is_missing(raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.migrate_sqlite(raw, NOW)
    [installation] = raw.execute("SELECT id FROM installation").fetchall()
    known = migrate.migrations()
    added = (known[-1][0] + 1, "added", "CREATE TABLE added (\n    a BIGINT\n);\n")
    monkeypatch.setattr(migrate, "migrations", lambda: [*known, added])
    migrate.migrate_sqlite(raw, NOW + 5)
    assert ledger(raw)[-1] == (added[0], "added", NOW + 5)
    assert ledger(raw)[0][2] == NOW
    assert raw.execute("SELECT id FROM installation").fetchall() == [installation]


def test_a_file_is_cut_at_the_ends_of_its_statements() -> None:
    text = "-- a remark; with a semicolon\nCREATE TABLE a (\n    b TEXT -- c; d\n);\nCREATE INDEX e ON a (b);\n"
    assert migrate.statements(text) == [
        "-- a remark; with a semicolon\nCREATE TABLE a (\n    b TEXT -- c; d\n)\n;",
        "CREATE INDEX e ON a (b)\n;",
    ]


async def test_the_installation_keeps_its_id_and_another_has_another(
    opener: Opener, tmp_path: Path, clock: Clock
) -> None:
    first = await opener()
    name = await first.read(projects.installation)
    await first.close()
    assert await (await opener()).read(projects.installation) == name
    async with opened(f"sqlite:///{tmp_path}/elsewhere.db", clock) as elsewhere:
        assert await elsewhere.read(projects.installation) != name


async def test_handles_that_open_an_empty_database_at_once_all_succeed(opener: Opener) -> None:
    handles = await asyncio.gather(*(opener() for _ in range(6)))
    assert len({await handle.read(projects.installation) for handle in handles}) == 1


FILES = 20
OPEN_WHEN_TOLD = """
for number in range(int(sys.argv[2])):
    hear()
    database = await open_database(f"sqlite:///{sys.argv[1]}/{number}.db", clock=lambda: 1)
    say(await database.read(projects.installation))
    await database.close()
"""


async def test_processes_that_open_an_empty_file_at_once_all_succeed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(child(OPEN_WHEN_TOLD, str(tmp_path), str(FILES))) for _ in range(2)]
        for number in range(FILES):
            for one in children:
                tell(one, "now")
            assert len({await asyncio.to_thread(heard, one) for one in children}) == 1
            with closing(sqlite3.connect(tmp_path / f"{number}.db")) as raw:
                assert of_sqlite(raw) == expected()


def test_what_is_still_to_be_applied_is_told_without_touching_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    assert migrate.behind(str(file)) == [] and not file.exists()
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY)")
        raw.commit()
    assert migrate.behind(str(file)) == [name for _, name, _ in migrate.migrations()]
    file.write_text("dear database")
    assert migrate.behind(str(file)) == []
