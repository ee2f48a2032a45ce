"""Behind a real PgBouncer in transaction mode, with a server connection fewer than there are of ours: what must hold there too."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from service.cli.demo.stage import free_port
from storage import lanes, migrate, projects, tasks
from storage.database import Connection, Postgres, apart
from storage.errors import Busy
from storage.postgres import PostgresDatabase
from storage.records import LaneKind
from tests.storage.builders import ACCOUNT, ACCOUNT_LANE, LONG_AGO, NOW, plant, project, stored, task
from tests.storage.conftest import emptied

pytestmark = pytest.mark.slow

POOLED = Postgres(notify=False, prepared=False)
ADD = "UPDATE projects SET forgotten = forgotten + 1 WHERE id = :id"
SETTINGS = """
[databases]
* = host={folder} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_round_robin = 1
logfile = {here}/log
"""


def listens(port: int) -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def pooler(postgres_server: str) -> Iterator[int]:
    """The port of a PgBouncer before the server."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "pgbouncer is missing: .ci/tools installs it, or apt-get install pgbouncer"
    here, port = Path(mkdtemp(prefix="taskrelay-pgbouncer-")), free_port()
    here.chmod(0o777)  # it refuses to run as root
    folder = parse_qs(urlsplit(postgres_server).query)["host"][0]
    (here / "pgbouncer.ini").write_text(SETTINGS.format(folder=folder, port=port, here=here))
    other_user = {"user": os.stat(folder).st_uid} if os.geteuid() == 0 else {}  # the server's: its socket is private
    running = subprocess.Popen([program, "-q", str(here / "pgbouncer.ini")], **other_user)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 60
        while not listens(port):
            assert running.poll() is None and time.monotonic() < deadline, (here / "log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        running.terminate()
        running.wait(60)
        shutil.rmtree(here)


@pytest.fixture
async def address(postgres_database: str) -> str:
    """Past the pooler."""
    return await emptied(postgres_database)


@pytest.fixture
async def handles(address: str, pooler: int) -> AsyncIterator[tuple[PostgresDatabase, PostgresDatabase]]:
    pooled = f"postgresql://postgres@127.0.0.1:{pooler}{urlsplit(address).path}"
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(2):
            opened.append(await PostgresDatabase.open(pooled, POOLED))
            stack.push_async_callback(opened[-1].close)
        yield opened[0], opened[1]


async def test_writers_and_readers_on_more_connections_than_the_pooler_has_lose_nothing(
    handles: tuple[PostgresDatabase, PostgresDatabase],
) -> None:
    one, other = handles
    await plant(one, task())

    async def count(tx: Connection) -> None:
        found = (await tasks.lock(tx, ["task_1"]))["task_1"]
        await tasks.save(tx, [(replace(found, version=found.version + 1), found)])
        await lanes.arrive(tx, {ACCOUNT_LANE: NOW, (LaneKind.ENDPOINT, "ep_1"): NOW})

    async def read(handle: PostgresDatabase) -> int:
        first = (await stored(handle)).version
        return (await stored(handle)).version - first

    work = [handle.write(count) for handle in handles for _ in range(40)]
    reads = [read(handle) for handle in handles for _ in range(20)]
    _, seen = await asyncio.gather(asyncio.gather(*work), asyncio.gather(*reads))
    assert (await stored(other)).version == 80
    assert min(seen) >= 0


async def test_a_lane_is_claimed_once_and_given_back(handles: tuple[PostgresDatabase, PostgresDatabase]) -> None:
    one, _ = handles
    await one.write(lambda tx: lanes.arrive(tx, {ACCOUNT_LANE: LONG_AGO}))
    claims = [
        handle.write(
            apart(lambda tx, n=n: lanes.claim(tx, owner=f"{n}", accounts=[ACCOUNT], now=NOW, ttl_seconds=60, batch=5))  # type: ignore[misc]
        )
        for n, handle in enumerate(handles)
    ]
    [lane] = [lane for taken in await asyncio.gather(*claims) for lane in taken]
    assert await one.write(lambda tx: lanes.hold(tx, lane))


async def test_the_time_outs_of_the_role_hold_behind_it(handles: tuple[PostgresDatabase, PostgresDatabase]) -> None:
    one, _ = handles
    for name, value in migrate.TIMEOUTS.items():
        assert await one.read(lambda tx, name=name: tx.fetch(f"SHOW {name}")) == [(value,)]  # type: ignore[misc]


async def test_a_row_that_somebody_keeps_locked_is_waited_for_no_longer_than_agreed(
    address: str, handles: tuple[PostgresDatabase, PostgresDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = handles
    await one.write(lambda tx: projects.insert(tx, project("prj_a")))
    one._groups._patience = 1.0
    link = await asyncpg.connect(address)
    try:
        async with link.transaction():
            await link.execute("UPDATE projects SET forgotten = 1")
            began = time.monotonic()
            with pytest.raises(Busy):
                await one.write(lambda tx: tx.fetch(ADD, {"id": "prj_a"}))
            assert time.monotonic() - began < 9.0  # the server itself lets nobody wait for more than 2 s at a time
    finally:
        await link.close()


async def test_lost_connections_on_either_side_of_it_are_made_anew(
    address: str, handles: tuple[PostgresDatabase, PostgresDatabase]
) -> None:
    one, other = handles
    await one.write(lambda tx: projects.insert(tx, project("prj_a")))
    for _ in range(3):
        link = await asyncpg.connect(address)
        await link.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await link.close()
        await asyncio.gather(*(handle.write(lambda tx: tx.fetch(ADD, {"id": "prj_a"})) for handle in handles))
    assert await other.read(lambda tx: tx.fetch("SELECT forgotten FROM projects")) == [(6,)]


@pytest.mark.parametrize("committed", [True, False])
async def test_what_became_of_a_commit_is_told_through_it(
    handles: tuple[PostgresDatabase, PostgresDatabase], monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    one, _ = handles
    await one.write(lambda tx: projects.insert(tx, project("prj_a")))
    plain, losses = asyncpg.transaction.Transaction.commit, [1]

    async def commit(self: asyncpg.transaction.Transaction) -> None:
        if losses and losses.pop():
            await (plain(self) if committed else self.rollback())
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        await plain(self)

    monkeypatch.setattr(asyncpg.transaction.Transaction, "commit", commit)
    await one.write(lambda tx: tx.fetch(ADD, {"id": "prj_a"}))
    assert await one.read(lambda tx: tx.fetch("SELECT forgotten FROM projects")) == [(1,)]
