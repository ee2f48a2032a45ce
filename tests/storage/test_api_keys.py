from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given

from storage import api_keys
from storage.database import Connection, Database
from storage.errors import Duplicate, Missing
from storage.records import ApiKey
from tests.storage.builders import NOW, PROJECT, api_key, plant, project
from tests.storage.strategies import ON_ONE_DATABASE, rows

example = iter(range(1_000_000))


async def stored(database: Database, *keys: ApiKey) -> None:
    async def unit(tx: Connection) -> None:
        for key in keys:
            await api_keys.insert(tx, key)

    await plant(database)
    await database.write(unit)


@ON_ONE_DATABASE
@given(row=rows(ApiKey))
async def test_every_field_of_a_new_key_survives(database: Database, row: ApiKey) -> None:
    id = f"key_{next(example)}"
    row = replace(row, id=id, project_id=PROJECT, digest=id.encode(), last_used_at=None, revoked_at=None)
    await stored(database, row)
    assert await database.read(lambda tx: api_keys.by_digest(tx, id.encode())) == row
    assert await database.read(lambda tx: api_keys.get(tx, id, None)) == row


async def test_a_revoked_key_opens_nothing_does_not_count_and_is_still_shown(database: Database) -> None:
    assert await database.read(api_keys.count) == 0
    await stored(database, api_key("key_1"), api_key("key_2"))
    assert await database.write(lambda tx: api_keys.revoke(tx, "key_1", now=NOW + 5))
    assert not await database.write(lambda tx: api_keys.revoke(tx, "key_1", now=NOW + 6)), "it was revoked before"
    assert await database.read(api_keys.count) == 1
    assert await database.read(lambda tx: api_keys.by_digest(tx, b"key_1")) is None
    assert await database.read(lambda tx: api_keys.by_digest(tx, b"key_2")) == api_key("key_2")
    assert await database.read(lambda tx: api_keys.by_digest(tx, b"KEY_2")) is None
    assert await database.read(lambda tx: api_keys.get(tx, "key_1", PROJECT)) == api_key("key_1", revoked_at=NOW + 5)


async def test_a_key_needs_its_project_and_is_one_of_its_kind(database: Database) -> None:
    with pytest.raises(Missing):
        await database.write(lambda tx: api_keys.insert(tx, api_key()))
    await stored(database, api_key())
    with pytest.raises(Duplicate, match="digest"):
        await stored(database, api_key("key_2", digest=b"key_1"))


async def test_a_project_sees_its_own_keys_alone_and_nobody_in_particular_sees_all(database: Database) -> None:
    await plant(database, project("prj_2"))
    await stored(database, *(api_key(f"key_{n}", project_id=PROJECT if n % 2 else "prj_2") for n in range(1, 6)))

    async def pages(whose: str | None) -> list[str]:
        seen: list[str] = []
        after: str | None = None
        while batch := await database.read(partial(api_keys.page, project_id=whose, after=after, limit=2)):
            seen += [one.id for one in batch]
            after = seen[-1]
        return seen

    assert await pages(PROJECT) == ["key_5", "key_3", "key_1"]
    assert await pages("prj_2") == ["key_4", "key_2"]
    assert await pages(None) == ["key_5", "key_4", "key_3", "key_2", "key_1"]
    assert await database.read(lambda tx: api_keys.get(tx, "key_1", "prj_2")) is None
    assert await database.read(lambda tx: api_keys.get(tx, "key_1", None)) is not None


async def test_keys_that_may_do_everything_are_told_from_those_with_a_like_word(database: Database) -> None:
    await stored(
        database,
        api_key("key_1", scopes=frozenset({"tasks", "admin", "read"})),
        api_key("key_2", scopes=frozenset({"tasks"})),
        api_key("key_3", scopes=frozenset({"admin"})),
        api_key("key_4", scopes=frozenset({"administrator"})),
        api_key("key_5", scopes=frozenset({"admin"})),
    )
    await database.write(lambda tx: api_keys.revoke(tx, "key_5", now=NOW))
    assert await database.write(api_keys.lock_admins) == ["key_1", "key_3"]


async def test_a_use_is_kept_and_an_earlier_one_does_not_come_over_it(database: Database) -> None:
    await stored(database, api_key("key_1"), api_key("key_2"))
    assert await database.write(lambda tx: api_keys.note_use(tx, {"key_2": NOW + 2, "key_1": NOW + 1})) == 2
    assert await database.write(lambda tx: api_keys.note_use(tx, {"key_1": NOW, "key_2": NOW + 3, "key_9": 1})) == 1
    page = await database.read(lambda tx: api_keys.page(tx, None, after=None, limit=9))
    assert [one.last_used_at for one in page] == [NOW + 3, NOW + 1]
