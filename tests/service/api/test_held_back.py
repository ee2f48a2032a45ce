"""Replicas that tell at once: a client of the feed waits for the slower one, is rung by nobody, and gets both in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.pipeline.watch import Watch
from storage.database import Database, open_database
from tests import engines
from tests.service.api.house import House, until
from tests.service.api.test_stream import serving
from tests.storage.conftest import Clock
from tests.storage.test_feed_held import under_way

pytestmark = pytest.mark.skipif(
    not engines.POSTGRES, reason="the embedded engine has one writer, which holds nothing back"
)

NEVER = 3600.0  # nobody looks again by himself but for what is held


@pytest.fixture
async def neighbour(tmp_path: Path, clock: Clock, house: House) -> AsyncIterator[Database]:
    """Another replica's handle."""
    database = await open_database(await engines.address(tmp_path, clock), clock=clock)
    yield database
    await database.close()


async def test_a_stream_sends_what_was_held_as_soon_as_it_may(house: House, neighbour: Database) -> None:
    async with serving(house, watch=Watch(look_again_seconds=NEVER)) as site, site.stream() as link:
        first = site.event()
        async with under_way(neighbour, first):
            [second] = await site.tell()
            assert (await site.client.get("/v1/events")).json()["data"] == []
        assert [(await link.event())["id"] for _ in range(2)] == [first.id, second]


async def test_a_wait_ends_with_what_was_held(house: House, neighbour: Database) -> None:
    async with serving(house, watch=Watch(look_again_seconds=NEVER)) as site:
        first = site.event()
        async with under_way(neighbour, first):
            [second] = await site.tell()
            waiting = asyncio.create_task(site.client.get("/v1/events?wait=30"))
            await until(lambda: site.house.context.watch.waiting == 1)
        found = (await asyncio.wait_for(waiting, 30)).content
        assert found.index(first.body) < found.index(second.encode())


async def test_who_knows_an_event_from_its_delivery_misses_none_that_will_stand_before_it(
    house: House, neighbour: Database
) -> None:
    async with serving(house) as site:
        first = site.event()
        async with under_way(neighbour, first):
            [second] = await site.tell()
            begun = (await site.client.get(f"/v1/events?after={second}")).json()
            assert begun["data"] == []
        found = (await site.client.get(f"/v1/events?after={begun['next']}")).content
        assert found.index(first.body) < found.index(second.encode())
