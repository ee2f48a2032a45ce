"""Two replicas order the same of projects and keys at once: the first key, the last admin's, a secret, an end."""

from __future__ import annotations

import asyncio

import pytest

from service.core.request import TaskRequest
from service.core.signature import new_secret
from service.pipeline.create import CreateDesk, create
from service.pipeline.keys import LastAdmin, first_key, fresh_text, make_key, revoke_key
from service.pipeline.projects import InUse, TenantDesk, delete_project, fresh_project, make_project, rotate_secret
from service.providers.registry import PROVIDERS
from storage import api_keys, project_secrets, projects
from storage.database import Connection
from storage.records import Project
from tests.races.replicas import hand
from tests.service.pipeline.rig import POLICY, Rig

pytestmark = pytest.mark.slow

Replicas = tuple[Rig, Rig]


def desk(rig: Rig) -> TenantDesk:
    return TenantDesk(
        database=rig.database, keyring=rig.keyring, clock=rig.clock, mint=rig.mint, entropy=lambda count: rig.mint("x").encode()[-count:]
    )  # fmt: skip


async def nothing(tx: Connection, project: Project) -> None:
    pass


async def test_of_replicas_that_start_on_an_empty_database_one_makes_the_first_key(replicas: Replicas) -> None:
    made = await asyncio.gather(
        *(first_key(desk(rig), fresh_text(lambda count, n=n: bytes([n]) * count)) for n, rig in enumerate(replicas * 3))  # type: ignore[misc]
    )
    assert sum(one is not None for one in made) == 1
    assert await replicas[0].rows("SELECT count(*) FROM api_keys") == [(1,)]
    assert await replicas[0].rows("SELECT name FROM projects") == [("default",)]


async def test_two_admins_that_revoke_each_other_leave_one(replicas: Replicas, address: str) -> None:
    keys = [
        await make_key(
            rig.database, rig.keyring, name="a", scopes=("admin",), clock=rig.clock, mint=rig.mint,
            entropy=desk(rig).entropy,
        )
        for rig in replicas
    ]  # fmt: skip
    async with hand(address) as third:
        await third.run("SELECT id FROM api_keys FOR UPDATE")
        revoking = [
            asyncio.create_task(revoke_key(desk(rig), key.id, project_id=None, last_admin=False))
            for rig, key in zip(replicas, keys, strict=True)
        ]
        await third.stopped(2)
    told = await asyncio.gather(*revoking, return_exceptions=True)
    assert sorted(type(one).__name__ for one in told) == ["ApiKey", "LastAdmin"], told
    assert any(isinstance(one, LastAdmin) for one in told)
    assert await replicas[0].database.read(api_keys.count) == 1


async def test_a_key_that_two_revoke_at_once_is_revoked_once(replicas: Replicas, address: str) -> None:
    one, _ = replicas
    key = await make_key(
        one.database,
        one.keyring,
        name="k",
        scopes=("tasks",),
        clock=one.clock,
        mint=one.mint,
        entropy=desk(one).entropy,
    )
    async with hand(address) as third:
        await third.run("SELECT id FROM api_keys FOR UPDATE")
        revoking = [
            asyncio.create_task(revoke_key(desk(rig), key.id, project_id=None, last_admin=False)) for rig in replicas
        ]
        await third.stopped(2)
    await asyncio.gather(*revoking)
    assert await one.rows("SELECT count(*) FROM audit WHERE action = 'key.revoke'") == [(1,)]


async def test_secrets_rotated_by_two_at_once_all_sign_and_none_twice(replicas: Replicas, address: str) -> None:
    project = await replicas[0].project()
    secrets = [new_secret(bytes([n]) * 24) for n in range(2)]
    async with hand(address) as third:
        await third.run("LOCK TABLE project_secrets IN EXCLUSIVE MODE")
        rotating = [
            asyncio.create_task(rotate_secret(desk(rig), project, secret, overlap_seconds=60, also=nothing))
            for rig, secret in zip(replicas, secrets, strict=True)
        ]
        await third.stopped(2)
    await asyncio.gather(*rotating)
    rig = replicas[0]
    live = await rig.database.read(lambda tx: project_secrets.live(tx, project, now=rig.clock()))
    opened = [rig.keyring.open(one.sealed, "project-secret") for one in live]
    assert len(opened) == len(set(opened)) == 3 and set(secrets) < set(opened)


async def test_a_project_is_not_deleted_under_a_task_that_comes_in(replicas: Replicas, address: str) -> None:
    one, two = replicas
    project = await one.project()
    contract = two.accounts["cloudsway"].provider
    wanted = TaskRequest(provider=contract.name, model=next(iter(contract.models)), input={"prompt": "A paper boat."})
    creating = CreateDesk(
        database=two.database, providers=PROVIDERS, accounts=two.accounts, disabled={}, policy=POLICY,
        clock=two.clock, mint=two.mint, ring=lambda key, at: None,
    )  # fmt: skip
    async with hand(address) as third:
        await third.run("LOCK TABLE subscriptions IN EXCLUSIVE MODE")  # it was judged, and begins to go
        going = asyncio.create_task(delete_project(desk(one), project, trail=None))
        await third.stopped()
        made = await create(wanted, project, creating)
    with pytest.raises(InUse):
        await going
    assert await one.rows("SELECT id FROM tasks") == [(made.task.id,)]
    assert [found.id for found in await one.database.read(projects.every)] == [project]


async def test_a_name_is_given_to_one(replicas: Replicas) -> None:
    made = await asyncio.gather(
        *(make_project(desk(rig), fresh_project(desk(rig), "shop"), detail={}, also=nothing) for rig in replicas),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in made) == ["Duplicate", "NoneType"]


async def test_of_a_use_that_two_write_at_once_the_later_stays(replicas: Replicas) -> None:
    one, _ = replicas
    keys = [
        await make_key(
            one.database, one.keyring, name="k", scopes=("tasks",), clock=one.clock, mint=one.mint,
            entropy=desk(one).entropy,
        )
        for _ in range(5)
    ]  # fmt: skip
    await asyncio.gather(
        *(
            replicas[n % 2].database.write(lambda tx, n=n: api_keys.note_use(tx, {key.id: n + 1 for key in keys}))  # type: ignore[misc]
            for n in range(20)
        )
    )
    assert await one.rows("SELECT DISTINCT last_used_at FROM api_keys") == [(20,)]
