from __future__ import annotations

import pytest

from service.cli.hearing import SUBSCRIBE, unheard
from storage.records import EndpointStatus
from tests.service.pipeline.parties import Clock
from tests.service.pipeline.rig import Rig, open_rig


@pytest.fixture
async def still(tmp_path: object) -> object:
    made = await open_rig(tmp_path, Clock(), None)  # type: ignore[arg-type]
    yield made
    await made.close()


async def test_it_is_said_until_somebody_names_events_of_accounts(still: Rig) -> None:
    project = await still.project()
    await still.endpoint(project, events="*")
    await still.endpoint(project, events="account.paused", status=EndpointStatus.DISABLED)
    said = await unheard(still.database, still.clock())
    assert said is not None and said[1] == SUBSCRIBE
    await still.endpoint(project, events="task.failed,account.paused")
    assert await unheard(still.database, still.clock()) is None
