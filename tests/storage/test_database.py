"""What every engine promises, seen through two handles on one database."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from storage import projects, tasks
from storage.database import Connection, Database, apart
from storage.errors import Duplicate, Missing, StorageError, Unavailable
from storage.records import Project, TaskStatus
from tests.storage.builders import plant, project, stored, task
from tests.storage.conftest import Clock, Opener, opened


async def insert(tx: Connection, row: Project) -> str:
    await projects.insert(tx, row)
    return row.id


async def names(database: Database) -> set[str]:
    return {found.id for found in await database.read(projects.every)}


async def test_what_was_written_is_seen_through_another_handle(database: Database, other_handle: Database) -> None:
    await database.write(lambda tx: insert(tx, project("prj_a")))
    assert await names(other_handle) == {"prj_a"}


async def test_what_was_written_is_there_after_reopening(opener: Opener) -> None:
    first = await opener()
    await first.write(lambda tx: insert(tx, project("prj_a")))
    await first.close()
    assert await names(await opener()) == {"prj_a"}


async def test_every_caller_gets_the_result_of_its_own_unit(database: Database, other_handle: Database) -> None:
    async def write(number: int) -> str:
        handle = (database, other_handle)[number % 2]
        return await handle.write(lambda tx: insert(tx, project(f"prj_{number}")))

    assert await asyncio.gather(*map(write, range(60))) == [f"prj_{number}" for number in range(60)]
    assert len(await names(database)) == 60


async def test_a_failing_unit_fails_alone(database: Database) -> None:
    async def poison(tx: Connection) -> None:
        await insert(tx, project("prj_poison"))
        raise LookupError("mine")

    async def write(number: int) -> str | None:
        return await database.write(poison if number == 7 else lambda tx: insert(tx, project(f"prj_{number}")))

    outcomes = await asyncio.gather(*map(write, range(20)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(LookupError) == 1
    assert isinstance(outcomes[7], LookupError)
    assert await names(database) == {f"prj_{number}" for number in range(20) if number != 7}


async def test_a_duplicate_fails_alone_and_says_of_what(database: Database) -> None:
    taken = [project("prj_a", name="one"), project("prj_b", name="two"), project("prj_c", name="one")]
    outcomes = await asyncio.gather(
        *(database.write(lambda tx, row=row: insert(tx, row)) for row in taken),  # type: ignore[misc]
        return_exceptions=True,
    )
    assert outcomes[:2] == ["prj_a", "prj_b"]
    assert isinstance(outcomes[2], Duplicate)
    assert "name" in outcomes[2].constraint
    assert await names(database) == {"prj_a", "prj_b"}


async def test_a_row_whose_parent_is_not_there_is_missing_something(database: Database) -> None:
    with pytest.raises(Missing):
        await database.write(lambda tx: tasks.insert(tx, task(project_id="prj_nobody")))


async def test_a_statement_the_engine_refuses_never_raises_the_drivers_own_error(database: Database) -> None:
    async def wrong(tx: Connection) -> None:
        await tx.fetch("SELECT nothing FROM nowhere")

    async def incomplete(tx: Connection) -> None:
        await tx.fetch("INSERT INTO projects (id) VALUES (:id)", {"id": "prj_a"})

    for unit in (wrong, incomplete):
        with pytest.raises(StorageError):
            await database.write(unit)
    with pytest.raises(StorageError):
        await database.read(wrong)


async def test_a_failed_unit_leaves_nothing_behind(database: Database, other_handle: Database) -> None:
    async def half(tx: Connection) -> None:
        await insert(tx, project("prj_a"))
        await insert(tx, project("prj_a"))

    with pytest.raises(Duplicate):
        await database.write(half)
    assert await names(other_handle) == set()


async def test_a_unit_may_return_an_exception(database: Database) -> None:
    async def unit(tx: Connection) -> BaseException:
        return LookupError("a value like any other")

    assert isinstance(await database.write(unit), LookupError)


async def test_a_cancelled_waiter_does_not_take_its_unit_back(database: Database, other_handle: Database) -> None:
    waiters = [
        asyncio.create_task(database.write(lambda tx, n=number: insert(tx, project(f"prj_{n}"))))  # type: ignore[misc]
        for number in range(5)
    ]
    await asyncio.sleep(0)  # all are accepted now
    waiters[2].cancel()
    outcomes = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(outcomes[2], asyncio.CancelledError)
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["prj_0", "prj_1", "prj_3", "prj_4"]
    await database.write(lambda tx: insert(tx, project("prj_later")))  # behind it in the queue
    assert "prj_2" in await names(other_handle)


async def test_a_cancelled_reader_gives_its_connection_back(database: Database) -> None:
    for _ in range(10):
        reading = asyncio.create_task(database.read(projects.every))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert await asyncio.gather(*(database.read(projects.every) for _ in range(10))) == [[]] * 10


async def test_closing_finishes_what_was_accepted(database: Database, other_handle: Database) -> None:
    async def write(number: int) -> str:
        return await database.write(lambda tx: insert(tx, project(f"prj_{number}")))

    writing = [asyncio.create_task(write(number)) for number in range(30)]
    reading = [asyncio.create_task(database.read(projects.every)) for _ in range(5)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*writing) == [f"prj_{number}" for number in range(30)]
    assert len(await asyncio.gather(*reading)) == 5
    assert len(await names(other_handle)) == 30


async def test_after_closing_nothing_is_accepted(database: Database) -> None:
    await database.close()
    with pytest.raises(Unavailable):
        await database.write(lambda tx: insert(tx, project()))
    with pytest.raises(Unavailable):
        await database.read(projects.every)


async def test_closing_twice_is_closing(database: Database) -> None:
    async with asyncio.timeout(30):
        await asyncio.gather(database.close(), database.close())
        await database.close()


async def test_a_cancelled_close_still_finishes_what_was_accepted(database: Database, other_handle: Database) -> None:
    writing = asyncio.create_task(database.write(lambda tx: insert(tx, project("prj_a"))))
    await asyncio.sleep(0)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert writing.done() and await writing == "prj_a", "who is cancelled waits all the same"
    await database.close()
    assert await names(other_handle) == {"prj_a"}


async def test_writers_on_two_handles_wait_for_each_other_and_lose_nothing(
    database: Database, other_handle: Database
) -> None:
    await plant(database, task())

    async def count(tx: Connection) -> None:
        found = (await tasks.lock(tx, ["task_1"]))["task_1"]
        await tasks.save(tx, [(replace(found, version=found.version + 1), found)])

    async def writer(handle: Database) -> None:
        for _ in range(40):
            await handle.write(count)

    await asyncio.gather(writer(database), writer(other_handle))
    assert (await stored(database)).version == 80


async def test_a_reader_is_refused_a_write(database: Database) -> None:
    with pytest.raises(StorageError):
        await database.read(lambda tx: insert(tx, project("prj_a")))
    assert await names(database) == set()


async def test_each_returns_what_every_statement_returned(database: Database) -> None:
    await plant(database, task("task_1"), task("task_2"))
    text = "UPDATE tasks SET status = :status WHERE id = :id RETURNING id"
    rows = [{"id": id, "status": TaskStatus.FAILED.value} for id in ("task_1", "task_none", "task_2")]
    assert await database.write(lambda tx: tx.each(text, rows)) == [("task_1",), ("task_2",)]


async def test_change_counts_the_rows_that_were_written(database: Database) -> None:
    await plant(database, task("task_1"), task("task_2"))
    text = "UPDATE tasks SET status = :status WHERE id = :id /*postgres: RETURNING id */"
    rows = [{"id": id, "status": TaskStatus.FAILED.value} for id in ("task_1", "task_none", "task_2")]
    assert await database.write(lambda tx: tx.change(text, rows)) == 2
    assert (await stored(database, "task_2")).status is TaskStatus.FAILED


async def test_an_empty_batch_is_no_statement(database: Database) -> None:
    async def unit(tx: Connection) -> list[tuple[object, ...]]:
        await tx.many("not even SQL", [])
        assert await tx.change("not even SQL", []) == 0
        return await tx.each("not even SQL", [])

    assert await database.write(unit) == []


async def test_what_is_written_last_is_written_with_the_rest_or_not_at_all(
    database: Database, other_handle: Database
) -> None:
    await plant(database, task("task_1"))
    text = "UPDATE tasks SET status = :status WHERE id = :id"

    async def unit(tx: Connection, *, fails: bool, status: TaskStatus) -> None:
        row = {"id": "task_1", "status": status.value}
        await tx.lastly(text, {("task_1",): row}, lambda _, other: other)
        if fails:
            raise LookupError("mine")

    good = database.write(lambda tx: unit(tx, fails=False, status=TaskStatus.FAILED))
    bad = database.write(lambda tx: unit(tx, fails=True, status=TaskStatus.EXPIRED))
    outcomes = await asyncio.gather(good, bad, return_exceptions=True)
    assert isinstance(outcomes[1], LookupError)
    assert (await stored(other_handle)).status is TaskStatus.FAILED


async def test_a_unit_apart_is_written_like_any_other(database: Database, other_handle: Database) -> None:
    units = [apart(lambda tx, n=n: insert(tx, project(f"prj_{n}")), f"{n}") for n in range(3)]  # type: ignore[misc]
    done = await asyncio.gather(*map(database.write, units), database.write(lambda tx: insert(tx, project("prj_x"))))
    assert set(done) == await names(other_handle)


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite:relative.db", "taskrelay.db", ""])
async def test_an_unknown_scheme_is_refused_with_what_to_write(url: str, clock: Clock) -> None:
    with pytest.raises(ValueError, match="use sqlite:///"):
        async with opened(url, clock):
            pass


async def test_the_path_of_a_url_is_relative_or_absolute(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///near.db", f"sqlite:///{tmp_path}/far.db"):
        async with opened(url, clock):
            pass
    assert set(os.listdir(tmp_path)) == {"near.db", "far.db"}
