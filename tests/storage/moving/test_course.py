"""From one engine to the other, whole: every row exactly, through any number of deaths, and never two houses that serve."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from storage import inspection, migrate
from storage.database import open_database
from storage.errors import StorageError
from storage.moving import course
from storage.moving.course import Moved
from tests.storage.children import ROOT
from tests.storage.conftest import Clock
from tests.storage.moving.house import NOW, change, furnished, of_postgres, of_sqlite

pytestmark = pytest.mark.slow

ROWS = 40
BATCH = 7
NEXT_POSITION = """
    INSERT INTO events (id, project_id, type, sequence, created_at, body, hard, test)
    VALUES ('evt_next', 'prj', 'task.succeeded', 1, 1, '', 0, 0) RETURNING position
"""

# Dies by SIGKILL at the given call of `told`, or at the first that speaks of the given word.
CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from storage.moving import course, source
path, url, when, source.BATCH_ROWS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
calls = 0
def told(what, rows):
    global calls
    calls += 1
    if str(calls) == when or what.startswith(when):
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(course.move(Path(path), url, now=1790000000000001, told=told))
"""
DEATHS = ("1", "2", "9", "30", "60", "61", "looking", "70", "comparing", "marking")

INSERT = "INSERT INTO projects (id, name, secret, on_ambiguous, created_at) VALUES"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return furnished(tmp_path / "t.db", rows=ROWS)


def nothing(what: str, rows: int) -> None:
    """Nobody watches."""


async def moved(path: Path, url: str, told: Callable[[str, int], None] = nothing) -> Moved:
    return await course.move(path, url, now=NOW, told=told)


def child(path: Path, url: str, when: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(path), url, when, str(BATCH)], cwd=ROOT, check=False
    ).returncode


async def opens(url: str, clock: Clock) -> bool:
    try:
        await (await open_database(url, clock=clock)).close()
    except StorageError as error:
        assert "moves in here" in str(error)
        return False
    return True


def marked(path: Path) -> bool:
    return change(path, "SELECT moved_at IS NOT NULL FROM installation") == [[(1,)]]


async def test_every_row_of_every_table_arrives_as_it_is(path: Path, new_house: str, clock: Clock) -> None:
    held = of_sqlite(path)
    made = await moved(path, new_house)
    assert await of_postgres(new_house, path) == held
    assert {name: rows for name, (rows, _) in made.tables.items()} == {
        name: rows.total() for name, rows in held.items()
    }
    assert all(rows >= ROWS for name, (rows, _) in made.tables.items() if name != "installation")
    assert (marked(path), await opens(new_house, clock)) == (True, True)


async def test_it_dies_at_any_moment_and_goes_on(path: Path, new_house: str, clock: Clock) -> None:
    held = of_sqlite(path)
    for when in DEATHS:
        assert child(path, new_house, when) == -signal.SIGKILL, when
        assert not await opens(new_house, clock)
        assert not marked(path)
    assert child(path, new_house, "opening") == -signal.SIGKILL
    assert (marked(path), await opens(new_house, clock)) == (True, False)  # for this moment neither serves
    assert (await inspection.inspect(new_house, clock=clock)).moving == migrate.HALF_MOVED
    assert (await inspection.inspect(f"sqlite:///{path}", clock=clock)).moving == inspection.MOVED
    assert child(path, new_house, "never") == 0
    assert (marked(path), await opens(new_house, clock)) == (True, True)
    there = await of_postgres(new_house, path)
    there["installation"] = held["installation"]  # the file's own now has the mark
    assert there == held
    assert child(path, new_house, "never") == 0  # once more is no fault


async def test_a_file_that_was_served_between_two_runs_is_copied_anew(path: Path, new_house: str) -> None:
    assert child(path, new_house, "comparing") == -signal.SIGKILL
    change(
        path,
        "UPDATE tasks SET progress = 77 WHERE rowid = 5",
        "DELETE FROM attempts WHERE number = (SELECT min(number) FROM attempts)",
    )
    held = of_sqlite(path)
    made = await moved(path, new_house)
    assert (made.started_over, made.resumed) == (True, 0)
    assert await of_postgres(new_house, path) == held


async def test_rows_that_came_between_two_runs_are_moved_too(path: Path, new_house: str) -> None:
    assert child(path, new_house, "comparing") == -signal.SIGKILL
    change(path, f"{INSERT} ('\U0010ffff', 'new', 's', 'hold', 1)")
    held = of_sqlite(path)
    made = await moved(path, new_house)
    assert not made.started_over and made.resumed > ROWS
    assert await of_postgres(new_house, path) == held


FAR = 2**50  # beyond what the transactions of a young server come to


@pytest.mark.parametrize(("last", "kept"), [(ROWS, ROWS), (FAR, FAR), (FAR, 3)])
async def test_new_events_come_behind_the_last_place_that_was_ever_given(
    path: Path, new_house: str, clock: Clock, last: int, kept: int
) -> None:
    if last == FAR:
        change(path, "UPDATE events SET position = 1125899906842624 WHERE position = 40")
        change(path, "UPDATE sqlite_sequence SET seq = 1125899906842624")
    if kept == 3:
        change(path, "DELETE FROM events WHERE position > 3")
    made = await moved(path, new_house)
    assert await opens(new_house, clock)
    link = await asyncpg.connect(new_house)
    try:
        assert made.last_position == last
        assert await link.fetchval(NEXT_POSITION) > last
    finally:
        await link.close()


