from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from service.core import signature
from service.core.keys import Keyring
from service.pipeline.projects import (
    InUse,
    TenantDesk,
    change_project,
    delete_project,
    fresh_project,
    make_project,
    refuse_name,
    rotate_secret,
)
from storage import api_keys, audit, project_secrets, projects
from storage.database import Connection, open_database
from storage.errors import Duplicate
from storage.records import OnAmbiguous, Project
from tests import engines
from tests.storage.builders import NOW, api_key
from tests.storage.conftest import Clock


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TenantDesk]:
    clock, numbers = Clock(), itertools.count()
    opened = await open_database(await engines.address(tmp_path, clock), clock=clock)
    yield TenantDesk(
        database=opened,
        keyring=Keyring([b"k" * 32]),
        clock=clock,
        mint=lambda prefix: f"{prefix}_{next(numbers):03d}",
        entropy=secrets.token_bytes,
    )
    await opened.close()


async def nothing(tx: Connection, project: Project) -> None:
    pass


async def broken(tx: Connection, project: Project) -> None:
    raise RuntimeError("what goes with it cannot be stored")


async def made(desk: TenantDesk, name: str = "shop") -> Project:
    project = fresh_project(desk, name)
    await make_project(desk, project, detail={}, also=nothing)
    return project


async def acts(desk: TenantDesk, project_id: str) -> list[str]:
    found = await desk.database.read(lambda tx: audit.page(tx, project_id, after=None, limit=20))
    return [one.action for one in reversed(found)]


async def signing(desk: TenantDesk, project_id: str) -> list[str]:
    live = await desk.database.read(lambda tx: project_secrets.live(tx, project_id, now=desk.clock()))
    return [desk.keyring.open(one.sealed, "project-secret") for one in live]


async def test_each_project_has_a_secret_of_its_own(desk: TenantDesk) -> None:
    one, two = await made(desk, "one"), await made(desk, "two")
    [first], [second] = await signing(desk, one.id), await signing(desk, two.id)
    assert first != second and len(signature.decode_secret(first)) == 24


@pytest.mark.parametrize("order", ["make", "change", "rotate"])
async def test_what_goes_with_an_order_is_stored_with_it_or_neither_is(desk: TenantDesk, order: str) -> None:
    project = await made(desk)
    before = await signing(desk, project.id)
    with pytest.raises(RuntimeError):
        if order == "make":
            await make_project(desk, fresh_project(desk, "other"), detail={}, also=broken)
        elif order == "change":
            await change_project(
                desk, project.id, name="x", on_ambiguous=None, acts=[("project.change", {})], also=broken
            )
        else:
            await rotate_secret(desk, project.id, "whsec_x", overlap_seconds=1, also=broken)
    assert await desk.database.read(projects.every) == [project]
    assert await signing(desk, project.id) == before
    assert await acts(desk, project.id) == ["project.create"]


async def test_a_change_leaves_what_it_does_not_name(desk: TenantDesk) -> None:
    project = await made(desk)
    detail: Mapping[str, object] = {"name": "store"}
    assert await change_project(
        desk, project.id, name="store", on_ambiguous=None, acts=[("project.change", detail)], also=nothing
    )
    assert await change_project(desk, project.id, name=None, on_ambiguous=OnAmbiguous.RESUBMIT, acts=[], also=nothing)
    found = await desk.database.read(lambda tx: projects.get(tx, project.id))
    assert found is not None and (found.name, found.on_ambiguous) == ("store", OnAmbiguous.RESUBMIT)
    assert not await change_project(desk, "prj_x", name="a", on_ambiguous=None, acts=[("a", {})], also=nothing)
    assert await acts(desk, "prj_x") == []
    await made(desk, "shop")
    with pytest.raises(Duplicate):
        await change_project(desk, project.id, name="shop", on_ambiguous=None, acts=[("a", {})], also=nothing)


async def test_a_rotation_signs_with_both_and_then_with_the_new_one(desk: TenantDesk) -> None:
    project = await made(desk)
    [old] = await signing(desk, project.id)
    fresh = signature.new_secret(b"x" * 24)
    assert await rotate_secret(desk, project.id, fresh, overlap_seconds=10, also=nothing) == []
    assert await signing(desk, project.id) == [fresh, old]
    desk.clock.advance(10)  # type: ignore[attr-defined]
    assert await signing(desk, project.id) == [fresh]
    assert await rotate_secret(desk, "prj_x", fresh, overlap_seconds=10, also=nothing) is None


async def test_a_project_that_holds_something_is_not_deleted(desk: TenantDesk) -> None:
    project = await made(desk)
    await desk.database.write(lambda tx: api_keys.insert(tx, api_key(project_id=project.id)))
    with pytest.raises(InUse) as caught:
        await delete_project(desk, project.id, trail=None)
    assert caught.value.held.keys == 1
    await desk.database.write(lambda tx: api_keys.revoke(tx, "key_1", now=NOW))
    assert await delete_project(desk, project.id, trail=None)
    assert not await delete_project(desk, project.id, trail=None)
    assert await desk.database.read(projects.every) == []
    assert await acts(desk, project.id) == ["project.create", "project.delete"], "its trail outlives it"


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "current", "prj_1", 5, None, ["shop"]])
def test_a_name_that_could_be_taken_for_something_else_is_refused(name: object) -> None:
    assert refuse_name(name)


@pytest.mark.parametrize("name", ["x", "Café № 5", "default", "x" * 128])
def test_any_other_name_will_do(name: str) -> None:
    assert refuse_name(name) is None
