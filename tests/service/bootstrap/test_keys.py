from __future__ import annotations

import resource
from pathlib import Path

import pytest

from service.bootstrap import first_start, keys
from service.bootstrap.errors import StartError
from service.bootstrap.keys import key_for, keyring_of, reseal_of, seals_of, secret_file
from service.bootstrap.stores import open_store
from service.settings import load
from storage import api_keys
from tests.service.bootstrap.given import NEW, OLD, settings


def test_a_key_that_another_process_made_in_the_same_moment_is_kept(tmp_path: Path) -> None:
    found = keyring_of(settings(tmp_path)).key_ids
    keys._make_secret(tmp_path / "taskrelay.secret")  # what a process does that saw no file a moment ago
    assert keyring_of(settings(tmp_path)).key_ids == found
    assert [path.name for path in tmp_path.iterdir()] == ["taskrelay.secret"]
    assert (tmp_path / "taskrelay.secret").stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="TASKRELAY_DATABASE_URL"):
        keyring_of(settings(tmp_path / "nowhere"))


def test_a_full_disk_leaves_no_half_of_a_key(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))  # as a full disk: a file takes so many bytes and no more
    try:
        with pytest.raises(StartError, match="cannot be made: file too large"):
            keyring_of(settings(tmp_path))
        with pytest.raises(OSError, match="File too large"):
            first_start._write(tmp_path / "taskrelay.admin-key", "trk_" + "k" * 32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_with_postgresql_keys_must_be_given() -> None:
    with pytest.raises(StartError, match="TASKRELAY_SECRET_KEYS is not set"):
        keyring_of(load({"TASKRELAY_DATABASE_URL": "postgresql://db/relay"}))


async def test_a_key_is_made_in_an_open_store(tmp_path: Path) -> None:
    async with open_store(settings(tmp_path)) as (database, keyring):
        made = await key_for(database, keyring, name="me", scopes=["tasks"])
        assert made.key.startswith("trk_") and await database.read(api_keys.count) == 1


def test_the_file_of_the_key_stands_beside_the_database_and_a_server_has_none(tmp_path: Path) -> None:
    assert secret_file(settings(tmp_path)) == tmp_path / "taskrelay.secret"
    assert secret_file(load({"TASKRELAY_DATABASE_URL": "postgresql://db/relay"})) is None


async def test_what_an_old_key_sealed_is_sealed_with_the_new_one(tmp_path: Path) -> None:
    async with open_store(settings(tmp_path, TASKRELAY_SECRET_KEYS=OLD)) as (database, keyring):
        await key_for(database, keyring, name="me", scopes={"tasks"})  # makes the project, and seals its secret
    async with open_store(settings(tmp_path, TASKRELAY_SECRET_KEYS=f"{NEW},{OLD}")) as (database, keyring):
        assert [key for key, count in (await seals_of(database, keyring)).items() if count] == [keyring.key_ids[1]]
        assert [one async for one in reseal_of(database, keyring)]
        assert [key for key, count in (await seals_of(database, keyring)).items() if count] == [keyring.key_ids[0]]
