from __future__ import annotations

from storage.database import Database
from storage.moving import marks


async def test_a_database_says_when_it_was_given_up(database: Database) -> None:
    assert await database.read(marks.moved_at) is None
    await database.write(lambda tx: tx.fetch("UPDATE installation SET moved_at = 5"))
    assert await database.read(marks.moved_at) == 5
    await database.write(lambda tx: tx.fetch("DELETE FROM installation"))
    assert await database.read(marks.moved_at) is None
