from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from service.core import signature
from service.core.keys import Keyring
from service.pipeline.keys import FORM, LastAdmin, MadeKey, digest, first_key, fresh_text, make_key, revoke_key
from service.pipeline.projects import TenantDesk
from storage import api_keys, audit, projects
from storage.database import Connection, Database, open_database
from storage.errors import Missing
from tests import engines
from tests.storage.conftest import Clock

RING = Keyring([b"k" * 32])
numbers = itertools.count()


async def make(database: Database, *scopes: str, name: str = "me", project: str | None = None) -> MadeKey:
    return await make_key(
        database,
        RING,
        name=name,
        scopes=scopes or ("tasks",),
        project=project,
        clock=Clock(),
        mint=lambda prefix: f"{prefix}_{next(numbers)}",
        entropy=secrets.token_bytes,
    )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    clock = Clock()
    opened = await open_database(await engines.address(tmp_path, clock), clock=clock)
    yield opened
    await opened.close()


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_only_a_digest_of_the_key_is_kept(database: Database, tmp_path: Path) -> None:
    made = await make(database, "tasks", "read")
    assert FORM.fullmatch(made.key.encode())
    stored = await database.read(lambda tx: api_keys.by_digest(tx, digest(made.key.encode())))
    assert stored is not None and (stored.id, stored.scopes) == (made.id, frozenset({"tasks", "read"}))
    assert made.key.encode() not in on_disk(tmp_path)
    assert made.key not in repr(made)


async def test_two_keys_differ(database: Database) -> None:
    assert (await make(database)).key != (await make(database)).key


async def test_the_default_project_is_made_once_with_a_sealed_secret(database: Database) -> None:
    first, second = await make(database), await make(database)
    [project] = await database.read(projects.every)
    assert (project.name, {first.project_id, second.project_id}) == ("default", {project.id})
    assert len(signature.decode_secret(RING.open(project.secret, "project-secret"))) == 24


async def test_a_project_is_named_by_name_or_id(database: Database) -> None:
    first = await make(database)
    assert (await make(database, project=first.project_id)).project_id == first.project_id
    with pytest.raises(Missing, match="there is no project 'shop'; there is: default"):
        await make(database, project="shop")


@pytest.mark.parametrize(
    ("scopes", "name", "said"),
    [(("task",), "me", "no scope task"), (("tasks",), "", "printable"), (("tasks",), "a\nb", "printable")],
)
async def test_a_key_that_makes_no_sense_is_refused(
    database: Database, scopes: tuple[str, ...], name: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await make(database, *scopes, name=name)
    assert await database.read(api_keys.count) == 0


def desk_of(database: Database, by: str | None = None) -> TenantDesk:
    return TenantDesk(
        database=database,
        keyring=RING,
        clock=Clock(),
        mint=lambda prefix: f"{prefix}_{next(numbers):06d}",
        entropy=secrets.token_bytes,
        by=by,
    )


async def acts(database: Database, project_id: str) -> list[tuple[str, str | None, object]]:
    found = await database.read(lambda tx: audit.page(tx, project_id, after=None, limit=20))
    return sorted((one.action, one.key_id, orjson.loads(one.detail).get("by")) for one in found)


async def test_the_trail_says_who_made_and_who_revoked_a_key(database: Database) -> None:
    made = await make(database)
    assert await acts(database, made.project_id) == [("key.create", None, "command")]
    for _ in range(2):
        assert await revoke_key(desk_of(database, by="key_9"), made.id, project_id=None, last_admin=False)
    assert await acts(database, made.project_id) == [("key.create", None, "command"), ("key.revoke", "key_9", None)]


async def test_a_key_of_another_project_is_not_there_to_be_revoked(database: Database) -> None:
    made = await make(database)
    assert await revoke_key(desk_of(database), made.id, project_id="prj_x", last_admin=False) is None
    assert await revoke_key(desk_of(database), "key_x", project_id=None, last_admin=False) is None
    assert await database.read(api_keys.count) == 1


async def test_the_last_admin_stays_unless_it_is_said(database: Database) -> None:
    one, two, _ = await make(database, "admin"), await make(database, "admin", "tasks"), await make(database, "tasks")
    assert await revoke_key(desk_of(database), one.id, project_id=None, last_admin=False)
    with pytest.raises(LastAdmin):
        await revoke_key(desk_of(database), two.id, project_id=None, last_admin=False)
    assert await database.read(api_keys.count) == 2
    assert await revoke_key(desk_of(database), one.id, project_id=None, last_admin=False), "it is revoked already"
    assert await revoke_key(desk_of(database), two.id, project_id=None, last_admin=True)
    assert await database.read(api_keys.count) == 1


async def test_the_first_key_is_made_in_an_empty_database_alone(database: Database) -> None:
    text = fresh_text(secrets.token_bytes)
    made = await first_key(desk_of(database), text)
    assert made is not None and made.scopes == {"admin"} and made.key == text
    stored = await database.read(lambda tx: api_keys.by_digest(tx, digest(text.encode())))
    assert stored is not None and (stored.id, stored.prefix) == (made.id, text[:12])
    assert await first_key(desk_of(database), fresh_text(secrets.token_bytes)) is None
    await revoke_key(desk_of(database), made.id, project_id=None, last_admin=True)
    assert await first_key(desk_of(database), fresh_text(secrets.token_bytes)) is None, "whoever took all away meant it"


async def test_what_goes_with_a_key_is_stored_with_it_or_neither_is(database: Database) -> None:
    async def broken(tx: Connection, made: MadeKey) -> None:
        raise RuntimeError("the answer cannot be kept")

    with pytest.raises(RuntimeError):
        await make_key(
            database, RING, name="me", scopes=("tasks",), clock=Clock(), mint=lambda prefix: f"{prefix}_1",
            entropy=secrets.token_bytes, also=broken,
        )  # fmt: skip
    assert await database.read(api_keys.count) == 0 and await database.read(projects.every) == []
