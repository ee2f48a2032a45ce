"""What only PostgreSQL has: other writers, connections that are lost, settings of a role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from storage import migrate, postgres, projects
from storage.database import Connection
from storage.errors import Duplicate, StorageError, Unavailable
from storage.postgres import PostgresDatabase
from tests.storage.builders import project
from tests.storage.conftest import emptied

ROLE = "ALTER ROLE CURRENT_USER"
ADD = "UPDATE projects SET forgotten = forgotten + 1 WHERE id = :id"
KILL = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'taskrelay' AND pid <> pg_backend_pid()
"""

# Waits until all sessions but this one are gone, no longer than a statement may take.
ALONE = """
    DO $$ BEGIN
        WHILE EXISTS (SELECT 1 FROM pg_stat_activity WHERE application_name = 'taskrelay' AND datname = current_database()) LOOP
            PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
        END LOOP;
    END $$
"""


@pytest.fixture
async def address(postgres_database: str) -> str:
    return await emptied(postgres_database)


@pytest.fixture
async def handles(address: str) -> AsyncIterator[tuple[PostgresDatabase, PostgresDatabase]]:
    """Two replicas' views of one database with two projects."""
    one, other = await PostgresDatabase.open(address), await PostgresDatabase.open(address)
    for name in ("prj_a", "prj_b"):
        await one.write(lambda tx, name=name: projects.insert(tx, project(name)))  # type: ignore[misc]
    yield one, other
    for handle in (one, other):
        await handle.close()


async def forgotten(database: PostgresDatabase) -> dict[str, int]:
    rows = await database.read(lambda tx: tx.fetch("SELECT id, forgotten FROM projects"))
    return {str(name): int(str(count)) for name, count in rows}


async def order(address: str, sql: str) -> None:
    link = await asyncpg.connect(address)
    try:
        await link.execute(sql)
    finally:
        await link.close()


async def test_nobody_serves_alone_so_who_starts_ends_no_lease_of_the_others(
    handles: tuple[PostgresDatabase, PostgresDatabase],
) -> None:
    assert [handle.claim_serving() for handle in handles] == [False, False]


async def test_two_that_lock_in_opposite_orders_both_get_through(
    handles: tuple[PostgresDatabase, PostgresDatabase],
) -> None:
    first: dict[str, asyncio.Event] = {"prj_a": asyncio.Event(), "prj_b": asyncio.Event()}

    async def both(tx: Connection, mine: str, then: str) -> None:
        await tx.fetch(ADD, {"id": mine})
        first[mine].set()
        await first[then].wait()  # each holds one now and wants the other's: the server breaks one of them off
        await tx.fetch(ADD, {"id": then})

    one, other = handles
    await asyncio.gather(
        one.write(lambda tx: both(tx, "prj_a", "prj_b")), other.write(lambda tx: both(tx, "prj_b", "prj_a"))
    )
    assert await forgotten(one) == {"prj_a": 2, "prj_b": 2}


async def test_writes_and_reads_outlive_the_loss_of_every_connection(
    address: str, handles: tuple[PostgresDatabase, PostgresDatabase]
) -> None:
    one, other = handles

    async def slow(tx: Connection) -> None:
        await tx.fetch(ADD, {"id": "prj_a"})
        if not lost.done():
            await order(address, KILL)  # before its commit: rolled back, and run again
            lost.set_result(None)

    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await one.write(slow)
    await order(address, KILL)  # idle connections are gone too
    await other.write(lambda tx: tx.fetch(ADD, {"id": "prj_a"}))
    assert (await forgotten(one))["prj_a"] == 2


