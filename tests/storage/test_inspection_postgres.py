"""A real server, looked at and migrated by the role that owns it and by one that may do less."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from storage import inspection, inspection_postgres, migrate, projects
from storage.database import open_database
from storage.errors import StorageError, Unavailable
from tests.storage.builders import project

pytestmark = pytest.mark.slow

ROLE = f"relay_{os.getpid()}"

OWNED = """
    INSERT INTO lanes (kind, key, epoch, owner, until) VALUES ('endpoint', 'b', 1, '8-x', 1),
    ('endpoint', 'a', 1, '7-x', (extract(epoch FROM clock_timestamp() + interval '30 seconds') * 1000000)::bigint)
"""


def clock() -> int:
    return time.time_ns() // 1000


@pytest.fixture
async def empty(postgres_server: str) -> AsyncIterator[str]:
    """The URL of a database without a schema."""
    name = f"empty_{os.getpid()}"
    link = await asyncpg.connect(postgres_server)
    try:
        await link.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await link.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
        await link.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await link.execute(f"DROP ROLE IF EXISTS {ROLE}")
    finally:
        await link.close()


async def order(url: str, sql: str) -> None:
    link = await asyncpg.connect(url)
    try:
        await link.execute(sql)
    finally:
        await link.close()


def as_role(url: str) -> str:
    return f"{url}&user={ROLE}".replace("postgres:@", "").replace("postgres@", "")


async def test_of_several_migrators_one_works_and_all_end_well(empty: str) -> None:
    names = [name for _, name, _ in migrate.migrations()]
    assert (await inspection.inspect(empty, clock=clock)).pending == tuple(names)
    with pytest.raises(StorageError, match=r"the schema lacks .* Run: taskrelay db migrate"):
        await open_database(empty, clock=clock)
    applied = await asyncio.gather(*(inspection.bring_up(empty, clock=clock) for _ in range(4)))
    assert sorted(applied) == [[], [], [], names]
    seen = await inspection.inspect(empty, clock=clock)
    assert (seen.pending, seen.lacking, seen.timeouts) == ((), (), migrate.TIMEOUTS)
    assert seen.ahead_seconds is not None and abs(seen.ahead_seconds) < 1
    assert seen.connections == 0 and seen.standby is False and seen.replicas == ()


async def test_who_owns_lanes_is_seen_while_the_lease_runs(empty: str) -> None:
    await inspection.bring_up(empty, clock=clock)
    await order(empty, OWNED)
    [one] = (await inspection.inspect(empty, clock=clock)).replicas
    assert (one.owner, one.lanes) == ("7-x", 1) and 20 < one.seconds <= 30


async def test_a_role_that_may_not_make_tables_is_told_who_may(empty: str) -> None:
    await order(empty, f"CREATE ROLE {ROLE} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(StorageError, match=f"user {ROLE} may not do that.*GRANT CREATE ON SCHEMA public TO {ROLE}"):
        await inspection.bring_up(as_role(empty), clock=clock)
    assert (await inspection.inspect(as_role(empty), clock=clock)).schema == 0


async def test_a_role_is_let_serve_by_who_migrates_for_it(empty: str) -> None:
    await order(empty, f"CREATE ROLE {ROLE} LOGIN")
    await inspection.bring_up(empty, clock=clock)
    for ask in (inspection.inspect, open_database):
        with pytest.raises(StorageError, match=f"Let its owner run: taskrelay db migrate --role {ROLE}"):
            await ask(as_role(empty), clock=clock)
    await order(empty, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
    lacking = (await inspection.inspect(as_role(empty), clock=clock)).lacking
    assert {"tasks", "installation"} <= {*lacking} and "migrations" not in lacking
    await inspection.bring_up(empty, clock=clock, role=ROLE)
    seen = await inspection.inspect(as_role(empty), clock=clock)
    assert (seen.role, seen.lacking, seen.timeouts) == (ROLE, (), migrate.TIMEOUTS)
    await (await open_database(as_role(empty), clock=clock)).close()
    await order(empty, f"DROP OWNED BY {ROLE}")
    with pytest.raises(StorageError, match="Make it: CREATE ROLE"):
        await inspection.bring_up(empty, clock=clock, role="nobody_at_all")


async def test_a_database_that_others_use_too_has_a_schema_of_ours(empty: str) -> None:
    """Their tables are not ours to grant, nor to complain about; theirs may have the names of ours."""
    theirs = "CREATE TABLE strange (x int); CREATE TABLE tasks (x int); CREATE SCHEMA relay"
    await order(empty, f"CREATE ROLE {ROLE} LOGIN; {theirs}")
    ours = f"{empty}&search_path=relay"
    await inspection.bring_up(ours, clock=clock, role=ROLE)
    seen = await inspection.inspect(as_role(ours), clock=clock)
    assert (seen.schema, seen.lacking, seen.timeouts) == (seen.newest, (), migrate.TIMEOUTS)
    database = await open_database(as_role(ours), clock=clock)
    try:
        await database.write(lambda tx: projects.insert(tx, project("prj_a")))
    finally:
        await database.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await order(as_role(empty), "SELECT * FROM public.tasks")
    await order(empty, f"DROP OWNED BY {ROLE}")


async def test_who_was_not_let_serve_does_not_move_the_feed(empty: str) -> None:
    await order(empty, f"CREATE ROLE {ROLE} LOGIN")
    await inspection.bring_up(empty, clock=clock)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await order(as_role(empty), "SELECT feed_go_on(1::bigint << 60)")
    await inspection.bring_up(empty, clock=clock, role=ROLE)
    await order(as_role(empty), "SELECT feed_go_on(1)")
    await order(empty, f"DROP OWNED BY {ROLE}")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_character_is_refused(empty: str, encoding: str) -> None:
    name = urlsplit(empty).path.strip("/")
    template = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    server = urlunsplit(urlsplit(empty)._replace(path="/postgres"))
    await order(server, f"DROP DATABASE {name}")
    await order(server, f"CREATE DATABASE {name} {template}")
    with pytest.raises(StorageError, match=f"{encoding}. Make it anew: createdb --encoding=UTF8"):
        await inspection.bring_up(empty, clock=clock)


async def test_a_migration_takes_as_long_as_it_takes(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection_postgres, "ANSWER_SECONDS", 0.2)
    link = await asyncpg.connect(empty)
    try:
        async with link.transaction():
            await link.execute(migrate.ONE_MIGRATOR)
            waiting = asyncio.create_task(inspection.bring_up(empty, clock=clock))
            done, _ = await asyncio.wait([waiting], timeout=0.8)
            assert not done
        assert await waiting
    finally:
        await link.close()


async def test_a_server_that_is_not_there_and_a_database_that_is_not_are_told_apart(empty: str) -> None:
    with pytest.raises(Unavailable, match=r"nobody listens at 127\.0\.0\.1:1"):
        await inspection.inspect("postgresql://u:secret@127.0.0.1:1/x", clock=clock)
    for ask in (inspection.inspect, open_database):
        with pytest.raises(StorageError, match=r"has no database nothere\. Make it: createdb nothere"):
            await ask(urlunsplit(urlsplit(empty)._replace(path="/nothere")), clock=clock)
