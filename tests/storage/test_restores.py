from __future__ import annotations

from storage import restores
from storage.database import Connection, Database
from storage.records import TaskStatus
from tests.storage.builders import FUTURE, finished, plant, task


async def test_the_mark_of_a_copy_is_read_and_taken_away(database: Database) -> None:
    assert await database.read(restores.copied_at) is None
    await database.write(lambda tx: tx.fetch("UPDATE installation SET copied_at = 7"))
    assert await database.read(restores.copied_at) == 7
    await database.write(lambda tx: restores.clear(tx, places=10))
    assert await database.read(restores.copied_at) is None


async def test_open_tasks_without_a_job_come_page_by_page(database: Database) -> None:
    await plant(
        database,
        task("task_b", deadline_at=FUTURE),
        task("task_a", deadline_at=FUTURE),
        task("task_c", deadline_at=FUTURE - 1, status=TaskStatus.UNCONFIRMED),
        task("task_bound", status=TaskStatus.PROCESSING, provider_task_id="j"),
        finished("task_over"),
    )
    found, after = [], restores.BEFORE_ALL
    while page := await database.read(lambda tx: restores.unbought(tx, after=after, batch=2)):  # noqa: B023
        found += [task_id for _, task_id in page]
        after = page[-1]
    assert found == ["task_c", "task_a", "task_b"]


async def test_the_feed_goes_on_beyond_the_places_that_may_be_known(database: Database) -> None:
    insert = (
        "INSERT INTO events (id, project_id, type, sequence, created_at, body, hard, test)"
        " VALUES (:id, 'prj_1', 'x', 0, 1, :body, 0, 0) RETURNING position"
    )

    async def unit(tx: Connection) -> list[int]:
        await restores.clear(tx, places=100)  # of a copy in which nothing was ever told
        [(first,)] = await tx.fetch(insert, {"id": "evt_1", "body": b"{}"})
        await restores.clear(tx, places=1_000)
        [(second,)] = await tx.fetch(insert, {"id": "evt_2", "body": b"{}"})
        return [int(str(first)), int(str(second))]

    assert await database.write(unit) == [101, 1102]