@pytest.mark.parametrize("committed", [True, False])
async def test_a_lost_answer_to_a_commit_is_asked_for_and_nothing_is_done_twice(
    handles: tuple[PostgresDatabase, PostgresDatabase], monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    plain, losses = asyncpg.transaction.Transaction.commit, [1]

    async def commit(self: asyncpg.transaction.Transaction) -> None:
        if losses and losses.pop():
            await (plain(self) if committed else self.rollback())
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        await plain(self)

    monkeypatch.setattr(asyncpg.transaction.Transaction, "commit", commit)
    one, _ = handles
    await one.write(lambda tx: tx.fetch(ADD, {"id": "prj_a"}))
    assert (await forgotten(one))["prj_a"] == 1


async def test_a_duplicate_names_the_columns_as_the_other_engine_does(
    handles: tuple[PostgresDatabase, PostgresDatabase],
) -> None:
    one, _ = handles
    with pytest.raises(Duplicate) as refused:
        await one.write(lambda tx: projects.insert(tx, project("prj_a", name="another")))
    assert refused.value.constraint == "projects.id"


async def test_text_that_cannot_be_stored_is_ours_to_prevent_and_no_outage(
    handles: tuple[PostgresDatabase, PostgresDatabase],
) -> None:
    one, _ = handles
    with pytest.raises(StorageError) as refused:
        await one.write(lambda tx: projects.insert(tx, project("prj_c", name="a\0b")))
    assert not isinstance(refused.value, Unavailable)


@pytest.mark.parametrize("value", [2**70, "a", "\ud800"])
async def test_a_value_that_cannot_be_sent_fails_alone_and_at_once(
    handles: tuple[PostgresDatabase, PostgresDatabase], value: object
) -> None:
    one, _ = handles
    wrong = "UPDATE projects SET forgotten = :value, name = :name WHERE id = 'prj_a'"
    if isinstance(value, str) and value != "a":
        params: dict[str, object] = {"value": 0, "name": value}
    else:
        params = {"value": value, "name": "n"}
    units = [one.write(lambda tx: tx.fetch(ADD, {"id": "prj_b"})) for _ in range(5)]
    one._groups._patience = 600.0
    async with asyncio.timeout(60):  # an outage would be waited for ten times as long
        outcomes = await asyncio.gather(*units, one.write(lambda tx: tx.fetch(wrong, params)), return_exceptions=True)
    assert type(outcomes[-1]) is StorageError
    assert await forgotten(one) == {"prj_a": 0, "prj_b": 5}


async def test_the_units_beside_one_that_fails_share_a_commit_all_the_same(
    handles: tuple[PostgresDatabase, PostgresDatabase],
) -> None:
    one, _ = handles

    async def add(tx: Connection) -> str:
        await tx.fetch(ADD, {"id": "prj_a"})
        [(number,)] = await tx.fetch("SELECT pg_current_xact_id()::text")
        return str(number)

    async def poison(tx: Connection) -> str:
        raise LookupError("mine")

    units = [one.write(poison if n == 7 else add) for n in range(20)]
    outcomes = await asyncio.gather(*units, return_exceptions=True)
    assert isinstance(outcomes.pop(7), LookupError)
    assert len(set(map(str, outcomes))) == 1
    assert (await forgotten(one))["prj_a"] == 19


async def test_a_group_that_fails_only_as_a_whole_runs_unit_by_unit(
    handles: tuple[PostgresDatabase, PostgresDatabase],
) -> None:
    one, _ = handles
    breaks = "UPDATE projects SET name = :name WHERE id = :id"  # last, and a name is taken

    async def unit(tx: Connection, name: str) -> None:
        await tx.fetch(ADD, {"id": "prj_a"})
        await tx.lastly(breaks, {(name,): {"id": "prj_a", "name": name}}, lambda _, other: other)

    outcomes = await asyncio.gather(
        *(one.write(lambda tx, name=name: unit(tx, name)) for name in ("x", "name of prj_b", "y")),  # type: ignore[misc]
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Duplicate, type(None)]
    assert (await forgotten(one))["prj_a"] == 2


async def test_nobody_there_is_an_outage() -> None:
    with pytest.raises(Unavailable):
        await PostgresDatabase.open("postgresql://nobody@127.0.0.1:1/none")


@pytest.mark.parametrize(
    ("spoil", "mend", "told"),
    [
        (f"{ROLE} SET synchronous_commit = 'off'", f"{ROLE} RESET synchronous_commit", "synchronous_commit is off"),
        ("DELETE FROM migrations", None, "Run: taskrelay db migrate"),
        (
            "INSERT INTO migrations VALUES (9999, 'later', 9999, 0)",
            "DELETE FROM migrations WHERE number = 9999",
            "install the newer release",
        ),
    ],
)
async def test_a_database_that_would_lose_or_misread_is_refused(
    address: str, spoil: str, mend: str | None, told: str
) -> None:
    link = await asyncpg.connect(address)
    kept = await link.fetch("SELECT * FROM migrations")
    try:
        await link.execute(spoil)
        with pytest.raises(StorageError, match=told):
            await PostgresDatabase.open(address)
    finally:
        if mend:
            await link.execute(mend)
        else:
            await link.executemany("INSERT INTO migrations VALUES ($1, $2, $3, $4)", [tuple(row) for row in kept])
        await link.close()


async def test_the_time_outs_of_the_role_hold_for_every_connection(address: str) -> None:
    database = await PostgresDatabase.open(address)
    try:
        for name, value in migrate.TIMEOUTS.items():
            assert await database.read(lambda tx, name=name: tx.fetch(f"SHOW {name}")) == [(value,)]  # type: ignore[misc]
    finally:
        await database.close()


async def test_a_migration_that_changes_a_column_fails_nobody_who_had_prepared_its_statements(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and new release serve side by side, and a plan of before is refused: on a new connection it is made anew."""
    monkeypatch.setattr(postgres, "READ_PATIENCE_SECONDS", 60.0)
    database = await PostgresDatabase.open(address)
    admin = await asyncpg.connect(address)

    async def asked(tx: Connection) -> list[tuple[object, ...]]:
        return await tx.fetch("SELECT forgotten FROM projects WHERE id = :id", {"id": "prj_1"})

    try:
        await database.write(lambda tx: projects.insert(tx, project()))
        for change in ("numeric", "bigint"):
            assert [await database.read(asked), await database.write(asked)] == [[(0,)], [(0,)]]
            await admin.execute(f"ALTER TABLE projects ALTER COLUMN forgotten TYPE {change}")
        assert [await database.read(asked), await database.write(asked)] == [[(0,)], [(0,)]]
    finally:
        await admin.execute("ALTER TABLE projects ALTER COLUMN forgotten TYPE bigint")
        await admin.close()
        await database.close()


async def test_a_server_that_ends_idle_sessions_is_no_outage(address: str) -> None:
    database = await PostgresDatabase.open(f"{address}&idle_session_timeout=50ms")
    admin = await asyncpg.connect(address)
    try:
        for n in range(3):
            await database.write(lambda tx, n=n: projects.insert(tx, project(f"prj_{n}")))  # type: ignore[misc]
            assert len(await database.read(lambda tx: tx.fetch("SELECT id FROM projects"))) == n + 1
            await admin.execute(ALONE)
    finally:
        await admin.close()
        await database.close()
