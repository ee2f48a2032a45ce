from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.bootstrap.errors import StartError
from service.bootstrap.keys import key_for
from service.bootstrap.stores import open_alone, open_store, postgres_of, replay_of
from service.settings import load
from storage import projects
from storage.errors import StorageError
from tests.service.bootstrap.given import NEW, settings


async def test_a_database_that_cannot_be_opened_leaves_no_key_behind(tmp_path: Path) -> None:
    (tmp_path / "taskrelay.db").mkdir()
    with pytest.raises(StorageError):
        async with open_store(settings(tmp_path)):
            raise AssertionError("it was opened")
    assert os.listdir(tmp_path) == ["taskrelay.db"]


async def test_what_other_keys_have_sealed_is_refused_and_no_key_is_left_behind(tmp_path: Path) -> None:
    async with open_store(settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW)) as (database, keyring):
        await key_for(database, keyring, name="me", scopes={"tasks"})  # makes the project, and seals its secret
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(StartError, match=r"sealed with key .*taskrelay\.secret is missing\. Put it back"):
        async with open_store(settings(tmp_path)):
            raise AssertionError("it was opened")
    async with open_alone(settings(tmp_path)) as database:
        assert await database.read(projects.installation), "what needs no key goes on"
    assert sorted(os.listdir(tmp_path)) == before and "taskrelay.secret" not in before


async def test_without_shared_keys_a_server_is_not_even_tried() -> None:
    with pytest.raises(StartError, match="TASKRELAY_SECRET_KEYS is not set"):
        async with open_store(load({"TASKRELAY_DATABASE_URL": "postgresql://127.0.0.1:1/relay"})):
            raise AssertionError("it was opened")


@pytest.mark.parametrize("pooled", [True, False])
def test_behind_a_pooler_nothing_is_prepared_and_nobody_is_told(pooled: bool) -> None:
    found = postgres_of(load({"TASKRELAY_POSTGRES__POOLED": str(pooled)}))
    assert (found.prepared, found.notify, found.skip_locked) == (not pooled, not pooled, True)


async def test_an_empty_store_has_nothing_to_replay(tmp_path: Path) -> None:
    async with open_store(settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW)) as (database, _):
        assert [page async for page in replay_of(database) if page.tasks] == []
