from __future__ import annotations

from pathlib import Path

import pytest

from service.bootstrap.errors import StartError
from service.bootstrap.keys import key_for
from service.bootstrap.opening import open_service
from service.bootstrap.stores import open_store
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
