"""What only the embedded engine promises: grouped commits, one writer among foreign ones, and one serving process per file."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from storage import groups, projects, sqlite
from storage.database import Connection, Unit
from storage.errors import Busy, StorageError, Unavailable
from storage.sqlite import Inline, SQLiteDatabase, on_thread
from tests.storage.builders import project
from tests.storage.children import child, heard, tell
from tests.storage.conftest import Clock


@asynccontextmanager
async def opened(path: str, clock: Clock) -> AsyncIterator[SQLiteDatabase]:
    database = await SQLiteDatabase.open(path, clock=clock)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "t.db")


@pytest.fixture
async def lite(path: str, clock: Clock) -> AsyncIterator[SQLiteDatabase]:
    async with opened(path, clock) as database:
        yield database


@pytest.fixture
async def other(lite: SQLiteDatabase, clock: Clock) -> AsyncIterator[SQLiteDatabase]:
    async with opened(lite.path, clock) as database:
        yield database


async def watch(database: SQLiteDatabase, see: Callable[[str], object]) -> None:
    """Show every statement of the writer as it starts. Group commit is invisible from outside."""
    await on_thread(database._writer, database._writer._conn.set_trace_callback, see)


@contextmanager
def foreign_writer(path: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        yield raw


def adding(number: int) -> Unit[int]:
    async def unit(tx: Connection) -> int:
        await projects.insert(tx, project(f"prj_{number:04}"))
        return number

    return unit


async def numbers(database: SQLiteDatabase) -> list[int]:
    return [int(found.id.removeprefix("prj_")) for found in await database.read(projects.every)]


async def refusing(tx: Connection) -> None:
    raise LookupError("mine")


# Groups


async def test_concurrent_writes_share_commits(lite: SQLiteDatabase, other: SQLiteDatabase) -> None:
    seen: list[str] = []
    await watch(lite, seen.append)
    await watch(other, seen.append)
    results = await asyncio.gather(*((lite, other)[n % 2].write(adding(n)) for n in range(600)))
    assert results == list(range(600))
    assert await numbers(lite) == list(range(600))
    assert seen.count("COMMIT") <= 6


async def test_a_lone_write_waits_for_nobody(lite: SQLiteDatabase) -> None:
    seen: list[str] = []
    await watch(lite, seen.append)
    await lite.write(adding(1))
    assert (seen[0], seen[-1], seen.count("COMMIT")) == ("BEGIN IMMEDIATE", "COMMIT", 1)


async def test_a_group_has_a_largest_size(lite: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP", 10)
    seen: list[str] = []
    await watch(lite, seen.append)
    await asyncio.gather(*(lite.write(adding(n)) for n in range(35)))
    assert seen.count("COMMIT") == 4


async def test_a_group_with_a_failing_unit_is_rolled_back_and_run_one_by_one(lite: SQLiteDatabase) -> None:
    seen: list[str] = []
    await watch(lite, seen.append)
    units = [adding(1), refusing, adding(2), adding(3)]
    outcomes = await asyncio.gather(*(lite.write(unit) for unit in units), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, LookupError, int, int]
    ends = [text for text in seen if text in ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")]
    assert ends[:2] == ["BEGIN IMMEDIATE", "ROLLBACK"]  # the group
    assert ends[2::2] == ["BEGIN IMMEDIATE"] * 4
    assert ends[3::2] == ["COMMIT", "ROLLBACK", "COMMIT", "COMMIT"]
    assert await numbers(lite) == [1, 2, 3]


async def test_a_unit_that_awaits_something_else_is_refused_and_rolled_back(lite: SQLiteDatabase) -> None:
    async def dawdling(tx: Connection) -> None:
        await projects.insert(tx, project("prj_0009"))
        await asyncio.sleep(0)

    outcomes = await asyncio.gather(*(lite.write(unit) for unit in (adding(1), dawdling)), return_exceptions=True)
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], RuntimeError)
    assert "awaited something other" in str(outcomes[1])
    with pytest.raises(RuntimeError, match="awaited something other"):
        await lite.read(dawdling_reader)
    assert await numbers(lite) == [1]


async def dawdling_reader(tx: Connection) -> None:
    await asyncio.sleep(0)


async def test_a_full_queue_refuses_and_empties(lite: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "WAITING", 3)
    outcomes = await asyncio.gather(*(lite.write(adding(n)) for n in range(5)), return_exceptions=True)
    assert outcomes[:3] == [0, 1, 2]
    assert [type(outcome) for outcome in outcomes[3:]] == [Unavailable, Unavailable]
    assert await lite.write(adding(3)) == 3


async def test_a_dead_driver_is_an_error_and_never_a_result(lite: SQLiteDatabase) -> None:
    await lite._writer.close()
    with pytest.raises(ValueError, match="no active connection"):
        await lite.write(adding(1))


# Durability and isolation


async def test_every_connection_is_in_wal_with_full_sync_and_foreign_keys(lite: SQLiteDatabase) -> None:
    async def settings(tx: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "secure_delete")
        return [(await tx.fetch(f"PRAGMA {name}"))[0][0] for name in names]

    assert await lite.write(settings) == ["wal", 2, 1, 0, 1]
    assert await asyncio.gather(*(lite.read(settings) for _ in range(4))) == [["wal", 2, 1, 0, 1]] * 4


async def test_a_connection_that_would_not_sync_is_refused(
    path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PRAGMAS", ("synchronous = NORMAL",))
    with no_thread_left_behind(), pytest.raises(StorageError, match=r"synchronous=1; .* needs WAL and FULL"):
        async with opened(path, clock):
            pass


async def test_proving_a_write_reaches_the_disk(lite: SQLiteDatabase) -> None:
    """An update to the same value is no write: SQLite compares, and leaves the page alone."""
    sizes = [len(bytes_of(f"{lite.path}-wal"))]
    for _ in range(2):
        await lite.write(projects.touch)
        sizes.append(len(bytes_of(f"{lite.path}-wal")))
    assert sizes[0] < sizes[1] < sizes[2]


async def test_a_reader_sees_one_snapshot_while_others_write(lite: SQLiteDatabase, other: SQLiteDatabase) -> None:
    looked, written = threading.Event(), threading.Event()

    async def twice(tx: Connection) -> tuple[int, int]:
        first = len(await projects.every(tx))
        looked.set()
        assert written.wait(10)
        return first, len(await projects.every(tx))

    await lite.write(adding(1))
    reading = asyncio.create_task(lite.read(twice))
    await asyncio.to_thread(looked.wait, 10)
    await lite.write(adding(2))
    await other.write(adding(3))
    written.set()
    assert await reading == (1, 1)
    assert await numbers(lite) == [1, 2, 3]


async def test_readers_do_not_wait_for_a_writer(path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path, clock):
        pass  # the file is there
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 600.0)
    monkeypatch.setattr(sqlite, "BUSY_STEP_SECONDS", 600.0)
    async with opened(path, clock) as lite:
        with foreign_writer(path):
            async with asyncio.timeout(60):  # the writer would be waited for ten times as long
                assert await numbers(lite) == []


async def test_closing_does_not_take_the_reader_that_a_waiting_read_was_promised(lite: SQLiteDatabase) -> None:
    """The write and a read end in one turn of the loop: the close is awake before the read whose turn it is."""
    first, second, written = threading.Event(), threading.Event(), threading.Event()

    def until(event: threading.Event) -> Unit[bool]:
        async def unit(tx: Connection) -> bool:
            return event.wait(10)

        return unit

    async def turns() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    held = (lite.read(until(first)), lite.read(until(second)))
    busy: list[asyncio.Task[Any]] = [asyncio.create_task(reading) for reading in held]
    await turns()
    waiting, writing = asyncio.create_task(lite.read(projects.every)), asyncio.create_task(lite.write(until(written)))
    await turns()
    closing = asyncio.create_task(lite.close())
    told = [threading.Event(), threading.Event()]  # set by a thread once it has handed over what it did before
    threads = (lite._readers[0], lite._writer)
    busy += [asyncio.create_task(on_thread(thread, event.set)) for thread, event in zip(threads, told, strict=True)]
    await turns()
    for event, handed_over in zip((first, written), told, strict=True):
        event.set()
        handed_over.wait(10)  # the loop stands still meanwhile
    await turns()
    second.set()
    async with asyncio.timeout(30):
        assert await waiting == []
        await asyncio.gather(writing, closing, *busy)


async def test_who_is_cancelled_while_he_closes_leaves_no_thread(lite: SQLiteDatabase) -> None:
    """The loop of a command that is interrupted ends with it: a thread left then would hold the process up for ever."""
    threads = [
        connection._thread for connection in (*lite._readers, lite._writer) if not isinstance(connection, Inline)
    ]
    assert len(threads) == 3 and all(thread.is_alive() for thread in threads)
    closing = asyncio.create_task(lite.close())
    for _ in range(3):
        await asyncio.sleep(0)
        closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not any(thread.is_alive() for thread in threads)


def test_a_process_that_ends_without_closing_its_database_ends(path: str) -> None:
    text = """
