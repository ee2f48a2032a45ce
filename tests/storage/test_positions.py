"""Where events stand on PostgreSQL: above all that were there, whatever server they came from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from storage import feed, migrate, outbox, positions
from storage.database import Database
from storage.errors import StorageError
from storage.feed import EventFilter
from tests import postgres
from tests.storage.builders import PROJECT, event, plant
from tests.storage.conftest import Clock, opened

pytestmark = pytest.mark.slow

Link = asyncpg.Connection  # of Records
FAR = 1 << 50  # of a server that had come a long way


@pytest.fixture
async def url(postgres_server: str) -> str:
    """Of a database of the test's own: its base stays raised."""
    return await postgres.database(postgres_server, "taskrelay_positions")


@pytest.fixture
async def link(url: str) -> AsyncIterator[Any]:
    made = await asyncpg.connect(url)
    yield made
    await made.close()


async def tell(database: Database, *names: str) -> list[int]:
    """Where they stand."""
    made = [event(name) for name in names]
    await database.write(lambda tx: outbox.publish(tx, made, []))
    found = await database.read(lambda tx: feed.newest_first(tx, PROJECT, EventFilter(), before=None, limit=len(made)))
    return [feed.position(one) for one in reversed(found)]


async def brought(link: Any, position: int) -> None:
    """An event with a place that this server has not come to, as pg_restore or a copy brings it."""
    await link.execute(
        "INSERT INTO events (position, id, project_id, type, sequence, created_at, body, hard, test)"
        " VALUES ($1, $2, $3, 'task.failed', 1, 1, '', 0, 0)",
        *(position, f"evt_at_{position}", PROJECT),
    )


async def test_a_place_is_the_transactions_and_the_turn_in_it(url: str, clock: Clock) -> None:
    async with opened(url, clock) as database:
        first = await tell(database, "evt_a", "evt_b")
        second = await tell(database, "evt_c")
    assert [place % (1 << positions.TURNS) for place in (*first, *second)] == [1, 2, 1]
    assert first[0] >> positions.TURNS == first[1] >> positions.TURNS < second[0] >> positions.TURNS


async def test_a_database_from_a_server_that_was_further_on_is_refused_and_mended_by_the_migration(
    url: str, clock: Clock, link: Any
) -> None:
    await brought(link, FAR)
    with pytest.raises(StorageError, match="Run: taskrelay db migrate"):
        await positions.check(link)
    with pytest.raises(StorageError, match="hand out again"):
        async with opened(url, clock):
            pass
    await migrate.migrate_postgres(link)
    async with opened(url, clock) as database:
        assert (await tell(database, "evt_b"))[0] > FAR
        page = await database.read(lambda tx: feed.page(tx, PROJECT, EventFilter(), after=FAR, limit=9))
        assert [one.id for one in page.events] == ["evt_b"] and not page.held


async def test_what_was_taken_away_counts_as_well_as_what_is_there(url: str, clock: Clock, link: Any) -> None:
    async with opened(url, clock) as database:
        await plant(database)
    await link.execute("UPDATE projects SET forgotten = $1", FAR)
    with pytest.raises(StorageError, match="db migrate"):
        await positions.check(link)


async def test_whoever_has_told_before_goes_on_at_the_new_place_at_once(url: str, clock: Clock, link: Any) -> None:
    """A handle has its statements prepared, and their plans hold what they were made with."""
    async with opened(url, clock) as database:
        for n in range(8):
            await tell(database, f"evt_{n}")
        await link.execute("SELECT feed_go_on($1)", FAR)
        assert (await tell(database, "evt_b"))[0] > FAR


async def test_it_goes_on_once_and_never_back(url: str, link: Any) -> None:
    for above in (FAR, FAR, 5):
        await link.execute("SELECT feed_go_on($1)", above)
    assert 0 < await link.fetchval("SELECT feed_bound()") - FAR < 64 << positions.TURNS
    base = await link.fetchval("SELECT feed_base()")
    await migrate.migrate_postgres(link)
    assert await link.fetchval("SELECT feed_base()") == base


async def test_a_role_that_only_serves_may_have_it_go_on(url: str, link: Any) -> None:
    await link.execute(
        "DROP ROLE IF EXISTS taskrelay_serves; CREATE ROLE taskrelay_serves;"
        "GRANT EXECUTE ON FUNCTION feed_go_on(bigint) TO taskrelay_serves; SET ROLE taskrelay_serves;"
        f"SELECT feed_go_on({FAR}); RESET ROLE; DROP OWNED BY taskrelay_serves; DROP ROLE taskrelay_serves"
    )
    assert await link.fetchval("SELECT feed_bound()") > FAR


async def test_an_event_too_many_for_one_transaction_is_refused_and_takes_nobodys_place(link: Any) -> None:
    tell = "INSERT INTO events (id, project_id, type, sequence, created_at, body, hard, test) VALUES ($1, '', '', 1, 1, '', 0, 0)"
    with pytest.raises(asyncpg.UniqueViolationError, match="events_pkey"):
        async with link.transaction():
            await link.execute(tell, "evt_a")
            await link.execute("SELECT set_config('taskrelay.turn', '1048576', true)")
            await link.execute(tell, "evt_b")
