from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.pipeline import replay
from tests.service.pipeline.parties import Clock, open_network
from tests.service.pipeline.rig import Rig, open_rig


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def agrees(rig: Rig) -> None:
    """Whatever a test let happen: every row, event and timeline is what the history of its task gives."""
    await rig.recorder.drain()
    differing = [one async for page in replay.check(rig.database, key=b"ins_test") for one in page.differences]
    assert rig.touched or not differing, "\n".join(map(str, differing))


@pytest.fixture
async def still(tmp_path: Path, clock: Clock) -> AsyncIterator[Rig]:
    """The flow without the other parties: nothing is sent."""
    made = await open_rig(tmp_path, clock, None)
    made.account()
    try:
        yield made
        await agrees(made)
    finally:
        await made.close()


@pytest.fixture
async def rig(tmp_path: Path, clock: Clock) -> AsyncIterator[Rig]:
    """The whole flow, with a provider and a subscriber on real sockets."""
    network = await open_network(clock)
    made = await open_rig(tmp_path, clock, network)
    made.account()
    try:
        yield made
        await agrees(made)
    finally:
        for server in network.servers:
            await server.stop()
        await made.close()
