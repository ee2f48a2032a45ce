from __future__ import annotations

import asyncio

from storage import duties
from storage.database import Connection, Database
from tests.storage.conftest import Clock


async def take(database: Database, owner: str, now: int, seconds: float = 60) -> bool:
    async def unit(tx: Connection) -> bool:
        return await duties.take(tx, "sweep", owner=owner, now=now, seconds=seconds)

    return await database.write(unit)


async def test_one_has_the_turn_until_it_ends(database: Database, other_handle: Database, clock: Clock) -> None:
    won = await asyncio.gather(take(database, "a", clock()), take(other_handle, "b", clock()))
    assert sorted(won) == [False, True]
    owner = "a" if won[0] else "b"
    assert await database.read(lambda tx: duties.taken(tx, "sweep", now=clock())) == owner
    assert await take(database, owner, clock())  # again: it is still its own
    assert await database.read(lambda tx: duties.taken(tx, "retention", now=clock())) is None


async def test_a_turn_that_is_over_is_anybodys(database: Database, other_handle: Database, clock: Clock) -> None:
    assert await take(database, "a", clock(), seconds=0)
    clock.advance(1)
    assert await database.read(lambda tx: duties.taken(tx, "sweep", now=clock())) is None
    assert await take(other_handle, "b", clock())
    assert not await take(database, "a", clock())
