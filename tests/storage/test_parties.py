"""Whom a delivery is owed to is found whatever became of it."""

from __future__ import annotations

from storage import endpoints, lanes, parties
from storage.database import Connection, Database
from storage.records import EndpointStatus, LaneKind, Party
from tests.storage.builders import NOW, PROJECT, endpoint, plant


async def test_endpoints_come_with_their_lanes_deleted_or_not(database: Database) -> None:
    await plant(database, endpoint("ep_1", rate_limit=5, expires_at=NOW, retry_schedule="[1]"), endpoint("ep_2"))

    async def unit(tx: Connection) -> None:
        await endpoints.delete(tx, "ep_2", PROJECT, now=NOW)
        await lanes.arrive(tx, {(LaneKind.ENDPOINT, "ep_1"): NOW, (LaneKind.ACCOUNT, "ep_2"): NOW})

    await database.write(unit)
    # In a unit of its own: on PostgreSQL arrivals are the last that a transaction writes.
    await database.write(lambda tx: tx.fetch("UPDATE lanes SET breaker = 'b', held_until = 7"))
    found = await database.read(lambda tx: parties.of(tx, ["ep_1", "ep_2", "ep_1", "ep_none"]))
    assert found == {
        "ep_1": Party(
            id="ep_1",
            url="https://ep_1.test/hook",
            expires_at=NOW,
            rate_limit=5,
            retry_schedule="[1]",
            breaker="b",
            held_until=7,
        ),
        "ep_2": Party(
            id="ep_2",
            url="https://ep_2.test/hook",
            status=EndpointStatus.DISABLED,
            deleted_at=NOW,
            disabled_reason="deleted",
        ),
    }
