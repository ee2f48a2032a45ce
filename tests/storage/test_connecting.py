"""Hosts that say nothing, that only read, that are gone: whoever can be written to is found, in the time there is for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from storage import connecting, projects
from storage.connecting import hosts
from storage.errors import Unavailable, Unreached
from storage.postgres import PostgresDatabase
from tests.chaos.server import Server, serving
from tests.storage.builders import project
from tests.storage.conftest import emptied
from tests.wires import Wire


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://relay:a%40b@db.example.org:5433/tasks", []),
        ("postgresql://relay@/tasks?host=/run/postgresql", []),
        ("postgresql://relay@one,two:5433/tasks", [("one", None), ("two", 5433)]),
        ("postgresql://relay:a@[::1]:5432,[::2]/tasks", [("::1", 5432), ("::2", None)]),
        ("postgresql://%2Frun%2Fone,%2Frun%2Ftwo/tasks", [("/run/one", None), ("/run/two", None)]),
        ("postgresql:///tasks?host=one,two&port=1,2", [("one", 1), ("two", 2)]),
        ("postgresql:///tasks?host=one,two&port=7", [("one", 7), ("two", 7)]),
        ("postgresql://one:x,two/tasks", []),
        ("postgresql://[::1,two/tasks", []),
    ],
)
def test_the_hosts_are_told_however_the_url_says_them(url: str, found: list[tuple[str, int | None]]) -> None:
    assert hosts(url) == found


@asynccontextmanager
async def mute() -> AsyncIterator[int]:
    """The port of a machine that takes what is sent and says nothing."""
    leave = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        leave.set()
        server.close()
        await server.wait_closed()


@pytest.mark.slow
async def test_a_host_that_says_nothing_leaves_time_for_the_next(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "HOST_SECONDS", 0.5)
    path, folder = urlsplit(postgres_database).path, parse_qs(urlsplit(postgres_database).query)["host"][0]
    async with mute() as port:
        url = f"postgresql://postgres@127.0.0.1:{port},{quote(folder, safe='')}{path}"
        database = await PostgresDatabase.open(url)
        try:
            assert await database.read(lambda tx: tx.fetch("SELECT 1")) == [(1,)]
        finally:
            await database.close()


@pytest.mark.slow
async def test_of_a_group_that_nobody_lets_in_all_hear_so_after_one_try(
    postgres_server: str, postgres_database: str
) -> None:
    """A try for each would be hundreds of refused log-ins a second, and a server may lock out who does that."""
    url = await emptied(postgres_database)
    name = urlsplit(url).path.strip("/")
    admin = await asyncpg.connect(postgres_server)
    async with Wire(f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.5432") as wire:
        database = await PostgresDatabase.open(f"postgresql://postgres@127.0.0.1:{wire.port}/{name}")
        try:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
            before = wire.connections
            writes = [
                database.write(lambda tx, n=n: projects.insert(tx, project(f"prj_{n}")))  # type: ignore[misc]
                for n in range(40)
            ]
            told = await asyncio.gather(*writes, return_exceptions=True)
            assert {type(error) for error in told} == {Unreached}
            assert (
                wire.connections - before <= 6
            )  # with and without TLS each; the first write may find out on the old one
            with pytest.raises(Unreached, match="not currently accepting connections"):
                await database.read(lambda tx: tx.fetch("SELECT 1"))
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await database.write(lambda tx: projects.insert(tx, project("prj_after")))
        finally:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await database.close()
            await admin.close()


@pytest.fixture(scope="module")
def standby() -> Iterator[Server]:
    """A server that only reads, until it is promoted: nobody sends it anything."""
    with serving(durable=False) as made:
        asyncio.run(made.make([]))
        (made.folder / "standby.signal").touch(0o666)
        asyncio.run(made.restart("fast"))
        yield made


@pytest.mark.slow
async def test_a_standby_is_read_by_nobody_and_passed_over(standby: Server, postgres_database: str) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connecting.connect(standby.url)
    await (await connecting.connect(standby.url, standby=True)).close()
    with pytest.raises(Unavailable):
        await PostgresDatabase.open(standby.url)
    folder = parse_qs(urlsplit(postgres_database).query)["host"][0]
    both = f"postgresql://postgres@{quote(str(standby.folder), safe='')},{quote(folder, safe='')}/postgres"
    found = await connecting.connect(both)
    assert await found.fetchval("SELECT pg_is_in_recovery()") is False
    await found.close()
