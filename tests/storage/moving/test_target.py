"""The PostgreSQL end by itself: a batch and its place are one, and half a house is opened by nobody."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from storage.database import open_database
from storage.errors import StorageError, Unavailable
from storage.moving import source as sources
from storage.moving import target as targets
from storage.moving.tables import Table
from storage.moving.target import START, Place
from tests.storage.conftest import Clock
from tests.storage.moving.house import NOW, furnished

PROJECTS = 2
AFTER = Place(key=("b",), rows=PROJECTS, digest="b")
REST = ("s", "hold", 0, None, None, None, None, 0, 1)
ROWS = [("a", "name of a", *REST), ("b", "name of b", *REST)]


@pytest.fixture
def tables(tmp_path: Path) -> list[Table]:
    with sources.opened(furnished(tmp_path / "t.db", rows=1), NOW) as source:
        return list(source.tables)


def projects(tables: list[Table]) -> Table:
    [found] = [table for table in tables if table.name == "projects"]
    return found


@pytest.mark.parametrize("url", ["postgresql://u:p@ss:word@host:x/n", "postgresql://u:password@127.0.0.1:1/none"])
async def test_a_database_that_cannot_be_reached_is_told_without_its_password(url: str) -> None:
    with pytest.raises(StorageError) as refused:
        async with targets.opened(url):
            pass
    assert not {"p@ss", "word@", "password@127"} & set(str(refused.value).split()) and "word@host:x" not in str(
        refused.value
    )


async def test_nobody_there_is_an_outage() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        async with targets.opened("postgresql://nobody@127.0.0.1:1/none"):
            pass


@pytest.mark.slow
async def test_a_database_that_is_not_migrated_is_refused_with_the_command(postgres_server: str) -> None:
    with pytest.raises(StorageError, match="Run: taskrelay db migrate"):
        async with targets.opened(postgres_server):
            pass


@pytest.mark.slow
async def test_nobody_opens_half_a_house(new_house: str, tables: list[Table], clock: Clock) -> None:
    async with targets.opened(new_house) as target:
        await target.begin("house", tables)
        with pytest.raises(StorageError, match="Go on with the command of before: taskrelay db copy"):
            await open_database(new_house, clock=clock)
        await target.settle(0)
        await target.finish()
    await (await open_database(new_house, clock=clock)).close()


@pytest.mark.slow
async def test_a_batch_and_its_place_are_there_together_or_not_at_all(new_house: str, tables: list[Table]) -> None:
    table = projects(tables)
    async with targets.opened(new_house) as target:
        await target.begin("house", tables)
        await target.append(table, ROWS, START, AFTER)
        with pytest.raises(StorageError, match="another `taskrelay db copy`"):
            await target.append(table, [("c", "c", *REST)], START, AFTER)
        with pytest.raises(asyncpg.UniqueViolationError):
            await target.append(table, ROWS, AFTER, Place(key=("c",), rows=3, digest="c"))
        ledger = await target.ledger()
        assert ledger is not None and ledger.places["projects"] == AFTER
        [last] = [found async for found in target.checksum(table)][-1:]
        assert last.rows == PROJECTS


@pytest.mark.slow
async def test_a_run_that_starts_over_finds_nothing_of_the_one_before(new_house: str, tables: list[Table]) -> None:
    async with targets.opened(new_house) as target:
        await target.begin("house", tables)
        await target.append(projects(tables), ROWS, START, AFTER)
        await target.settle(5)
        await target.begin_anew(tables)
        ledger = await target.ledger()
        assert ledger is not None and not ledger.verified
        assert set(ledger.places.values()) == {START}
        assert await target.taken(tables) == []


@pytest.mark.slow
async def test_a_schema_that_lacks_something_is_refused_by_its_name(new_house: str, tables: list[Table]) -> None:
    link = await asyncpg.connect(new_house)
    await link.execute("ALTER TABLE audit DROP COLUMN detail")
    await link.close()
    async with targets.opened(new_house) as target:
        with pytest.raises(StorageError, match=r"lacks audit\.detail"):
            await target.refuse_strange(tables)


@pytest.mark.slow
async def test_whoever_may_not_make_tables_is_told_who_may(new_house: str, tables: list[Table]) -> None:
    link = await asyncpg.connect(new_house)
    try:
        await link.execute("CREATE ROLE only_serves; GRANT SELECT ON ALL TABLES IN SCHEMA public TO only_serves")
        with pytest.raises(StorageError, match="Run it as the owner"):
            async with targets.opened(new_house) as target:
                await target._link.execute("SET ROLE only_serves")
                await target.begin("house", tables)
    finally:
        await link.execute("DROP OWNED BY only_serves; DROP ROLE only_serves")
        await link.close()
