from __future__ import annotations

from pathlib import Path

import pytest

from service.bootstrap.errors import StartError
from service.bootstrap.keys import key_for
from service.bootstrap.opening import open_service
from service.bootstrap.stores import open_store
from storage import lanes
from storage.database import Connection
from storage.records import LaneKind
from tests.service.bootstrap.given import NEW, OLD, settings


async def test_serving_without_the_key_that_sealed_the_secrets_is_refused(tmp_path: Path) -> None:
    async with open_store(settings(tmp_path, TASKRELAY_SECRET_KEYS=OLD)) as (database, keyring):
        await key_for(database, keyring, name="me", scopes={"tasks"})  # makes the project, and seals its secret
    with pytest.raises(StartError, match=f"sealed with key {keyring.key_ids[0]}") as told:
        async with open_service(settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW)):
            pass
    assert OLD not in str(told.value)
    async with open_service(settings(tmp_path, TASKRELAY_SECRET_KEYS=f"{NEW},{OLD}")) as service:
        assert service.keyring.key_ids[1] == keyring.key_ids[0]


async def test_a_database_that_was_moved_elsewhere_is_not_served_and_stays_as_it_is(tmp_path: Path) -> None:
    async def moved(tx: Connection) -> None:
        await lanes.arrive(tx, {(LaneKind.ENDPOINT, "ep_1"): 1})
        await lanes.claim(tx, owner="one", accounts=[], now=2, ttl_seconds=60, batch=1)
        await tx.fetch("UPDATE installation SET moved_at = 1790000000000000")

    async with open_store(settings(tmp_path)) as (database, _):
        await database.write(moved)
    with pytest.raises(StartError, match="was moved to another at 2026-09-21T"):
        async with open_service(settings(tmp_path)):
            pass
    async with open_store(settings(tmp_path)) as (database, _):
        lane = await database.read(lambda tx: lanes.get(tx, LaneKind.ENDPOINT, "ep_1"))
        assert lane is not None and lane.owner == "one"
