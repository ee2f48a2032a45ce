"""How much waits: what gauges show of a whole database, bounded whatever is in it."""

from __future__ import annotations

import pytest

from storage import lanes, load, outbox
from storage.database import Connection, Database
from storage.load import Load
from storage.records import DeliveryStatus, LaneKind, TaskStatus
from tests.storage.builders import ACCOUNT, LONG_AGO, NOW, SECOND, delivery, endpoint, event, plant, task


async def owe(database: Database, *due: tuple[str, str, int, int]) -> None:
    """Deliveries by endpoint, id, attempts made and when they are due; their lanes hear of it."""

    async def unit(tx: Connection) -> None:
        await outbox.publish(
            tx,
            [event(f"evt_{id}", task_id=None) for _, id, _, _ in due],
            [delivery(id, event_id=f"evt_{id}", endpoint_id=of, attempts=made, due_at=at) for of, id, made, at in due],
        )
        for of, _, _, at in due:
            await lanes.arrive(tx, {(LaneKind.ENDPOINT, of): at})

    await database.write(unit)


async def read(database: Database, now: int = NOW) -> Load:
    return await database.read(lambda tx: load.read(tx, now=now))


async def test_an_empty_database_has_nothing_to_show(database: Database) -> None:
    assert await read(database) == Load({}, None, 0)
    assert await database.read(lambda tx: load.open_tasks(tx, ACCOUNT)) == {}


async def test_lanes_that_wait_are_due_and_nobodys(database: Database) -> None:
    await plant(database, endpoint("ep_1"), endpoint("ep_2"))
    await owe(database, ("ep_1", "dlv_1", 0, LONG_AGO), ("ep_2", "dlv_2", 0, NOW + SECOND))
    await database.write(lambda tx: lanes.arrive(tx, {(LaneKind.ACCOUNT, ACCOUNT): LONG_AGO}))
    assert (await read(database)).waiting == {"account": 1, "endpoint": 1}
    await database.write(
        lambda tx: lanes.claim(tx, owner="a", accounts=[ACCOUNT], now=NOW, ttl_seconds=10**9, batch=10)
    )
    assert (await read(database)).waiting == {}


@pytest.mark.parametrize("attempts", [0, 3])
async def test_the_oldest_delivery_is_found_from_the_rows_also_of_a_lane_that_is_owned(
    database: Database, attempts: int
) -> None:
    await plant(database, endpoint("ep_1"), endpoint("ep_2"))
    await owe(database, ("ep_1", "dlv_1", attempts, NOW - 90 * SECOND), ("ep_2", "dlv_2", 0, NOW - 5 * SECOND))
    assert (await read(database)).oldest_delivery_at == NOW - 90 * SECOND
    await database.write(
        lambda tx: lanes.claim(tx, owner="a", accounts=[ACCOUNT], now=NOW, ttl_seconds=10**9, batch=10)
    )
    assert (await read(database)).oldest_delivery_at == NOW - 90 * SECOND


async def test_what_is_settled_is_not_old(database: Database) -> None:
    await plant(database, endpoint("ep_1"))
    await owe(database, ("ep_1", "dlv_1", 0, LONG_AGO))

    async def unit(tx: Connection) -> None:
        await tx.fetch("UPDATE deliveries SET status = :made, due_at = NULL", {"made": DeliveryStatus.DELIVERED.value})

    await database.write(unit)
    assert (await read(database)).oldest_delivery_at is None


async def test_endpoints_that_are_only_probed_are_counted(database: Database) -> None:
    await plant(database, endpoint("ep_1"), endpoint("ep_2"))
    await owe(database, ("ep_1", "dlv_1", 0, LONG_AGO), ("ep_2", "dlv_2", 0, LONG_AGO))

    async def unit(tx: Connection) -> None:
        await tx.fetch("UPDATE lanes SET breaker = '{}' WHERE key = :key", {"key": "ep_1"})

    await database.write(unit)
    assert (await read(database)).breakers == 1


async def test_open_tasks_are_counted_by_their_status_and_account(database: Database) -> None:
    await plant(
        database,
        task("task_1", status=TaskStatus.PROCESSING),
        task("task_2", status=TaskStatus.UNCONFIRMED),
        task("task_3", status=TaskStatus.UNCONFIRMED),
        task("task_4", status=TaskStatus.QUEUED),
        task("task_5", status=TaskStatus.PROCESSING, account="another"),
    )
    found = await database.read(lambda tx: load.open_tasks(tx, ACCOUNT))
    assert found == {"processing": 1, "unconfirmed": 2}
