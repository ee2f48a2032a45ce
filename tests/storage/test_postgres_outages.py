"""A server that is restarted, full of connections, kept waiting by a stopped client, or silent: bounded, and nothing lost or done twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from storage import connecting, lanes, migrate, postgres, projects
from storage.database import Connection
from storage.errors import CommitUnknown, Unavailable
from storage.postgres import PostgresDatabase
from storage.records import LaneKind
from tests.chaos.server import Server, serving
from tests.postgres import database as new_database
from tests.storage.builders import project
from tests.storage.conftest import emptied
from tests.wires import Wire

pytestmark = pytest.mark.slow

TOTAL = "prj_total"
ADD = "UPDATE projects SET forgotten = forgotten + 1 WHERE id = :id"
CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
COUNT = "SELECT forgotten FROM projects WHERE id = :id"
ROLE = "taskrelay_crowded"

# Stops itself in the middle of a unit, with a row locked, and ends when that unit is through.
CLIENT = """
import asyncio, os, signal, sys
from storage.postgres import PostgresDatabase

async def main():
    database = await PostgresDatabase.open(sys.argv[1])
    stopped = []

    async def unit(tx):
        await tx.fetch(sys.argv[2], {"id": sys.argv[3]})
        if not stopped:
            stopped.append(True)
            os.kill(os.getpid(), signal.SIGSTOP)

    await database.write(unit)
    await database.close()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Durable, and of this module's own."""
    with serving() as made:
        yield made


@pytest.fixture
async def address(postgres_database: str) -> str:
    return await emptied(postgres_database)


@pytest.fixture
async def wire(address: str) -> AsyncIterator[Wire]:
    parts = urlsplit(address)
    folder = parse_qs(parts.query)["host"][0]
    async with Wire(f"{folder}/.s.PGSQL.5432") as made:
        yield made


async def run(address: str, *commands: str) -> None:
    link = await asyncpg.connect(address)
    try:
        for command in commands:
            await link.execute(command)
    finally:
        await link.close()


async def burned(address: str, numbers: int) -> int:
    """The number of a transaction, so many later."""
    link = await asyncpg.connect(address)
    try:
        for _ in range(numbers):
            await link.execute("SELECT pg_current_xact_id()")
        return int(await link.fetchval("SELECT pg_current_xact_id()::text"))
    finally:
        await link.close()


def wired(address: str, wire: Wire) -> str:
    return f"postgresql://postgres@127.0.0.1:{wire.port}{urlsplit(address).path}"


async def begun(address: str) -> PostgresDatabase:
    database = await PostgresDatabase.open(address)
    await database.write(lambda tx: projects.insert(tx, project(TOTAL)))
    return database


async def total(database: PostgresDatabase) -> int:
    [(count,)] = await database.read(lambda tx: tx.fetch(COUNT, {"id": TOTAL}))
    return int(str(count))


class Writer:
    """Writes rows one group after another through its own handle, and keeps what it was told of each."""

    def __init__(self, name: str, database: PostgresDatabase) -> None:
        self.name, self.database = name, database
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.ending = False
        self.progress = asyncio.Condition()

    async def work(self) -> None:
        number = 0
        while not self.ending:
            names = [f"prj_{self.name}_{number + n}" for n in range(8)]
            number += len(names)
            await asyncio.gather(*map(self._write, names), *(self._read() for _ in range(6)))
            async with self.progress:
                self.progress.notify_all()

    async def _write(self, name: str) -> None:
        async def unit(tx: Connection) -> None:
            await projects.insert(tx, project(name))  # a second time would be a duplicate, and end the test
            await tx.fetch(ADD, {"id": TOTAL})

        try:
            await self.database.write(unit)
            self.acknowledged.add(name)
        except Unavailable:
            self.refused.add(name)
        except CommitUnknown:
            self.unknown.add(name)

    async def _read(self) -> None:
        with contextlib.suppress(Unavailable):
            await total(self.database)

    async def gets_on(self) -> None:
        wanted = len(self.acknowledged) + 40
        async with self.progress:
            await self.progress.wait_for(lambda: len(self.acknowledged) >= wanted)


