from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import httpx
import pytest

from service.sandbox.directives import UnknownDirective, parse
from service.sandbox.jobs import Job
from service.sandbox.world import World
from tests.service.sandbox import test_acedata, test_apiinone, test_cloudsway, test_ulazai, test_ulazai26
from tests.service.sandbox.conftest import HandClock

Create = Callable[[httpx.AsyncClient, str], Awaitable[object]]
Ask = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]

CONTRACTS: dict[str, tuple[Create, Ask]] = {
    "cloudsway": (
        test_cloudsway.create,
        lambda client, job_id: client.get(test_cloudsway.TASKS, params={"task_ids": job_id}),
    ),
    "ulazai": (lambda client, prompt: test_ulazai.create(client, prompt=prompt), test_ulazai.status),
    "ulazai-2.6": (lambda client, prompt: test_ulazai26.create(client, prompt=prompt), test_ulazai26.status),
    "acedata": (
        lambda client, prompt: test_acedata.create(client, prompt=prompt),
        lambda client, job_id: client.post(test_acedata.TASKS, json={"action": "retrieve", "id": job_id}),
    ),
    "apiinone": (lambda client, prompt: test_apiinone.create(client, prompt=prompt), test_apiinone.status),
}


@pytest.fixture(autouse=True)
def played_here(world: World, client: httpx.AsyncClient) -> None:
    base = str(client.base_url).removesuffix("/")
    world.knobs.output_base = f"{base}/_sandbox/outputs"


async def made(client: httpx.AsyncClient, world: World, contract: str, orders: str) -> Job:
    """A job that has ended."""
    await CONTRACTS[contract][0](client, f"A boat [sandbox: {orders}]")
    [job] = world.jobs.values()
    world.finish(job.id)
    return job


async def asked(client: httpx.AsyncClient, job: Job) -> httpx.Response:
    return await CONTRACTS[job.contract.name][1](client, job.id)


async def shown(client: httpx.AsyncClient, job: Job) -> str | None:
    """The link that a query shows."""
    found = re.search(r'http://[^"]+\.mp4[^"]*', (await asked(client, job)).text)
    return found[0] if found is not None else None


@pytest.mark.parametrize("contract", CONTRACTS)
async def test_a_link_plays_for_as_long_as_it_says_and_then_a_query_shows_another(
    client: httpx.AsyncClient, world: World, clock: HandClock, contract: str
) -> None:
    job = await made(client, world, contract, "link-seconds=60")
    first = await shown(client, job)
    assert first is not None and first == await shown(client, job)
    film = await client.get(first)
    assert (film.status_code, film.headers["content-type"]) == (200, "video/mp4")
    clock.now += 60
    assert (await client.get(first)).status_code == 403
    second = await shown(client, job)
    assert second is not None and second != first
    assert (await client.get(second)).status_code == 200


@pytest.mark.parametrize("contract", CONTRACTS)
async def test_what_was_deleted_with_its_record_looks_as_if_it_had_never_been(
    client: httpx.AsyncClient, world: World, clock: HandClock, contract: str
) -> None:
    job = await made(client, world, contract, "purge-after=60")
    link = await shown(client, job)
    assert link is not None
    clock.now += 60
    gone = await asked(client, job)
    assert job.id not in gone.text
    assert (await client.get(link)).status_code == 404
    never = await CONTRACTS[contract][1](client, "900000000000000001")
    assert (gone.status_code, gone.text.count("{")) == (never.status_code, never.text.count("{"))


@pytest.mark.parametrize("contract", CONTRACTS)
async def test_a_record_that_is_kept_is_a_success_without_a_link(
    client: httpx.AsyncClient, world: World, clock: HandClock, contract: str
) -> None:
    job = await made(client, world, contract, "purge-after=60, keeps-record")
    clock.now += 60
    assert job.id in (await asked(client, job)).text
    assert await shown(client, job) is None


async def test_an_output_can_be_deleted_by_hand(client: httpx.AsyncClient, world: World) -> None:
    job = await made(client, world, "cloudsway", "no-push")
    kept = await client.post(f"/_sandbox/jobs/{job.id}/purge", json={"keep_record": True})
    assert (kept.json()["purged"], job.forgotten) == (True, False)
    await client.post(f"/_sandbox/jobs/{job.id}/purge")
    assert job.forgotten
    refused = await client.post(f"/_sandbox/jobs/{job.id}/purge", json={"keep": 1})
    assert (refused.status_code, "keep_record" in refused.json()["error"]) == (400, True)


async def test_a_link_of_nothing_and_a_garbled_one_do_not_play(client: httpx.AsyncClient, world: World) -> None:
    job = await made(client, world, "ulazai", "no-push")
    assert (await client.get("/_sandbox/outputs/nothing.mp4")).status_code == 404
    assert (await client.get(f"/_sandbox/outputs/{job.id}.mp4?Expires=soon")).status_code == 403


@pytest.mark.parametrize("order", ["link-seconds=0", "purge-after=-1", "keeps-record=1", "link-seconds"])
def test_a_life_out_of_range_is_refused(order: str) -> None:
    with pytest.raises(UnknownDirective):
        parse(order)
