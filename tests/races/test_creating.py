"""Two replicas take in what there may be one of: a reference, an origin of per-task URLs, the default project."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from service.core.request import TaskRequest
from service.pipeline.create import Created, CreateDesk, ReferenceTaken, create
from service.pipeline.keys import MadeKey, make_key
from service.providers.registry import PROVIDERS
from tests.service.pipeline.rig import POLICY, Rig

pytestmark = pytest.mark.slow

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def ask(rig: Rig, project: str, **more: object) -> Created:
    contract = rig.accounts["cloudsway"].provider
    model, given = next(iter(contract.models)), {"prompt": "A paper boat."}
    wanted = TaskRequest(provider=contract.name, model=model, input=given, **more)  # type: ignore[arg-type]
    desk = CreateDesk(
        database=rig.database,
        providers=PROVIDERS,
        accounts=rig.accounts,
        disabled={},
        policy=POLICY,
        clock=rig.clock,
        mint=rig.mint,
        ring=lambda key, at: None,
    )
    return await create(wanted, project, desk)


async def test_a_reference_is_given_to_one_and_the_other_hears_who_has_it(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    for n in range(20):
        asked = (ask(rig, project, reference=f"order-{n}") for rig in (one, two))
        told = await asyncio.gather(*asked, return_exceptions=True)
        [made] = [answer for answer in told if isinstance(answer, Created)]
        [taken] = [answer for answer in told if isinstance(answer, ReferenceTaken)]
        assert taken.existing.id == made.task.id
    assert await one.rows("SELECT count(*) FROM tasks") == [(20,)]


async def test_references_in_opposite_order_at_two_replicas_wait_for_each_other_in_no_circle(
    replicas: tuple[Rig, Rig],
) -> None:
    one, two = replicas
    project, names = await one.project(), [f"order-{n}" for n in range(12)]
    before = await one.rows(DEADLOCKS)
    told = await asyncio.gather(
        *(ask(one, project, reference=name) for name in names),
        *(ask(two, project, reference=name) for name in reversed(names)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Created) for answer in told) == len(names)
    assert sum(isinstance(answer, ReferenceTaken) for answer in told) == len(names)
    assert await one.rows(DEADLOCKS) == before


async def test_the_urls_of_one_origin_share_one_endpoint(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    for n in range(10):
        made = await asyncio.gather(
            *(ask(rig, project, webhook_url=f"http://127.0.0.1:9{n}/{rig.owner}") for rig in (one, two))
        )
        assert len({answer.task.webhook_endpoint_id for answer in made}) == 1
    assert await one.rows("SELECT count(*) FROM endpoints WHERE hidden = 1") == [(10,)]


async def test_two_that_make_the_first_key_make_one_project(replicas: tuple[Rig, Rig]) -> None:
    async def first(rig: Rig) -> MadeKey:
        return await make_key(
            rig.database,
            rig.keyring,
            name="me",
            scopes=("tasks",),
            clock=rig.clock,
            mint=rig.mint,
            entropy=secrets.token_bytes,
        )

    made = await asyncio.gather(*(first(rig) for rig in replicas))
    assert made[0].project_id == made[1].project_id
    assert made[0].key != made[1].key
    assert await replicas[0].rows("SELECT count(*) FROM projects") == [(1,)]
