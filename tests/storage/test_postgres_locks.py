"""Replicas write at the same time, each a group of units in one transaction: they may wait for each other, and never in a circle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import pytest

from storage import lanes
from storage.database import Connection, apart
from storage.postgres import PostgresDatabase
from storage.records import Lane, LaneKind
from tests.storage.builders import ACCOUNT, LONG_AGO, NEVER, NOW
from tests.storage.conftest import emptied

pytestmark = pytest.mark.slow

ROUNDS = 40
KEYS = [f"ep_{n}" for n in range(12)]
# A number is counted when its session says so, at the latest when it ends; `emptied` asks before anything else has run.
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"

Move = Callable[[PostgresDatabase, str], Awaitable[object]]


async def deadlocks(address: str) -> int:
    link = await asyncpg.connect(address)
    try:
        return int(await link.fetchval(DEADLOCKS))
    finally:
        await link.close()


async def arrive(handle: PostgresDatabase, key: str) -> None:
    async def unit(tx: Connection) -> None:
        await lanes.arrive(tx, {(LaneKind.ENDPOINT, key): LONG_AGO})
        await tx.fetch("SELECT pg_sleep(0.001)")  # a unit has other things to do, and locks are held meanwhile

    await handle.write(unit)


async def many_at_once(address: str, *moves: Callable[[PostgresDatabase, Sequence[str]], Awaitable[object]]) -> int:
    """How many circles the server broke while two handles made the moves, one in the opposite order of the other."""
    before = await deadlocks(address)
    async with contextlib.AsyncExitStack() as stack:
        handles = [await PostgresDatabase.open(address) for _ in range(2)]
        for handle in handles:
            stack.push_async_callback(handle.close)
        for _ in range(ROUNDS):
            await asyncio.gather(
                *(
                    move(handle, keys)
                    for move in moves
                    for handle, keys in zip(handles, (KEYS, KEYS[::-1]), strict=True)
                )
            )
    return await deadlocks(address) - before


@pytest.fixture
async def address(postgres_database: str) -> str:
    return await emptied(postgres_database)


async def test_arrivals_at_many_lanes_in_opposite_orders_never_wait_in_a_circle(address: str) -> None:
    async def arrivals(handle: PostgresDatabase, keys: Sequence[str]) -> None:
        await asyncio.gather(*(arrive(handle, key) for key in keys))

    assert await many_at_once(address, arrivals) == 0


async def test_owners_that_write_extend_and_leave_never_wait_in_a_circle_with_arrivals(address: str) -> None:
    async def arrivals(handle: PostgresDatabase, keys: Sequence[str]) -> None:
        await asyncio.gather(*(arrive(handle, key) for key in keys))

    async def own(handle: PostgresDatabase, keys: Sequence[str]) -> None:
        name = keys[0]
        taken = await handle.write(
            apart(lambda tx: lanes.claim(tx, owner=name, accounts=[ACCOUNT], now=NOW, ttl_seconds=60, batch=6))
        )

        async def settle(tx: Connection, lane: Lane) -> None:
            assert await lanes.hold(tx, lane)
            await tx.fetch("SELECT pg_sleep(0.001)")
            await lanes.save_own_health(tx, lane)

        async def leave(tx: Connection, lane: Lane) -> None:
            assert await lanes.hold_still(tx, lane)
            await tx.fetch("SELECT pg_sleep(0.001)")
            assert await lanes.release(tx, lane, next_due_at=LONG_AGO)

        written = [handle.write(lambda tx, lane=lane: settle(tx, lane)) for lane in taken]  # type: ignore[misc]
        beat = apart(lambda tx: lanes.heartbeat(tx, owner=name, now=NOW, ttl_seconds=60))
        beaten = asyncio.create_task(handle.write(beat))
        await asyncio.gather(*written)
        assert len(await beaten) == len(taken)
        await asyncio.gather(
            *(handle.write(apart(lambda tx, lane=lane: leave(tx, lane), lane.kind, lane.key)) for lane in taken[::-1])  # type: ignore[misc]
        )

    assert await many_at_once(address, arrivals, own) == 0


async def test_of_many_arrivals_at_a_lane_in_one_transaction_the_earliest_counts(address: str) -> None:
    handle = await PostgresDatabase.open(address)
    try:
        await handle.write(lambda tx: lanes.arrive(tx, {(LaneKind.ENDPOINT, "ep_1"): NEVER}))
        due = [NOW + (n - 10) ** 2 for n in range(20)]
        await asyncio.gather(
            *(handle.write(lambda tx, at=at: lanes.arrive(tx, {(LaneKind.ENDPOINT, "ep_1"): at})) for at in due)  # type: ignore[misc]
        )
        assert await handle.read(lambda tx: tx.fetch("SELECT next_due_at FROM lanes")) == [(NOW,)]
    finally:
        await handle.close()
