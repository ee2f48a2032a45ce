from __future__ import annotations

from dataclasses import replace

from storage import callbacks, ends, outbox
from storage.database import Connection, Database
from tests.storage.builders import NOW, SECOND, event, finished, plant, push


async def feed(database: Database, *made: tuple[str, str, int]) -> None:
    async def unit(tx: Connection) -> None:
        told = [
            replace(event(f"evt_{n}"), task_id=task, type=type, created_at=at, sequence=n)
            for n, (task, type, at) in enumerate(made, 1)
        ]
        await outbox.publish(tx, told, [])

    await database.write(unit)


async def test_the_last_verdicts_come_newest_first_with_whether_a_push_told_of_them(database: Database) -> None:
    await plant(database, *(finished(f"task_{n}", provider_task_id=f"job_{n}") for n in range(4)), finished("task_9"))
    await database.write(lambda tx: callbacks.insert_pushes(tx, [replace(push("obs_1"), task_id="task_1")]))
    await feed(
        database,
        ("task_0", "task.failed", NOW - 100 * SECOND),
        ("task_1", "task.succeeded", NOW - 3),
        ("task_2", "task.submitted", NOW - 2),
        ("task_3", "task.failed", NOW - 1),
        ("task_9", "task.failed", NOW),  # never bought
    )

    async def found(since: int, most: int) -> list[tuple[str, bool]]:
        rows = await database.read(lambda tx: ends.latest(tx, since=since, most=most))
        return [(end.task_id, end.pushed) for end in rows]

    assert await found(0, 100) == [("task_3", False), ("task_1", True), ("task_0", False)]
    assert await found(NOW - SECOND, 100) == [("task_3", False), ("task_1", True)]
    assert await found(0, 3) == [("task_3", False)]


async def test_how_far_back_is_looked_is_known(database: Database) -> None:
    assert await database.read(lambda tx: ends.reach(tx, most=10)) is None
    await plant(database, *(finished(f"task_{n}") for n in range(3)))
    await feed(database, *((f"task_{n}", "task.failed", NOW + n) for n in range(3)))
    assert await database.read(lambda tx: ends.reach(tx, most=10)) == NOW
    assert await database.read(lambda tx: ends.reach(tx, most=2)) == NOW + 1
