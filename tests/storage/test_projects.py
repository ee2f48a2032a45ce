from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given

from storage import api_keys, endpoint_secrets, endpoints, project_secrets, projects, signing_keys, tasks
from storage.database import Connection, Database
from storage.errors import Duplicate, Missing
from storage.records import OnAmbiguous, Project
from tests.storage.builders import NOW, PROJECT, api_key, endpoint, plant, project, secret, task
from tests.storage.strategies import ON_ONE_DATABASE, rows
from tests.storage.test_signing_keys import key

example = iter(range(1_000_000))


@ON_ONE_DATABASE
@given(row=rows(Project))
async def test_every_field_of_a_project_survives(database: Database, row: Project) -> None:
    row = replace(row, id=f"prj_{next(example)}", name=f"{next(example)}{row.name}")
    await plant(database, row)
    assert await database.read(lambda tx: projects.get(tx, row.id)) == row
    assert await database.read(lambda tx: projects.by_name(tx, row.name)) == row


async def test_a_project_is_found_by_its_name_or_id(database: Database) -> None:
    await plant(database, project("prj_2", name="shop"))
    for name in ("shop", "prj_2"):
        assert await database.read(lambda tx, name=name: projects.by_name(tx, name)) == project("prj_2", name="shop")  # type: ignore[misc]
    assert await database.read(lambda tx: projects.by_name(tx, "Shop")) is None
    assert await database.read(lambda tx: projects.get(tx, "shop")) is None


async def test_a_name_and_a_policy_are_the_projects_own(database: Database) -> None:
    await plant(database, project("prj_2", name="shop"))
    changed = project("prj_2", name="store", on_ambiguous=OnAmbiguous.RESUBMIT)
    await database.write(lambda tx: projects.save(tx, changed))
    assert await database.read(projects.every) == [project(), changed]
    with pytest.raises(Duplicate, match="name"):
        await database.write(lambda tx: projects.save(tx, project("prj_2", name=project().name)))


async def test_a_name_is_given_once(database: Database) -> None:
    await plant(database, project("prj_2", name="shop"))
    with pytest.raises(Duplicate, match="name"):
        await plant(database, project("prj_3", name="shop"))


async def test_all_projects_are_listed_by_id(database: Database) -> None:
    await plant(database, project("prj_3"), project("prj_2"))
    assert [one.id for one in await database.read(projects.every)] == [PROJECT, "prj_2", "prj_3"]


async def test_touching_changes_nothing(database: Database) -> None:
    rows = "SELECT id, created_at FROM installation"
    before = await database.read(lambda tx: tx.fetch(rows))
    await database.write(projects.touch)
    assert await database.read(lambda tx: tx.fetch(rows)) == before


async def test_pages_go_back_from_the_newest_and_miss_nothing(database: Database) -> None:
    await plant(database, *(project(f"prj_{n}") for n in range(2, 6)))
    seen: list[str] = []
    after: str | None = None
    while batch := await database.read(partial(projects.page, after=after, limit=2)):
        seen += [one.id for one in batch]
        after = seen[-1]
    assert seen == ["prj_5", "prj_4", "prj_3", "prj_2", PROJECT]


async def test_a_project_says_what_it_holds(database: Database) -> None:
    await plant(database, project("prj_2"))
    assert not await database.read(lambda tx: projects.held(tx, PROJECT))
    await plant(database, endpoint("ep_1"), endpoint("ep_2"), endpoint("ep_3", hidden=True), task())

    async def unit(tx: Connection) -> None:
        await api_keys.insert(tx, api_key("key_1"))
        await api_keys.insert(tx, api_key("key_2"))
        await api_keys.revoke(tx, "key_2", now=NOW)
        await endpoints.delete(tx, "ep_2", PROJECT, now=NOW)

    await database.write(unit)
    found = await database.read(lambda tx: projects.held(tx, PROJECT))
    assert (found.keys, found.tasks, found.endpoints, found.events, found.deliveries) == (1, 1, 1, 0, 0)
    assert not await database.read(lambda tx: projects.held(tx, "prj_2"))


async def test_a_project_goes_with_its_settings_and_leaves_the_others(database: Database) -> None:
    await plant(database, project("prj_2"))

    async def furnish(tx: Connection, id: str) -> None:
        await api_keys.insert(tx, api_key(f"key_{id}", project_id=id))
        await api_keys.revoke(tx, f"key_{id}", now=NOW)
        for name, hidden in (("gone", False), ("hidden", True)):
            row = endpoint(f"ep_{id}_{name}", project_id=id, hidden=hidden)
            await endpoints.insert(tx, row)
            await endpoint_secrets.insert(tx, secret(endpoint_id=row.id))
        await endpoints.delete(tx, f"ep_{id}_gone", id, now=NOW)
        await project_secrets.rotate(tx, id, "fresh", now=NOW, retires_at=NOW + 9, most=10)
        await signing_keys.insert(tx, key(f"sgk_{id}", project_id=id))

    for id in (PROJECT, "prj_2"):
        await database.write(lambda tx, id=id: furnish(tx, id))  # type: ignore[misc]
    assert await database.write(lambda tx: projects.delete(tx, "prj_2"))
    assert not await database.write(lambda tx: projects.delete(tx, "prj_2"))
    for table in ("projects", "api_keys", "project_secrets", "signing_keys"):
        text = f"SELECT count(*) FROM {table}"  # noqa: S608 (ours)
        assert await database.read(lambda tx, text=text: tx.fetch(text)) == [(1,)], table  # type: ignore[misc]
    assert await database.read(lambda tx: tx.fetch("SELECT count(*) FROM endpoints")) == [(2,)]


@pytest.mark.parametrize("what", ["key", "task", "endpoint"])
async def test_a_project_that_is_referred_to_stays_with_all_it_has(database: Database, what: str) -> None:
    await plant(database)

    async def unit(tx: Connection) -> None:
        await project_secrets.rotate(tx, PROJECT, "fresh", now=NOW, retires_at=NOW + 9, most=10)
        if what == "key":
            await api_keys.insert(tx, api_key())
        elif what == "task":
            await tasks.insert(tx, task())
        else:
            await endpoints.insert(tx, endpoint())

    await database.write(unit)
    with pytest.raises(Missing):
        await database.write(lambda tx: projects.delete(tx, PROJECT))
    live = await database.read(lambda tx: project_secrets.live(tx, PROJECT, now=NOW))
    assert len(live) == 2