import asyncio, sys, time
from storage.database import open_database
async def main():
    global kept
    kept = await open_database(sys.argv[1], clock=time.time_ns)
asyncio.run(main())
sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", text, f"sqlite:///{path}"], timeout=100).returncode == 7


# Foreign writers


async def test_a_file_whose_first_writer_is_another_process_is_waited_for(
    path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself does not wait here: the switch to WAL is told BUSY at once."""
    with foreign_writer(path) as foreign:
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                foreign.execute("ROLLBACK")

        monkeypatch.setattr(sqlite, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep))
        async with opened(path, clock) as lite:
            assert await numbers(lite) == []
        assert len(pauses) == 3


async def test_a_file_whose_first_writer_does_not_end_is_unavailable(
    path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    with foreign_writer(path), pytest.raises(Unavailable, match="locked"):
        async with opened(path, clock):
            pass


async def test_all_who_wait_for_a_foreign_writer_give_up_together_and_not_one_after_the_other(
    path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    async with opened(path, clock) as lite:
        seen: list[str] = []
        await watch(lite, seen.append)
        with foreign_writer(path):
            outcomes = await asyncio.gather(*(lite.write(adding(n)) for n in range(20)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Busy}
        assert seen.count("BEGIN IMMEDIATE") <= 2  # not one wait for each of them
        assert await asyncio.gather(*(lite.write(adding(n)) for n in range(20))) == list(range(20))


async def test_who_asks_late_has_time_of_its_own_and_gets_through_once_the_foreign_writer_is_done(
    path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.3)
    monkeypatch.setattr(sqlite, "BUSY_STEP_SECONDS", 0.01)
    tried_often = threading.Event()
    seen: list[str] = []

    def see(text: str) -> None:
        seen.append(text)
        if seen.count("BEGIN IMMEDIATE") == 5:
            tried_often.set()

    async with opened(path, clock) as lite:
        await watch(lite, see)
        with foreign_writer(path) as foreign:
            early = asyncio.create_task(lite.write(adding(1)))
            await asyncio.to_thread(tried_often.wait, 10)
            late = asyncio.create_task(lite.write(adding(2)))
            with pytest.raises(Busy):
                await early
            assert not late.done()
            foreign.execute("ROLLBACK")
            assert await late == 2
        assert await numbers(lite) == [2]


async def test_a_foreign_writer_that_comes_between_is_waited_for_once(
    path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    seen: list[str] = []
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as foreign:

        def step_in(text: str) -> None:
            seen.append(text)
            if seen.count("BEGIN IMMEDIATE") == 3 and not foreign.in_transaction:
                foreign.execute("BEGIN IMMEDIATE")

        async with opened(path, clock) as lite:
            await watch(lite, step_in)
            units = [adding(1), refusing, adding(2), adding(3)]
            outcomes = await asyncio.gather(*(lite.write(unit) for unit in units), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [int, Busy, Busy, Busy]
            assert seen.count("BEGIN IMMEDIATE") <= 4
            foreign.execute("ROLLBACK")
            assert await numbers(lite) == [1]


async def test_a_write_waits_for_a_foreign_writer_that_hurries(lite: SQLiteDatabase) -> None:
    begun = threading.Event()
    await watch(lite, lambda text: begun.set())
    with foreign_writer(lite.path) as foreign:
        writing = asyncio.create_task(lite.write(adding(1)))
        await asyncio.to_thread(begun.wait, 10)
        foreign.execute("ROLLBACK")
        assert await writing == 1


# One serving process


HOLD = """
database = await open_database(f"sqlite:///{sys.argv[1]}", clock=lambda: 1)
database.claim_serving()
say("claimed")
hear()
"""


async def test_a_second_serving_process_is_refused_by_name_of_the_first(lite: SQLiteDatabase) -> None:
    with child(HOLD, lite.path) as holder:
        assert await asyncio.to_thread(heard, holder) == "claimed"
        with pytest.raises(StorageError, match=rf"served by process {holder.pid}\b"):
            lite.claim_serving()
        await lite.write(adding(1))  # short commands only write
        holder.kill()
        holder.wait()
        lite.claim_serving()


async def test_the_first_serving_process_refuses_a_second(lite: SQLiteDatabase) -> None:
    lite.claim_serving()
    attempt = HOLD.replace(
        "database.claim_serving()", "try: database.claim_serving()\nexcept Exception as error: say(error)"
    )
    attempt += "\nawait database.close()"
    with child(attempt, lite.path) as second:
        tell(second, "")
        assert f"{lite.path} is served by process" in await asyncio.to_thread(heard, second)


async def test_one_process_serves_a_file_once(lite: SQLiteDatabase, other: SQLiteDatabase) -> None:
    lite.claim_serving()
    with pytest.raises(StorageError, match="is served by process"):
        other.claim_serving()
    await lite.close()
    other.claim_serving()


async def test_another_name_of_the_file_is_the_same_file(lite: SQLiteDatabase, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "alias.db").symlink_to(lite.path)
    lite.claim_serving()
    async with opened(str(tmp_path / "alias.db"), clock) as alias:
        with pytest.raises(StorageError, match="is served by process"):
            alias.claim_serving()


# Files that are not right


def overwrite(path: str, at: int, content: bytes) -> None:
    with open(path, "r+b" if at else "wb") as file:
        file.seek(at)
        file.write(content)


def bytes_of(path: str) -> bytes:
    return Path(path).read_bytes()


async def test_a_missing_folder_is_named(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(StorageError, match="the folder does not exist"):
        async with opened(str(tmp_path / "nowhere" / "t.db"), clock):
            pass


@contextmanager
def no_thread_left_behind() -> Iterator[None]:
    """One that waits for work keeps the process from ending; one that still speaks meets a closed loop."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


async def test_a_folder_is_no_database(tmp_path: Path, clock: Clock) -> None:
    with no_thread_left_behind(), pytest.raises(StorageError, match="Name a file in it"):
        async with opened(str(tmp_path), clock):
            pass


async def test_a_file_of_something_else_is_refused_and_left_alone(path: str, clock: Clock) -> None:
    overwrite(path, 0, b"not a database" * 100)
    with no_thread_left_behind(), pytest.raises(StorageError, match="is not an SQLite database"):
        async with opened(path, clock):
            pass
    assert bytes_of(path) == b"not a database" * 100


async def test_closing_leaves_no_thread_behind(path: str, clock: Clock) -> None:
    with no_thread_left_behind():
        async with opened(path, clock) as database:
            await database.write(adding(1))


async def test_an_old_sqlite_is_refused(path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(StorageError, match=r"3\.37 or newer"):
        async with opened(path, clock):
            pass


BROKEN = """
database = await open_database(f"sqlite:///{sys.argv[1]}", clock=lambda: 1)
async def look(tx): return await tx.fetch("SELECT secret FROM projects")
await getattr(database, sys.argv[2])(look)
say("went on")
"""


@pytest.mark.parametrize("door", ["write", "read"])
async def test_a_broken_file_stops_the_process_before_it_believes_anything(path: str, clock: Clock, door: str) -> None:
    async with opened(path, clock) as lite:
        await lite.write(adding(1))
        page, size = await lite.read(place_of_projects)
    overwrite(path, (page - 1) * size, b"\xff" * size)
    with child(BROKEN, path, door) as running:
        said, complained = await asyncio.to_thread(running.communicate, timeout=30)
    assert (running.returncode, said) == (74, "")
    assert "the database file failed" in complained


async def place_of_projects(tx: Connection) -> tuple[int, int]:
    [(page,)] = await tx.fetch("SELECT rootpage FROM sqlite_master WHERE name = 'projects'")
    [(size,)] = await tx.fetch("PRAGMA page_size")
    assert isinstance(page, int)
    assert isinstance(size, int)
    return page, size


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_a_new_file_and_its_log_are_for_their_owner_alone(tmp_path: Path, clock: Clock) -> None:
    database = await SQLiteDatabase.open(f"{tmp_path}/new.db", clock=clock)
    try:
        found = modes(tmp_path)
    finally:
        await database.close()
    assert found["new.db"] == found["new.db-wal"] == 0o600


async def test_at_a_pace_everything_runs_in_the_callers_thread_and_lasts(path: str, clock: Clock) -> None:
    paced: list[int] = []

    async def pace() -> None:
        paced.append(threading.get_ident())

    before = set(threading.enumerate())
    database = await SQLiteDatabase.open(path, clock=clock, pace=pace)
    threads: set[int] = set()

    async def unit(tx: Connection) -> None:
        threads.add(threading.get_ident())
        await projects.insert(tx, project())

    try:
        await database.write(unit)
        with pytest.raises(ValueError, match="no"):
            await database.write(_refuse)
        assert await database.read(projects.every) == [project()]
        assert threads == {threading.get_ident()} and len(paced) > 3
        assert set(threading.enumerate()) <= before
    finally:
        await database.close()
    async with opened(path, clock) as again:
        assert await again.read(projects.every) == [project()]


async def _refuse(tx: Connection) -> None:
    raise ValueError("no")