async def test_a_server_that_is_restarted_again_and_again_loses_nothing_acknowledged_and_does_nothing_twice(
    server: Server,
) -> None:
    await server.make([])
    one = await begun(server.url)
    other = await PostgresDatabase.open(server.url)
    writers = [Writer("a", one), Writer("b", other)]
    working = [asyncio.create_task(writer.work()) for writer in writers]
    try:
        for mode in ("immediate", "fast", "immediate", "fast", "immediate"):
            await asyncio.gather(*(writer.gets_on() for writer in writers))
            await server.restart(mode)
        await asyncio.gather(*(writer.gets_on() for writer in writers))  # without opening anything anew
        for writer in writers:
            writer.ending = True
        await asyncio.gather(*working)
        stored = {found.id for found in await one.read(projects.every)} - {TOTAL}
        assert await total(other) == len(stored)  # each unit's two writes, together and once
    finally:
        for writing in working:
            writing.cancel()
        await asyncio.gather(one.close(), other.close())
    acknowledged = set[str]().union(*(writer.acknowledged for writer in writers))
    unknown = set[str]().union(*(writer.unknown for writer in writers))
    assert acknowledged <= stored
    assert stored <= acknowledged | unknown  # what was refused was not written


async def test_a_server_without_a_free_connection_is_waited_for_and_then_an_outage(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(postgres, "READ_PATIENCE_SECONDS", 1.0)
    parts = urlsplit(address)
    await run(
        address,
        f"DROP ROLE IF EXISTS {ROLE}",
        f"CREATE ROLE {ROLE} LOGIN",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}",
        *(f"ALTER ROLE {ROLE} SET {name} = '5s'" for name in migrate.TIMEOUTS),
    )
    as_role = parts._replace(netloc=f"{ROLE}@").geturl()
    database = await begun(as_role)
    kick = f"ALTER ROLE {ROLE} CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"  # noqa: S608
    try:
        await run(address, kick)
        with pytest.raises(Unavailable, match="too many connections"):
            await database.write(lambda tx: tx.fetch(ADD, {"id": TOTAL}))
        with pytest.raises(Unavailable):
            await total(database)
        database._groups._patience = 60.0
        monkeypatch.setattr(postgres, "READ_PATIENCE_SECONDS", 60.0)
        writing = asyncio.create_task(database.write(lambda tx: tx.fetch(ADD, {"id": TOTAL})))
        reading = asyncio.create_task(total(database))
        await asyncio.sleep(0)
        await run(address, f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
        await asyncio.gather(writing, reading)
        assert await total(database) == 1
    finally:
        await database.close()
        await run(address, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


async def test_what_a_stopped_client_had_locked_is_free_again_and_it_writes_once_when_it_goes_on(address: str) -> None:
    database = await begun(address)
    timeout = "idle_in_transaction_session_timeout"
    name = urlsplit(address).path[1:]
    set_to = f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {timeout} = "
    await run(address, f"{set_to} '1s'")
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, address, ADD, TOTAL), cwd=Path(__file__).parents[2]
    )
    try:
        while "T" not in Path(f"/proc/{client.pid}/stat").read_text().rpartition(")")[2].split()[0]:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
        began = time.monotonic()
        await database.write(lambda tx: tx.fetch(ADD, {"id": TOTAL}))
        assert time.monotonic() - began < 9.0  # and not for as long as it is patient
        os.kill(client.pid, signal.SIGCONT)
        assert await client.wait() == 0
        assert await total(database) == 2
    finally:
        with contextlib.suppress(ProcessLookupError):
            client.kill()
        await run(address, f"{set_to} '10s'")
        await database.close()


