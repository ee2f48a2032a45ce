from __future__ import annotations

from storage import erasing, outbox
from storage.database import Connection, Database
from tests.storage.builders import NOW, delivery, event, finished, plant, stored


async def test_a_row_is_emptied_once_and_by_who_read_it_last(database: Database) -> None:
    await plant(database, finished("task_1", input='{"prompt":"x"}', version=3))

    async def unit(tx: Connection) -> list[int | None]:
        return [await erasing.erase(tx, "task_1", was=was, failure=None, now=NOW + 1) for was in (2, 3, 4)]

    assert await database.write(unit) == [None, 4, None]
    row = await stored(database, "task_1")
    assert (row.input, row.erased_at, row.updated_at, row.version) == ("{}", NOW + 1, NOW + 1, 4)


async def test_what_is_pending_is_counted_over_all_events_of_the_task(database: Database) -> None:
    await plant(database, finished("task_1"))

    async def unit(tx: Connection) -> list[int]:
        events = [event("evt_1", task_id="task_1"), event("evt_2", task_id="task_1", sequence=2, hard=False)]
        owed = [
            delivery("dlv_1", event_id="evt_1"),
            delivery("dlv_2", event_id="evt_2"),
            delivery("dlv_3", event_id="evt_x"),
        ]
        await outbox.publish(tx, events, owed)
        return [await erasing.pending(tx, task_id) for task_id in ("task_1", "task_2")]

    assert await database.write(unit) == [2, 0]
