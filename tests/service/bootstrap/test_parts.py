from __future__ import annotations

from pathlib import Path

import pytest

from service.bootstrap.opening import open_service
from storage.records import LaneKind
from tests.service.bootstrap.given import NEW, settings


@pytest.mark.parametrize(
    ("roles", "loops", "endless"),
    [
        ("api", ["durations", "key use"], 0),
        ("work", ["heartbeat", "durations", "silence", "sweep", "retention"], 1),
        ("api,work", ["heartbeat", "durations", "key use", "silence", "sweep", "retention"], 1),
    ],
)
async def test_each_role_runs_what_it_needs(tmp_path: Path, roles: str, loops: list[str], endless: int) -> None:
    async with open_service(settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW, TASKRELAY_ROLES=roles)) as service:
        assert [loop.name for loop in service.loops] == loops and len(service.endless) == endless


async def test_a_ring_reaches_our_own_lanes(tmp_path: Path) -> None:
    async with open_service(settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW)) as service:
        service.lanes._next_claim_at = None
        service.ring((LaneKind.ENDPOINT, "ep_1"), 5)
        assert service.lanes._next_claim_at == 5
