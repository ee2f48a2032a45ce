from __future__ import annotations

import asyncio

from storage import durations
from storage.database import Connection, Database
from storage.durations import Kind

FIVE, TEN = Kind("ulazai", "kling-3.0", 5, "pro"), Kind("ulazai", "kling-3.0", 10, "pro")
WHOLE = Kind("ulazai", "kling-3.0")


async def test_what_is_stored_of_a_kind_comes_back(database: Database) -> None:
    stored = {FIVE: "1 50-60", WHOLE: "2 50-60 70", Kind("second", "kling-3.0", 5, "pro"): "1 2"}
    await database.write(lambda tx: durations.save(tx, stored, now=1))
    assert await database.read(lambda tx: durations.every(tx, bound=10)) == stored
    assert len(await database.read(lambda tx: durations.every(tx, bound=2))) == 2
    assert await database.write(lambda tx: durations.lock(tx, [FIVE, TEN])) == {FIVE: "1 50-60", TEN: ""}


async def test_saving_again_replaces(database: Database) -> None:
    for text in ("1 5", "2 5 6"):
        await database.write(lambda tx, text=text: durations.save(tx, {FIVE: text}, now=1))  # type: ignore[misc]
    assert await database.read(lambda tx: durations.every(tx, bound=10)) == {FIVE: "2 5 6"}


async def test_two_that_lock_before_they_save_add_to_one_another(database: Database) -> None:
    await database.write(lambda tx: durations.save(tx, {FIVE: "0"}, now=1))

    async def add(tx: Connection) -> None:
        known = await durations.lock(tx, [FIVE])
        await durations.save(tx, {FIVE: known[FIVE] + " 1"}, now=2)

    await asyncio.gather(*(database.write(add) for _ in range(5)))
    assert (await database.read(lambda tx: durations.every(tx, bound=10)))[FIVE] == "0 1 1 1 1 1"
