from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.bootstrap.stores import open_store
from service.bootstrap.tenants import Refused, Tenants
from storage.errors import Missing
from tests.dumps import dump
from tests.service.bootstrap.given import settings


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Tenants]:
    async with open_store(settings(tmp_path)) as (database, keyring):
        yield Tenants(database, keyring)


async def made(own: Tenants, name: str, **more: Any) -> dict[str, Any]:
    return await own.make_key(name=name, scopes=more.pop("scopes", ["tasks"]), project=more.pop("project", None))


async def test_keys_are_made_listed_page_by_page_and_revoked(own: Tenants) -> None:
    keys = [await made(own, f"k{n}") for n in range(3)]
    assert all(key["key"].startswith(key["prefix"]) for key in keys)
    first: Any = await own.keys(project=None, limit=2, after=None)
    rest: Any = await own.keys(project="default", limit=2, after=first["next"])
    listed = [*first["data"], *rest["data"]]
    assert {one["name"] for one in listed} == {"k0", "k1", "k2"} and rest["next"] is None
    assert not any("key" in one for one in listed)
    gone = await own.revoke_key(keys[0]["id"], last_admin=False)
    assert gone["revoked_at"] is not None
    assert (await own.revoke_key(keys[0]["id"], last_admin=False))["revoked_at"] == gone["revoked_at"]


async def test_the_last_admin_is_asked_about(own: Tenants) -> None:
    key = await made(own, "admin", scopes=["admin"])
    with pytest.raises(Refused, match="--last-admin"):
        await own.revoke_key(key["id"], last_admin=False)
    assert (await own.revoke_key(key["id"], last_admin=True))["revoked_at"] is not None
    with pytest.raises(Refused, match="there is no key key_x"):
        await own.revoke_key("key_x", last_admin=False)


async def test_a_project_is_made_shown_changed_and_deleted_by_its_name(own: Tenants) -> None:
    project: Any = await own.make_project({"name": "shop", "max_open_tasks": 5})
    secret = project.pop("webhook_secret")
    assert await own.project("shop") == await own.project(project["id"]) == project
    assert project["max_open_tasks"] == 5 and secret.startswith("whsec_")
    changed: Any = await own.change_project("shop", {"name": "store", "max_open_tasks": None})
    assert (changed["id"], changed["name"], changed["max_open_tasks"]) == (project["id"], "store", None)
    rotated: Any = await own.rotate_secret("store", overlap_seconds=None)
    assert rotated["webhook_secret"] not in (secret, None)
    kept = await dump(own._database)
    assert secret not in kept and rotated["webhook_secret"] not in kept
    page: Any = await own.projects(limit=1, after=None)
    assert [one["name"] for one in page["data"]] == ["store"]
    assert await own.delete_project("store") == {"object": "project", "id": project["id"], "deleted": True}
    with pytest.raises(Missing, match="there is no project 'store'"):
        await own.project("store")


async def test_current_is_the_default_project(own: Tenants) -> None:
    with pytest.raises(Missing):
        await own.project("current")
    key = await made(own, "k")
    assert (await own.project("current"))["id"] == key["project"]


async def test_what_cannot_be_says_why(own: Tenants) -> None:
    key = await made(own, "k")
    await own.make_project({"name": "shop"})
    for order in (own.make_project({"name": "shop"}), own.change_project("default", {"name": "shop"})):
        with pytest.raises(Refused, match='There is a project "shop" already'):
            await order
    with pytest.raises(Refused, match="/on_ambiguous "):
        await own.make_project({"name": "x", "on_ambiguous": "sometimes"})
    with pytest.raises(Refused, match=r"keys in force \(1\)"):
        await own.delete_project(str(key["project"]))
    with pytest.raises(Refused, match="no cursor"):
        await own.projects(limit=5, after="***")
