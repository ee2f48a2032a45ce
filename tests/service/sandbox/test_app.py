from __future__ import annotations

import httpx

from service.sandbox.world import World
from tests.service.sandbox.conftest import KEY
from tests.service.sandbox.test_cloudsway import TEXT, body, query


async def test_every_request_to_a_provider_is_recorded_with_its_answer(client: httpx.AsyncClient, world: World) -> None:
    await client.post(TEXT, json={"prompt": ""})
    await query(client, task_ids="1")
    await client.get("/kling30/api/status/nobody/")
    await client.get("/nowhere")
    seen = [(asked.method, asked.contract, asked.kind, asked.status) for asked in world.requests]
    assert seen == [
        ("POST", "cloudsway", "create", 400),
        ("GET", "cloudsway", "query", 200),
        ("GET", "ulazai", "query", 404),
        ("GET", None, None, 404),
    ]


async def test_sandboxes_own_door_is_not_recorded(client: httpx.AsyncClient, world: World) -> None:
    await client.get("/_sandbox/ledger")
    assert not world.requests


async def test_record_keeps_headers_but_never_the_credential(client: httpx.AsyncClient, world: World) -> None:
    await client.post(TEXT, json=body(), headers={"idempotency-key": "k1"})
    assert world.requests[0].headers["idempotency-key"] == "k1"
    assert KEY not in repr(world.requests[0])


async def test_record_tells_one_connection_from_another(client: httpx.AsyncClient, world: World) -> None:
    await query(client, task_ids="1")
    await query(client, task_ids="1")
    async with httpx.AsyncClient(base_url=client.base_url, headers=client.headers, trust_env=False) as other:
        await query(other, task_ids="1")
    first, second, third = (asked.client for asked in world.requests)
    assert first == second != third


async def test_path_of_no_contract_is_told_so(client: httpx.AsyncClient) -> None:
    reply = await client.get("/nowhere")
    assert (reply.status_code, reply.json()) == (404, {"error": "the sandbox has no GET /nowhere"})
