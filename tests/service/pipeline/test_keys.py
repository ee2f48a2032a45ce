from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.core import signature
from service.core.keys import Keyring
from service.pipeline.keys import FORM, MadeKey, digest, make_key
from storage import projects
from storage.database import Database, open_database
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
    stored = await database.read(lambda tx: projects.key_by_digest(tx, digest(made.key.encode())))
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
    assert await database.read(projects.count_keys) == 0
