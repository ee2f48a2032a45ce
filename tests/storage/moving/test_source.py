from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage import files
from storage.errors import Busy, StorageError
from storage.moving import source as sources
from storage.moving.source import Source
from storage.moving.tables import Table
from tests.storage.moving.house import NOW, change, furnished


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return furnished(tmp_path / "t.db")


def table(source: Source, name: str) -> Table:
    [found] = [one for one in source.tables if one.name == name]
    return found


def test_a_file_that_is_served_is_refused(path: Path) -> None:
    lock = files.claim(str(path))
    try:
        with pytest.raises(StorageError, match=f"is served by process {os.getpid()}"), sources.opened(path, NOW):
            pass
    finally:
        os.close(lock)


def test_nobody_may_serve_or_write_while_it_is_read(path: Path) -> None:
    with sources.opened(path, NOW):
        with pytest.raises(StorageError, match="is served by process"):
            files.claim(str(path))
        with (
            closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("UPDATE installation SET touches = 1")
    os.close(files.claim(str(path)))
    change(path, "UPDATE installation SET touches = 1")


def test_a_file_that_somebody_writes_is_refused_as_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PATIENCE_SECONDS", 0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy, match="in use by another command"), sources.opened(path, NOW):
            pass


@pytest.mark.parametrize(
    ("text", "told"), [(None, "there is no database"), ("", "no database of taskrelay"), ("dear", "cannot be read")]
)
def test_what_is_no_database_of_ours_is_refused_and_left_as_it_is(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "other.db"
    if text is not None:
        path.write_text(text * 200)
    with pytest.raises(StorageError, match=told), sources.opened(path, NOW):
        pass
    assert (path.read_text() if path.exists() else None) == (None if text is None else text * 200)


def test_leaving_without_the_mark_leaves_the_file_as_it_was(path: Path) -> None:
    change(path, "UPDATE lanes SET owner = 'dead', until = 5")
    with sources.opened(path, NOW) as source:
        assert list(source.rows(table(source, "lanes")))
    assert change(path, "SELECT count(*) FROM lanes WHERE owner = 'dead'", "SELECT moved_at FROM installation") == [
        [(7,)],
        [(None,)],
    ]


def test_leases_of_the_dead_are_not_moved(path: Path) -> None:
    change(path, "UPDATE lanes SET owner = 'dead', until = 5")
    with sources.opened(path, NOW) as source:
        lanes = table(source, "lanes")
        owners = {row[lanes.columns.index("owner")] for row in source.rows(lanes)}
    assert owners == {None}


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_batches_hold_every_row_once_wherever_they_are_cut(
    path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(sources, "BATCH_ROWS", rows)
    with sources.opened(path, NOW) as source:
        for one in source.tables:
            batches = list(source.batches(one, after=None))
            assert [row for batch in batches for row in batch] == list(source.rows(one))
            assert all(len(batch) <= rows for batch in batches)
            for batch in batches:  # going on behind any batch gives the rest and nothing else
                after = one.key_of(batch[-1])
                rest = [row for later in source.batches(one, after=after) for row in later]
                assert [*source.rows(one, until=after), *rest] == list(source.rows(one))


def test_a_batch_is_cut_by_its_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_BYTES", 1)
    with sources.opened(path, NOW) as source:
        assert {len(batch) for batch in source.batches(table(source, "events"), after=None)} == {1}


def test_a_zero_byte_is_named_with_its_row_and_column(path: Path) -> None:
    with sources.opened(path, NOW) as source:
        source.refuse_zero_bytes()  # bytes may hold them: the house has some
    change(path, "UPDATE tasks SET reference = 'a' || char(0) || 'b' WHERE rowid = 1")
    [[(task_id,)]] = change(path, "SELECT id FROM tasks WHERE rowid = 1")
    with sources.opened(path, NOW) as source, pytest.raises(StorageError) as refused:
        source.refuse_zero_bytes()
    assert f"  tasks {task_id}: reference" in str(refused.value)
    _, advice = str(refused.value).split("for tasks and reference:\n")
    change(path, advice)
    assert change(path, "SELECT id, reference FROM tasks WHERE rowid = 1") == [[(task_id, "a")]]
    with sources.opened(path, NOW) as source:
        source.refuse_zero_bytes()


def test_many_zero_bytes_are_not_all_told(path: Path) -> None:
    change(path, "UPDATE tasks SET account = account || char(0), model = char(0), provider = char(0), input = char(0)")
    with sources.opened(path, NOW) as source, pytest.raises(StorageError, match=r"… and \d+ more"):
        source.refuse_zero_bytes()


def test_a_text_that_is_none_is_told_with_its_table(path: Path) -> None:
    change(path, "UPDATE audit SET detail = CAST(x'ff' AS TEXT)")
    with sources.opened(path, NOW) as source, pytest.raises(StorageError, match="a text in table audit is not UTF-8"):
        list(source.rows(table(source, "audit")))


def test_the_mark_stays_and_can_be_taken_back(path: Path) -> None:
    with sources.opened(path, NOW) as source:
        source.mark(NOW)
    with sources.opened(path, NOW + 1) as source:
        assert source.moved_at == NOW
        source.unmark()
    assert change(path, "SELECT moved_at, copied_at FROM installation") == [[(None, NOW)]]


def test_the_last_place_counts_also_when_its_event_is_gone(path: Path) -> None:
    change(path, "DELETE FROM events WHERE position > 2")
    with sources.opened(path, NOW) as source:
        assert source.last_position() == 7
