from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.pipeline.key_use import KeyUse
from storage import api_keys
from storage.database import Database, open_database
from storage.errors import StorageError
from tests import engines
from tests.storage.builders import api_key, plant
from tests.storage.conftest import Clock


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    clock = Clock()
    opened = await open_database(await engines.address(tmp_path, clock), clock=clock)
    await plant(opened)
    for id in ("key_1", "key_2"):
        await opened.write(lambda tx, id=id: api_keys.insert(tx, api_key(id)))  # type: ignore[misc]
    yield opened
    await opened.close()


async def last(database: Database) -> list[int | None]:
    page = await database.read(lambda tx: api_keys.page(tx, None, after=None, limit=9))
    return [one.last_used_at for one in reversed(page)]


async def test_many_uses_are_one_write_and_none_is_none(database: Database) -> None:
    use = KeyUse()
    for now in range(1, 100):
        use.note("key_1", now)
    use.note("key_2", 7)
    assert await last(database) == [None, None]
    assert await use.store(database) == 2
    assert await last(database) == [99, 7]
    assert await use.store(database) == 0


async def test_of_two_processes_the_later_use_stays(database: Database) -> None:
    one, two = KeyUse(), KeyUse()
    one.note("key_1", 5)
    two.note("key_1", 9)
    assert (await two.store(database), await one.store(database)) == (1, 0)
    assert await last(database) == [9, None]


async def test_what_could_not_be_written_is_written_the_next_time(database: Database, tmp_path: Path) -> None:
    use = KeyUse()
    use.note("key_1", 5)
    use.note("key_2", 5)
    broken = await open_database(f"sqlite:///{tmp_path}/broken.db", clock=Clock())
    await broken.close()
    with pytest.raises(StorageError):
        await use.store(broken)
    use.note("key_2", 6)
    assert await use.store(database) == 2
    assert await last(database) == [5, 6]


def test_this_process_knows_of_a_use_before_it_is_written() -> None:
    use = KeyUse()
    assert use.last(api_key()) is None and use.last(api_key(last_used_at=3)) == 3
    use.note("key_1", 5)
    assert [use.last(api_key(last_used_at=at)) for at in (None, 3, 8)] == [5, 5, 8]
