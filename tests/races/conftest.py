"""Two replicas of the flow on one PostgreSQL, each with its own connections. Every test here needs that server, so all are slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.pipeline.accounts import Callbacks
from storage.database import open_database
from tests import postgres
from tests.service.pipeline.parties import Clock
from tests.service.pipeline.rig import Rig
from tests.storage.conftest import emptied


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    with postgres.server(durable=False, settings="max_connections = 200") as address:
        yield address


@pytest.fixture(scope="session")
def one_database(database_server: str) -> str:
    return asyncio.run(postgres.database(database_server, "taskrelay_races"))


@pytest.fixture
async def address(one_database: str) -> str:
    return await emptied(one_database)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def replicas(address: str, clock: Clock, tmp_path: Path) -> AsyncIterator[tuple[Rig, Rig]]:
    """Nothing is sent: there is nobody at the other end."""
    made = [
        Rig(path=tmp_path, clock=clock, database=await open_database(address, clock=clock), owner=owner)
        for owner in ("one", "two")
    ]
    for rig in made:
        rig.account(callbacks=Callbacks.TRUST)
    yield made[0], made[1]
    for rig in made:
        await rig.close()