async def test_a_house_that_somebody_lives_in_is_refused_and_left_alone(
    path: Path, new_house: str, clock: Clock
) -> None:
    link = await asyncpg.connect(new_house)
    await link.execute(f"{INSERT} ('prj', 'theirs', 's', 'hold', 1)")
    await link.close()
    before = await of_postgres(new_house, path)
    with pytest.raises(StorageError, match="not empty: there are rows in projects"):
        await moved(path, new_house)
    assert await of_postgres(new_house, path) == before
    assert (marked(path), await opens(new_house, clock)) == (False, True)


async def test_a_house_that_another_taskrelay_has_open_is_refused(path: Path, new_house: str, clock: Clock) -> None:
    other = await open_database(new_house, clock=clock)
    try:
        with pytest.raises(StorageError, match="another taskrelay uses"):
            await moved(path, new_house)
    finally:
        await other.close()
    await moved(path, new_house)


async def test_two_files_do_not_move_into_one_house(path: Path, new_house: str, tmp_path: Path) -> None:
    assert child(path, new_house, "30") == -signal.SIGKILL
    with pytest.raises(StorageError, match="another SQLite database is moving"):
        await moved(furnished(tmp_path / "other.db", rows=1), new_house)
    await moved(path, new_house)
    with pytest.raises(StorageError, match="not empty"):
        await moved(furnished(tmp_path / "third.db", rows=1), new_house)


async def test_a_file_that_has_moved_does_not_move_again(path: Path, new_house: str, postgres_server: str) -> None:
    await moved(path, new_house)
    change(path, "UPDATE installation SET id = 'another'")
    with pytest.raises(StorageError, match="has moved already, and not to this"):
        await moved(path, new_house)


async def test_zero_bytes_are_found_before_anything_is_copied(path: Path, new_house: str, clock: Clock) -> None:
    change(path, "UPDATE timeline SET detail = 'a' || char(0)")
    with pytest.raises(StorageError, match="zero byte"):
        await moved(path, new_house)
    assert await opens(new_house, clock)


async def test_a_single_altered_value_keeps_both_from_their_marks(path: Path, new_house: str, clock: Clock) -> None:
    async def spoil() -> None:
        link = await asyncpg.connect(new_house)
        await link.execute("UPDATE attempts SET duration_ms = coalesce(duration_ms, 0) / 2 + 1 WHERE ctid = '(0,3)'")
        await link.close()

    spoilt = list[bool]()

    def told(what: str, rows: int) -> None:
        if what.startswith("comparing") and not spoilt:
            spoilt.append(True)
            beside = threading.Thread(target=lambda: asyncio.run(spoil()))
            beside.start()
            beside.join()

    with pytest.raises(StorageError, match="table attempts differs"):
        await moved(path, new_house, told)
    assert (marked(path), await opens(new_house, clock)) == (False, False)


async def test_coming_back_closes_the_one_before_it_opens_the_other(path: Path, new_house: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="has not moved"):
        await course.undo(path, new_house, now=NOW)
    await moved(path, new_house)
    other = await asyncpg.connect(new_house)
    try:
        await course.undo(path, new_house, now=NOW + 9)
        assert await other.fetchval("SELECT moved_at FROM installation") == NOW + 9
        assert (await inspection.inspect(new_house, clock=lambda: NOW)).moving == inspection.MOVED
        assert (await inspection.inspect(f"sqlite:///{path}", clock=lambda: NOW)).moving is None
    finally:
        await other.close()
    assert change(path, "SELECT moved_at, copied_at FROM installation") == [[(None, NOW)]]  # the drill comes first
    with pytest.raises(StorageError, match="was given up"):
        await moved(path, new_house)


async def test_coming_back_from_a_house_that_is_another_is_refused(path: Path, new_house: str, tmp_path: Path) -> None:
    await moved(path, new_house)
    other = furnished(tmp_path / "other.db", rows=1)
    change(other, "UPDATE installation SET moved_at = 5")
    with pytest.raises(StorageError, match="is not the one that this file has moved to"):
        await course.undo(other, new_house, now=NOW)
    assert marked(other)
    await course.undo(other, None, now=NOW)
    assert not marked(other)


LARGE = """
import asyncio, resource, sys
from pathlib import Path
from storage.moving import course
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
asyncio.run(course.move(Path(sys.argv[1]), sys.argv[2], now=1, told=lambda what, rows: None))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


async def test_memory_does_not_grow_with_the_house(tmp_path: Path, new_house: str) -> None:
    path = furnished(tmp_path / "large.db", rows=1)
    change(
        path,
        """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1600)
        INSERT INTO callbacks SELECT 'cbk_' || i, 'cloudsway', 'sub_' || i, randomblob(32), randomblob(131072), i FROM n
        """,
    )
    assert path.stat().st_size > 200e6
    ran = subprocess.run(  # noqa: ASYNC221 (a test alone waits)
        [sys.executable, "-c", LARGE, str(path), new_house], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 64_000  # KiB; batches of 4 MB, and 64 rows read ahead
