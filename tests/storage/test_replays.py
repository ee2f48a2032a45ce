from __future__ import annotations

import pytest

from storage import outbox, replays
from storage.database import Database
from storage.records import DeliveryStatus
from tests.storage.builders import NOW, delivery, event


async def feed(database: Database, *times: int) -> None:
    """Events of two projects in turns, so that positions have gaps."""
    for n, at in enumerate(times):
        await database.write(
            lambda tx, n=n, at=at: outbox.publish(  # type: ignore[misc]
                tx,
                [event(f"evt_{n}", created_at=at), event(f"evt_o{n}", created_at=at, project_id="prj_2")],
                [],
            )
        )


@pytest.mark.parametrize(
    ("since", "first"), [(0, "evt_0"), (10, "evt_0"), (11, "evt_1"), (20, "evt_1"), (30, "evt_3"), (31, None)]
)
async def test_the_feed_is_entered_at_an_instant(database: Database, since: int, first: str | None) -> None:
    await feed(database, 10, 20, 20, 30)

    async def unit(tx):  # type: ignore[no-untyped-def]
        after = await replays.before(tx, "prj_1", since)
        return await replays.window(tx, "prj_1", "ep_1", after=after, batch=1)

    assert [one.id for one in await database.read(unit)] == ([first] if first else [])


async def test_what_is_owed_already_is_told_and_owed_once(database: Database) -> None:
    await feed(database, NOW, NOW)
    await database.write(lambda tx: outbox.publish(tx, [], [delivery("dlv_0", event_id="evt_0")]))
    found = await database.read(lambda tx: replays.window(tx, "prj_1", "ep_1", after=0, batch=9))
    assert [(one.id, one.owed) for one in found] == [("evt_0", True), ("evt_1", False)]
    more = [delivery(f"dlv_{n + 1}", event_id=event) for n, event in enumerate(("evt_0", "evt_1", "evt_gone"))]
    assert await database.write(lambda tx: replays.owe(tx, more)) == 1
    assert [one.id for one in await database.read(lambda tx: outbox.due(tx, "ep_1", now=NOW, batch=9))] == [
        "dlv_0",
        "dlv_2",
    ]


async def test_what_was_given_up_is_due_again_in_batches_with_its_schedule_anew(database: Database) -> None:
    ended = [DeliveryStatus.EXHAUSTED, DeliveryStatus.CANCELED, DeliveryStatus.QUARANTINED, DeliveryStatus.DELIVERED]
    rows = [
        delivery(f"dlv_{n}", event_id=f"evt_{n}", status=status, attempts=4, due_at=None, created_at=NOW + n)
        for n, status in enumerate(ended)
    ]
    rows.append(delivery("dlv_9", event_id="evt_9", status=ended[0], due_at=None))
    tests = [event(one.event_id, test=one.id == "dlv_9") for one in rows]
    await database.write(lambda tx: outbox.publish(tx, tests, rows))

    async def again(since: int, batch: int, floor: str = "dlv_") -> int:
        return await database.write(
            lambda tx: replays.restart_failed(tx, "ep_1", "prj_1", since=since, floor=floor, now=NOW + 50, batch=batch)
        )

    assert await again(NOW, 9, floor="dlv_3") == 0
    assert [await again(NOW + 1, 1), await again(NOW, 9), await again(NOW, 9)] == [1, 2, 0]
    due = await database.read(lambda tx: outbox.due(tx, "ep_1", now=NOW + 50, batch=9, again=True))
    assert sorted((one.id, one.attempts, one.spent, one.since) for one in due) == [
        (f"dlv_{n}", 4, 4, NOW + 50) for n in range(3)
    ]