async def test_a_server_that_says_nothing_is_an_outage_in_bounded_time_and_no_reason_to_start_again(
    address: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("ANSWER", 5.0), ("CLOSE", 0.5), ("PATIENCE", 4.5)):
        monkeypatch.setattr(postgres, f"{name}_SECONDS", seconds)
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 2.5)
    database = await begun(wired(address, wire))
    try:
        under_way = asyncio.Event()

        async def unit(tx: Connection) -> None:
            under_way.set()
            wire.silent = True
            await tx.fetch(ADD, {"id": TOTAL})

        began = time.monotonic()
        first = asyncio.create_task(database.write(unit))
        await under_way.wait()
        behind = [database.write(lambda tx: tx.fetch(ADD, {"id": TOTAL})) for _ in range(20)]
        outcomes = await asyncio.gather(first, total(database), *behind, return_exceptions=True)
        assert (
            time.monotonic() - began < 9.3
        )  # the seconds for an answer, once: not twice, nor with patience after them
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        wire.silent = False
        await database.write(lambda tx: tx.fetch(ADD, {"id": TOTAL}))
        assert await total(database) == 1
    finally:
        await database.close()


async def test_a_commit_whose_answer_never_comes_is_asked_after_on_another_connection(
    address: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "ANSWER_SECONDS", 1.0)
    database = await begun(wired(address, wire))
    try:

        async def unit(tx: Connection) -> None:
            await tx.fetch(ADD, {"id": TOTAL})
            wire.swallow_answers_after(b"COMMIT")

        await database.write(unit)
        assert await total(database) == 1
        assert wire.swallowed
    finally:
        await database.close()


@pytest.mark.parametrize("how", ["by a new connection", "behind a pooler", "by others that went on"])
async def test_a_server_that_has_lost_what_it_committed_is_written_to_no_more(
    server: Server, address: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As after the promotion of a standby that was behind: the name leads to a server whose numbers are lower, or were just now."""
    name = urlsplit(address).path.strip("/")
    behind = await new_database(server.url.replace("/chaos", "/postgres"), name)
    while await burned(address, 100) < await burned(behind, 0) + 50:
        pass
    folder = parse_qs(urlsplit(address).query)["host"][0]
    async with Wire(f"{folder}/.s.PGSQL.5432") as wire:
        database = await begun(wired(address, wire))
        there = None
        try:
            await database.write(arrival)
            if how == "behind a pooler":
                there = await PostgresDatabase.open(behind)
                database._link, there._link = there._link, database._link  # what a pooler does between two transactions
            else:
                wire.lead_to(server.socket_path)
                await run(address, CUT)
            if how == "by others that went on":
                past = await burned(address, 0)
                while await burned(behind, 0) < past:
                    await run(behind, *["BEGIN; SELECT pg_current_xact_id(); ROLLBACK"] * 50)
            for _ in range(2):
                with pytest.raises(Unavailable, match="taskrelay db restored"):
                    await database.write(lambda tx: projects.insert(tx, project("prj_late")))
            assert [one.levelname for one in caplog.records if "older copy" in one.message] == ["CRITICAL"]
            assert await rows_of(behind, "SELECT 1 FROM projects") == []
        finally:
            await database.close()
            if there is not None:
                await there.close()


async def test_a_crash_that_forgets_a_commit_of_nothing_is_no_loss(server: Server) -> None:
    """It has a number, and is not synced: after the crash the number is somebody else's."""
    database = await PostgresDatabase.open(await new_database(server.url.replace("/chaos", "/postgres"), "idle"))
    try:
        await database.write(arrival)
        for _ in range(20):
            await database.write(lambda tx: tx.fetch(COUNT, {"id": TOTAL}))
        await server.restart("immediate")
        await database.write(arrival)
    finally:
        await database.close()


async def arrival(tx: Connection) -> None:
    await lanes.arrive(tx, {(LaneKind.ENDPOINT, "ep_1"): 1})


async def rows_of(address: str, text: str) -> list[tuple[object, ...]]:
    link = await asyncpg.connect(address)
    try:
        return [tuple(row) for row in await link.fetch(text)]
    finally:
        await link.close()
