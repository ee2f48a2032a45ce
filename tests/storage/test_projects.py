from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from storage import projects
from storage.database import Connection, Database
from storage.errors import Duplicate, Missing
from storage.records import ApiKey, OnAmbiguous, Project
from tests.storage.builders import NOW, PROJECT, plant, project
from tests.storage.strategies import ON_ONE_DATABASE, rows

example = iter(range(1_000_000))


def api_key(id: str = "key_1", **more: object) -> ApiKey:
    row: dict[str, object] = {
        "id": id,
        "project_id": PROJECT,
        "name": "ci",
        "digest": id.encode(),
        "scopes": frozenset({"tasks", "read"}),
        "created_at": NOW,
    }
    return ApiKey(**{**row, **more})  # type: ignore[arg-type]


@ON_ONE_DATABASE
@given(row=rows(Project))
async def test_every_field_of_a_project_survives(database: Database, row: Project) -> None:
    row = replace(row, id=f"prj_{next(example)}", name=f"{next(example)}{row.name}")
    await plant(database, row)
    assert await database.read(lambda tx: projects.get(tx, row.id)) == row
    assert await database.read(lambda tx: projects.by_name(tx, row.name)) == row


@ON_ONE_DATABASE
@given(row=rows(ApiKey))
async def test_every_field_of_a_new_key_survives(database: Database, row: ApiKey) -> None:
    id = f"key_{next(example)}"
    row = replace(row, id=id, project_id=PROJECT, digest=id.encode(), last_used_at=None, revoked_at=None)
    await plant(database)
    await database.write(lambda tx: projects.insert_key(tx, row))
    assert await database.read(lambda tx: projects.key_by_digest(tx, id.encode())) == row


async def test_a_project_is_found_by_its_name_or_id(database: Database) -> None:
    await plant(database, project("prj_2", name="shop"))
    for name in ("shop", "prj_2"):
        assert await database.read(lambda tx, name=name: projects.by_name(tx, name)) == project("prj_2", name="shop")  # type: ignore[misc]
    assert await database.read(lambda tx: projects.by_name(tx, "Shop")) is None
    assert await database.read(lambda tx: projects.get(tx, "shop")) is None


async def test_a_policy_is_the_projects_own(database: Database) -> None:
    await plant(database, project("prj_2", name="shop"))
    await database.write(lambda tx: projects.set_policy(tx, "prj_2", OnAmbiguous.RESUBMIT))
    found = {one.id: one.on_ambiguous for one in await database.read(projects.every)}
    assert found == {PROJECT: OnAmbiguous.HOLD, "prj_2": OnAmbiguous.RESUBMIT}


async def test_a_name_is_given_once(database: Database) -> None:
    await plant(database, project("prj_2", name="shop"))
    with pytest.raises(Duplicate, match="name"):
        await plant(database, project("prj_3", name="shop"))


async def test_all_projects_are_listed_by_id(database: Database) -> None:
    await plant(database, project("prj_3"), project("prj_2"))
    assert [one.id for one in await database.read(projects.every)] == [PROJECT, "prj_2", "prj_3"]


async def test_a_revoked_key_opens_nothing_and_does_not_count(database: Database) -> None:
    await plant(database)

    async def unit(tx: Connection) -> None:
        await projects.insert_key(tx, api_key("key_1"))
        await projects.insert_key(tx, api_key("key_2"))
        await tx.fetch("UPDATE api_keys SET revoked_at = 1 WHERE id = 'key_1'")

    assert await database.read(projects.count_keys) == 0
    await database.write(unit)
    assert await database.read(projects.count_keys) == 1
    assert await database.read(lambda tx: projects.key_by_digest(tx, b"key_1")) is None
    assert await database.read(lambda tx: projects.key_by_digest(tx, b"key_2")) == api_key("key_2")
    assert await database.read(lambda tx: projects.key_by_digest(tx, b"KEY_2")) is None


async def test_a_key_needs_its_project_and_is_one_of_its_kind(database: Database) -> None:
    with pytest.raises(Missing):
        await database.write(lambda tx: projects.insert_key(tx, api_key()))
    await plant(database)
    await database.write(lambda tx: projects.insert_key(tx, api_key()))
    with pytest.raises(Duplicate, match="digest"):
        await database.write(lambda tx: projects.insert_key(tx, api_key("key_2", digest=b"key_1")))


async def test_touching_changes_nothing(database: Database) -> None:
    rows = "SELECT id, created_at FROM installation"
    before = await database.read(lambda tx: tx.fetch(rows))
    await database.write(projects.touch)
    assert await database.read(lambda tx: tx.fetch(rows)) == before
