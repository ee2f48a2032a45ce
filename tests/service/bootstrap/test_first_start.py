from __future__ import annotations

from pathlib import Path

import pytest

from service.bootstrap.first_start import FirstKey, admin_key_file, first_start
from service.bootstrap.keys import key_for
from service.bootstrap.stores import open_store
from service.pipeline.keys import digest
from service.settings import load
from storage import api_keys
from storage.errors import StorageError
from tests.service.bootstrap.given import NEW, settings

ON_POSTGRES = {"TASKRELAY_DATABASE_URL": "postgresql://db/relay", "TASKRELAY_SECRET_KEYS": NEW}


async def start(folder: Path, *, shown: bool) -> tuple[FirstKey | None, int]:
    """What a start made, and how many keys there are then."""
    async with open_store(settings(folder)) as (database, keyring):
        made = await first_start(settings(folder), database, keyring, shown=shown)
        return made, await database.read(api_keys.count)


async def opens(folder: Path, key: str) -> bool:
    async with open_store(settings(folder)) as (database, _):
        found = await database.read(lambda tx: api_keys.by_digest(tx, digest(key.encode())))
        return found is not None and found.scopes == {"admin"}


async def test_where_nobody_looks_the_key_is_left_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    made, count = await start(tmp_path, shown=False)
    path = tmp_path / "taskrelay.admin-key"
    assert made == FirstKey(file=path) and count == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert await opens(tmp_path, path.read_text().strip())
    left = path.read_bytes()
    assert await start(tmp_path, shown=False) == (None, 1)
    assert path.read_bytes() == left


async def test_before_a_person_it_is_shown_and_left_nowhere(tmp_path: Path) -> None:
    made, count = await start(tmp_path, shown=True)
    assert made is not None and made.key is not None and count == 1
    assert await opens(tmp_path, made.key)
    assert made.key not in repr(made)
    assert made.key.encode() not in on_disk(tmp_path)
    assert await start(tmp_path, shown=True) == (None, 1)


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def hidden(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("shown", [True, False])
async def test_who_made_a_key_before_needs_no_other(tmp_path: Path, shown: bool) -> None:
    async with open_store(settings(tmp_path)) as (database, keyring):
        await key_for(database, keyring, name="me", scopes=["tasks"])
    assert await start(tmp_path, shown=shown) == (None, 1)
    assert not (tmp_path / "taskrelay.admin-key").exists()


async def test_a_file_that_a_kill_left_is_replaced_by_one_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "taskrelay.admin-key"
    path.write_text("trk_opens_nothing\n")
    path.chmod(0o644)
    made, _ = await start(tmp_path, shown=False)
    assert made == FirstKey(file=path) and path.stat().st_mode & 0o777 == 0o600
    assert await opens(tmp_path, path.read_text().strip())
    assert b"opens_nothing" not in on_disk(tmp_path)
    assert not hidden(tmp_path)


async def test_a_key_that_could_not_be_stored_is_left_in_no_file(tmp_path: Path) -> None:
    async with open_store(settings(tmp_path)) as (database, keyring):
        await database.write(lambda tx: tx.fetch("ALTER TABLE api_keys RENAME TO elsewhere"))
        with pytest.raises(StorageError):
            await first_start(settings(tmp_path), database, keyring, shown=False)
    assert not (tmp_path / "taskrelay.admin-key").exists()


async def test_a_file_that_cannot_be_written_makes_no_key(tmp_path: Path) -> None:
    (tmp_path / "taskrelay.admin-key").mkdir()
    async with open_store(settings(tmp_path)) as (database, keyring):
        with pytest.raises(OSError):
            await first_start(settings(tmp_path), database, keyring, shown=False)
        assert await database.read(api_keys.count) == 0


async def test_on_a_server_nobody_looks_at_none_is_made(tmp_path: Path) -> None:
    elsewhere = load(ON_POSTGRES)
    assert admin_key_file(elsewhere) is None
    async with open_store(settings(tmp_path)) as (database, keyring):
        assert await first_start(elsewhere, database, keyring, shown=False) is None
        assert await database.read(api_keys.count) == 0
