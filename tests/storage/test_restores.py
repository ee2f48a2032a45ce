from __future__ import annotations

import asyncio
from functools import partial

from storage import lanes, restores
from storage.database import Connection, Database
from storage.records import LaneKind, TaskStatus
from tests.storage.builders import FUTURE, finished, plant, task

MARK = "UPDATE installation SET copied_at = 7"


async def test_the_mark_of_a_copy_is_read_and_taken_away(database: Database) -> None:
    assert await database.read(restores.copied_at) is None
    assert not await database.write(restores.still_a_copy)
    await database.write(lambda tx: tx.fetch(MARK))
    assert await database.read(restores.copied_at) == 7
    assert await database.write(restores.still_a_copy)
    assert await database.write(lambda tx: restores.clear(tx, places=10))
    assert await database.read(restores.copied_at) is None
    assert not await database.write(restores.still_a_copy)


async def test_a_database_brought_back_by_hand_is_marked_and_of_two_instants_the_earlier_counts(
    database: Database,
) -> None:
    assert await database.write(lambda tx: restores.mark(tx, at=70)) == 70
    assert await database.write(lambda tx: restores.mark(tx, at=80)) == 70
    assert await database.write(lambda tx: restores.mark(tx, at=60)) == 60
    assert await database.read(restores.copied_at) == 60


async def test_a_mark_ends_the_leases_that_were_copied_along(database: Database) -> None:
    await database.write(lambda tx: lanes.arrive(tx, {(LaneKind.ENDPOINT, "ep_1"): 1}))
    [lane] = await database.write(lambda tx: lanes.claim(tx, owner="gone", accounts=[], now=2, ttl_seconds=60, batch=9))
    await database.write(lambda tx: restores.mark(tx, at=70))
    kept = await database.read(lambda tx: lanes.get(tx, lane.kind, lane.key))
    assert kept is not None and (kept.owner, kept.epoch) == (None, lane.epoch)


async def test_it_is_known_until_when_a_copy_knows_what_happened(database: Database) -> None:
    made = await database.read(restores.known_until)
    assert made > 0  # of the installation: nothing was told yet
    insert = (
        "INSERT INTO events (id, project_id, type, sequence, created_at, body, hard, test)"
        " VALUES (:id, 'prj_1', 'x', 0, :at, :body, 0, 0)"
    )
    for at in (5, 9):
        await database.write(lambda tx: tx.fetch(insert, {"id": f"evt_{at}", "at": at, "body": b"{}"}))  # noqa: B023
    assert await database.read(restores.known_until) == 9


async def test_of_two_that_take_the_mark_away_one_does(database: Database, other_handle: Database) -> None:
    await database.write(lambda tx: tx.fetch(MARK))
    clear = partial(restores.clear, places=10)
    assert sorted(await asyncio.gather(database.write(clear), other_handle.write(clear))) == [False, True]


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
        await tx.fetch(MARK)
        await restores.clear(tx, places=100)  # of a copy in which nothing was ever told
        [(first,)] = await tx.fetch(insert, {"id": "evt_1", "body": b"{}"})
        await tx.fetch(MARK)
        await restores.clear(tx, places=1_000)
        [(second,)] = await tx.fetch(insert, {"id": "evt_2", "body": b"{}"})
        return [int(str(first)), int(str(second))]

    first, second = await database.write(unit)
    assert first > 100 and second > first + 1_000
