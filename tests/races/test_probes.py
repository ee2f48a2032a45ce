"""Readiness is asked of every replica every second: each proves a write, and none waits for another's."""

from __future__ import annotations

import pytest

from storage import projects
from tests.races.replicas import hand
from tests.service.pipeline.rig import Rig

pytestmark = pytest.mark.slow

SYNCED = "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint"


async def test_a_probe_reaches_the_disk(replicas: tuple[Rig, Rig]) -> None:
    one, _ = replicas
    before = await one.rows(SYNCED)
    await one.database.write(projects.touch)
    assert await one.rows(SYNCED) > before


async def test_a_probe_waits_for_nobody(replicas: tuple[Rig, Rig], address: str) -> None:
    one, two = replicas
    async with hand(address) as third:
        await third.run("SELECT 1 FROM installation FOR UPDATE")
        for rig in (one, two):
            await rig.database.write(projects.touch)
