"""What holds for every contract alike: whose credits, whose jobs, how fast, which faults, all over real sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from service.sandbox.rules import Scope
from service.sandbox.world import World
from tests.service.sandbox import test_ulazai26_body
from tests.service.sandbox.conftest import KEY, HandClock
from tests.service.sandbox.test_acedata_body import ASYNC
from tests.service.sandbox.test_apiinone_body import PLAIN
from tests.service.sandbox.test_cloudsway import TASKS
from tests.service.sandbox.test_cloudsway import TEXT as CLOUDSWAY
from tests.service.sandbox.test_ulazai_body import TEXT as ULAZAI


@dataclass(frozen=True)
class Contract:
    """One contract as its client meets it: how to buy, where the id is, how each limit is told."""

    path: str
    body: Mapping[str, Any]
    id_at: tuple[str, ...]
    broke: tuple[int, object]
    fast: tuple[int, object]
    error_at: tuple[str, ...]
    ok: int = 200


CONTRACTS = {
    "cloudsway": Contract(CLOUDSWAY, {"prompt": "A boat"}, ("data", "id"), (429, 1101), (429, 1302), ("code",)),
    "ulazai": Contract(
        "/kling30/api/generate/",
        ULAZAI,
        ("task_id",),
        (402, "Insufficient credits"),
        (429, "Rate limit exceeded"),
        ("error",),
    ),
    "ulazai-2.6": Contract(
        "/kling26/api/generate/",
        test_ulazai26_body.TEXT,
        ("data", "task_id"),
        (402, "Insufficient credits"),
        (429, "Rate limit exceeded"),
        ("error",),
        ok=201,
    ),
    "acedata": Contract(
        "/kling/videos", ASYNC, ("task_id",), (403, "used_up"), (429, "too_many_requests"), ("error", "code")
    ),
    "apiinone": Contract("/api/v1/videos/generations", PLAIN, ("data", "task_id"), (402, 402), (429, 429), ("code",)),
}
EVERY = pytest.mark.parametrize("name", CONTRACTS)


def at(body: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        body = body[step]
    return body


async def buy(client: httpx.AsyncClient, name: str, key: str = KEY) -> httpx.Response:
    contract = CONTRACTS[name]
    return await client.post(contract.path, json=contract.body, headers={"authorization": f"Bearer {key}"})


def told(name: str, reply: httpx.Response) -> tuple[int, object]:
    return reply.status_code, at(reply.json(), CONTRACTS[name].error_at)


async def ask(client: httpx.AsyncClient, name: str, job_id: str, key: str = KEY) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    if name == "acedata":
        return await client.post("/kling/tasks", json={"action": "retrieve", "id": job_id}, headers=headers)
    if name == "cloudsway":
        return await client.get(TASKS, params={"task_ids": job_id}, headers=headers)
    paths = {
        "ulazai": f"/kling30/api/status/{job_id}/",
        "ulazai-2.6": f"/kling26/api/status/{job_id}/",
        "apiinone": f"/api/v1/tasks/{job_id}",
    }
    return await client.get(paths[name], headers=headers)


@EVERY
async def test_account_out_of_credit_is_told_so_and_another_is_not(
    client: httpx.AsyncClient, world: World, name: str
) -> None:
    world.book.change(Scope(None, "broke"), {"credits": 2})
    assert told(name, await buy(client, name, key="broke")) == CONTRACTS[name].broke
    assert world.accepted == {}
    assert (await buy(client, name)).status_code == CONTRACTS[name].ok


@EVERY
async def test_failed_job_gives_its_credits_back(client: httpx.AsyncClient, world: World, name: str) -> None:
    job_id = at((await buy(client, name)).json(), CONTRACTS[name].id_at)
    [account] = world.accounts.values()
    spent = account.spent
    world.finish(job_id, failed=True)
    assert spent > 0 == account.spent


@EVERY
async def test_rate_holds_for_each_account_by_itself(
    client: httpx.AsyncClient, world: World, clock: HandClock, name: str
) -> None:
    world.knobs.unique_external_id = False
    world.book.change(Scope(name), {"rate": "2/m"})
    replies = [await buy(client, name) for _ in range(3)]
    assert [reply.status_code for reply in replies[:2]] == [CONTRACTS[name].ok] * 2
    assert told(name, replies[2]) == CONTRACTS[name].fast
    assert (await buy(client, name, key="another")).status_code == CONTRACTS[name].ok
    clock.now += 60
    assert (await buy(client, name)).status_code == CONTRACTS[name].ok


@EVERY
async def test_open_jobs_of_an_account_are_limited_until_one_ends(
    client: httpx.AsyncClient, world: World, name: str
) -> None:
    world.knobs.concurrency_limit = 1
    job_id = at((await buy(client, name)).json(), CONTRACTS[name].id_at)
    assert (await buy(client, name)).status_code == 429
    assert (await buy(client, name, key="another")).status_code == CONTRACTS[name].ok
    world.finish(job_id)
    assert (await buy(client, name)).status_code == CONTRACTS[name].ok


@EVERY
async def test_queries_too_fast_are_429_and_count_no_query(client: httpx.AsyncClient, world: World, name: str) -> None:
    job_id = at((await buy(client, name)).json(), CONTRACTS[name].id_at)
    world.book.change(Scope(name, KEY), {"query_rate": "1/s"})
    replies = [await ask(client, name, job_id) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 429]
    assert world.jobs[job_id].queried == 1


@EVERY
async def test_job_of_another_account_is_not_shown(client: httpx.AsyncClient, world: World, name: str) -> None:
    job_id = at((await buy(client, name)).json(), CONTRACTS[name].id_at)
    mine, theirs = await ask(client, name, job_id), await ask(client, name, job_id, key="another")
    assert job_id in mine.text
    assert job_id not in theirs.text
    assert world.jobs[job_id].queried == 1


@EVERY
async def test_standing_faults_hold_for_their_contract_and_key_only(
    client: httpx.AsyncClient, world: World, name: str
) -> None:
    world.book.change(Scope(name, "cursed"), {"faults": "status=500", "query_faults": "status=503"})
    assert (await buy(client, name, key="cursed")).status_code == 500
    assert (await ask(client, name, "1", key="cursed")).status_code == 503
    reply = await buy(client, name)
    assert reply.status_code == CONTRACTS[name].ok
    assert (await ask(client, name, at(reply.json(), CONTRACTS[name].id_at))).status_code == 200


@EVERY
async def test_prompt_outranks_a_standing_fault(client: httpx.AsyncClient, world: World, name: str) -> None:
    world.knobs.faults = "status=500"
    body = {**CONTRACTS[name].body, "prompt": "A boat [sandbox: status=503]"}
    assert (await client.post(CONTRACTS[name].path, json=body)).status_code == 503


@EVERY
async def test_refused_body_is_kept_even_when_its_key_was_refused_first(
    client: httpx.AsyncClient, world: World, name: str
) -> None:
    world.knobs.api_key = "another"
    assert (await buy(client, name)).status_code in (400, 401)
    assert orjson.loads(world.requests[-1].body) == CONTRACTS[name].body


@EVERY
async def test_record_names_the_account_by_its_label(client: httpx.AsyncClient, world: World, name: str) -> None:
    await buy(client, name)
    [account] = world.accounts.values()
    assert world.requests[-1].account == account.label
    assert account.company == name.removesuffix("-2.6")
