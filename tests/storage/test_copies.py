# ruff: noqa: ASYNC240  (a test alone waits for its files)
"""A copy is one instant of the database, whole, private and marked; one that is put in its place loses nothing that was there."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage import copies, files, restores, tasks
from storage.database import Database, open_database
from storage.errors import StorageError
from storage.inspection import inspect
from tests.storage.builders import NOW, finished, plant, task
from tests.storage.conftest import Clock, opened

AT = 1_790_000_000_000_000


def path_of(database: Database) -> Path:
    return Path(str(database.path))  # type: ignore[attr-defined]


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as raw:
        [(found,)] = raw.execute("SELECT count(*) FROM tasks").fetchall()
        return int(found)


async def furnished(database: Database) -> Path:
    await plant(database, task("task_1"), finished("task_2"))
    return path_of(database)


async def test_a_copy_of_an_open_database_holds_what_was_committed_and_says_when(
    embedded: Database, tmp_path: Path
) -> None:
    path, target = await furnished(embedded), tmp_path / "copy.db"
    seen: list[tuple[int, int]] = []
    made = copies.back_up(path, target, now=AT, progress=lambda done, pages: seen.append((done, pages)))
    assert (made.tasks, made.open_tasks, made.events, made.copied_at) == (2, 1, 0, AT)
    assert (count(target), target.stat().st_mode & 0o777, made.bytes) == (2, 0o600, target.stat().st_size)
    assert seen[-1][0] == seen[-1][1] > 0
    assert sorted(one.name for one in tmp_path.iterdir() if "copy" in one.name) == ["copy.db"]
    assert await embedded.read(restores.copied_at) is None  # the database itself is no copy


async def test_a_writer_that_goes_on_meanwhile_neither_waits_nor_shows_in_the_copy(
    embedded: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, target = await furnished(embedded), tmp_path / "copy.db"
    monkeypatch.setattr(copies, "PAGES", 1)

    def write_between(done: int, pages: int) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE tasks SET reference = :said WHERE id = 'task_1'", {"said": f"{done}"})

    copies.back_up(path, target, now=AT, progress=write_between)
    with closing(sqlite3.connect(target)) as raw:
        assert raw.execute("SELECT reference FROM tasks WHERE id = 'task_1'").fetchall() == [(None,)]


async def test_a_file_that_is_there_is_replaced_only_when_that_is_said(embedded: Database, tmp_path: Path) -> None:
    path, target = await furnished(embedded), tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(StorageError, match="--force"):
        copies.back_up(path, target, now=AT)
    assert target.read_text() == "precious"
    copies.back_up(path, target, now=AT, replace=True)
    assert count(target) == 2


@pytest.mark.parametrize("target", ["missing/copy.db", "t.db"])
async def test_a_target_that_cannot_be_one_is_refused(embedded: Database, tmp_path: Path, target: str) -> None:
    path = await furnished(embedded)
    with pytest.raises(StorageError):
        copies.back_up(path, tmp_path / target, now=AT, replace=True)
    assert count(path) == 2


def test_what_is_not_there_cannot_be_copied(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no database"):
        copies.back_up(tmp_path / "t.db", tmp_path / "copy.db", now=AT)
    assert list(tmp_path.iterdir()) == []


async def brought_back(tmp_path: Path, clock: Clock) -> tuple[Path, Path]:
    """A database with one task more than its copy, closed."""
    path, copy = tmp_path / "t.db", tmp_path / "copy.db"
    async with opened(f"sqlite:///{path}", clock) as database:
        await plant(database, task("task_1"))
        copies.back_up(path, copy, now=AT)
        await database.write(lambda tx: tasks.insert(tx, task("task_2")))
    return path, copy


async def test_a_copy_takes_the_databases_place_and_what_was_there_goes_aside(tmp_path: Path, clock: Clock) -> None:
    path, copy = await brought_back(tmp_path, clock)
    made = copies.restore(copy, path, now=NOW)
    assert made.aside is not None
    assert (count(path), count(made.aside), count(copy)) == (1, 2, 1)
    assert path.stat().st_mode & 0o777 == 0o600
    async with opened(f"sqlite:///{path}", clock) as database:
        assert await database.read(restores.copied_at) == AT


async def test_a_copy_of_a_copy_is_as_old_as_the_first(tmp_path: Path, clock: Clock) -> None:
    path, copy = await brought_back(tmp_path, clock)
    copies.restore(copy, path, now=NOW)
    assert copies.back_up(path, tmp_path / "again.db", now=NOW + 1).copied_at == AT  # nobody has served it since


async def test_a_copy_can_be_put_where_nothing_is_left(tmp_path: Path, clock: Clock) -> None:
    path, copy = await brought_back(tmp_path, clock)
    path.unlink()
    assert copies.restore(copy, path, now=NOW).aside is None
    assert count(path) == 1


async def test_nothing_is_put_in_the_place_of_a_database_that_is_served(tmp_path: Path, clock: Clock) -> None:
    path, copy = await brought_back(tmp_path, clock)
    lock = files.claim(str(path))
    try:
        with pytest.raises(StorageError, match=f"is served by process {os.getpid()}. Stop it first"):
            copies.restore(copy, path, now=NOW)
    finally:
        os.close(lock)
    assert count(path) == 2


async def test_nor_while_a_short_command_has_it_open(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PATIENCE_SECONDS", 0.05)
    path, copy = await brought_back(tmp_path, clock)
    async with opened(f"sqlite:///{path}", clock):
        with pytest.raises(StorageError, match="in use by another command"):
            copies.restore(copy, path, now=NOW)
    assert count(path) == 2


@pytest.mark.parametrize("damage", ["not a database", "cut", "a page overwritten", "another program's"])
async def test_what_is_no_sound_copy_is_refused_and_changes_nothing(tmp_path: Path, clock: Clock, damage: str) -> None:
    path, copy = await brought_back(tmp_path, clock)
    whole = copy.read_bytes()
    match damage:
        case "not a database":
            copy.write_text("hello " * 1000)
        case "cut":
            copy.write_bytes(whole[: len(whole) // 2])
        case "a page overwritten":
            copy.write_bytes(whole[:8192] + b"\xff" * 4096 * 8 + whole[8192 + 4096 * 8 :])
        case _:
            copy.unlink()
            with closing(sqlite3.connect(copy)) as raw:
                raw.execute("CREATE TABLE songs (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StorageError):
        copies.restore(copy, path, now=NOW)
    assert (count(path), path.read_bytes()) == (2, before)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def words_that_are_no_text(path: Path) -> None:
    """Damage that SQLite quotes when it refuses, and Python cannot decode then."""
    whole = path.read_bytes()
    assert b"CREATE TABLE tasks" in whole
    path.write_bytes(whole.replace(b"CREATE TABLE tasks", b"CREATE TA\xf1\xf1E tasks"))


async def test_whichever_page_of_a_database_is_damaged_a_copy_of_it_is_refused_or_made_and_nothing_is_left(
    tmp_path: Path, clock: Clock
) -> None:
    _, copy = await brought_back(tmp_path, clock)
    whole, refused = copy.read_bytes(), 0
    for at in range(0, len(whole), 3 * 4096):
        copy.write_bytes(whole[:at] + b"\x00\xa5\xff" * 1365 + b"\x00" + whole[at + 4096 :])
        try:
            copies.back_up(copy, tmp_path / "other.db", now=AT, replace=True)
        except StorageError:
            refused += 1
    assert refused > 20
    copy.write_bytes(whole)
    words_that_are_no_text(copy)
    with pytest.raises(StorageError, match="cannot be copied"):
        copies.back_up(copy, tmp_path / "other.db", now=AT, replace=True)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


async def test_a_copy_takes_the_place_of_a_database_whose_damage_is_no_text(tmp_path: Path, clock: Clock) -> None:
    path, copy = await brought_back(tmp_path, clock)
    words_that_are_no_text(path)
    with pytest.raises(StorageError, match="cannot be read"):
        await inspect(f"sqlite:///{path}", clock=clock)
    made = copies.restore(copy, path, now=NOW)
    assert made.aside is not None
    assert count(path) == 1


async def test_a_copy_of_a_newer_release_is_refused(tmp_path: Path, clock: Clock) -> None:
    path, copy = await brought_back(tmp_path, clock)
    with closing(sqlite3.connect(copy)) as raw, raw:
        raw.execute("INSERT INTO migrations VALUES (9999, 'later', 9999, 1)")
    with pytest.raises(StorageError, match="install the newer release"):
        copies.restore(copy, path, now=NOW)


async def test_a_second_restore_in_the_same_second_keeps_what_the_first_put_aside(tmp_path: Path, clock: Clock) -> None:
    path, copy = await brought_back(tmp_path, clock)
    first = copies.restore(copy, path, now=NOW)
    second = copies.restore(copy, path, now=NOW + 1)
    assert first.aside is not None and second.aside is not None
    assert (count(first.aside), count(second.aside)) == (2, 1)


async def test_a_damaged_database_goes_aside_with_its_log(tmp_path: Path, clock: Clock) -> None:
    path, copy = await brought_back(tmp_path, clock)
    path.write_bytes(b"\x00" * 8192)
    Path(f"{path}-wal").write_bytes(b"log")
    made = copies.restore(copy, path, now=NOW)
    assert made.aside is not None
    assert Path(f"{made.aside}-wal").read_bytes() == b"log"
    assert not Path(f"{path}-wal").exists()
    database = await open_database(f"sqlite:///{path}", clock=clock)
    await database.close()
    assert count(path) == 1
