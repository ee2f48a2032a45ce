from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.pipeline.parties import Clock, open_network
from tests.service.pipeline.rig import Rig, open_rig


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def still(tmp_path: Path, clock: Clock) -> AsyncIterator[Rig]:
    """The flow without the other parties: nothing is sent."""
    made = await open_rig(tmp_path, clock, None)
    made.account()
    try:
        yield made
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
    finally:
        for server in network.servers:
            await server.stop()
        await made.close()
