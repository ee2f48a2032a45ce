"""PostgreSQL notes who writes what only a lane's owner may write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from tests import postgres
from tests.chaos import fences

pytestmark = pytest.mark.slow  # a server of its own

LANE = "INSERT INTO lanes (kind, key, epoch, until, owner) VALUES ($1, $2, 1, 0, $3)"
DELIVERY = """
    INSERT INTO deliveries (id, event_id, endpoint_id, project_id, event_type, status, attempts, created_at, updated_at)
    VALUES ('dlv_1', 'evt_1', 'ep_1', 'prj_1', 'task.succeeded', 'pending', 0, 0, 0)
"""
SETTLE = "UPDATE deliveries SET status = 'delivered'"
BUY = """
    INSERT INTO submissions (id, task_id, number, account, status, deadline_at, created_at)
    VALUES ('sub_1', 'task_1', 1, 'cloudsway', 'intended', 0, 0)
"""
LIVES = {"replica_0": [11, 12], "replica_1": [21]}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server(durable=False) as url:
        yield url


def written(server: str, statement: str, lane: tuple[str, str, str | None]) -> list[str]:
    """What is found after `replica_0` wrote that, while the lane was that owner's."""

    async def play() -> list[str]:
        url = await postgres.database(server, "fences")
        link = await asyncpg.connect(url)
        try:
            await fences.put_up(link)
            await link.execute("ALTER TABLE submissions DROP CONSTRAINT submissions_task_id_fkey")
            await link.execute(DELIVERY)
            await link.execute(LANE, *lane)
            await link.execute("DROP ROLE IF EXISTS replica_0; CREATE ROLE replica_0 LOGIN SUPERUSER")
            hand = await asyncpg.connect(url, user="replica_0")
            await hand.execute(statement)
            await hand.close()
            assert await fences.watched(link) == 1
            return await fences.trespasses(link, LIVES)
        finally:
            await link.close()

    return asyncio.run(play())


@pytest.mark.parametrize("owner", ["11-aa", "12-bb"])
def test_a_lanes_owner_may_settle(server: str, owner: str) -> None:
    assert written(server, SETTLE, ("endpoint", "ep_1", owner)) == []


@pytest.mark.parametrize("owner", ["21-aa", None])
@pytest.mark.parametrize(
    ("statement", "kind", "key"), [(SETTLE, "endpoint", "ep_1"), (BUY, "account", "cloudsway")], ids=["settle", "buy"]
)
def test_whoever_is_not_the_owner_is_found_out(
    server: str, owner: str | None, statement: str, kind: str, key: str
) -> None:
    assert len(written(server, statement, (kind, key, owner))) == 1
