from __future__ import annotations

import asyncio

import httpx
import pytest

from service.sandbox import app
from service.sandbox.line import KEPT_BODY
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


async def test_record_keeps_the_beginning_of_a_long_body(client: httpx.AsyncClient, world: World) -> None:
    await client.post("/nowhere", content=b"x" * (2 * KEPT_BODY))
    assert world.requests[0].body == b"x" * KEPT_BODY


async def test_refusal_does_not_wait_for_a_body_that_never_ends(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REST_SECONDS", 0.01)
    world.knobs.api_key = "another"
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(f"POST {TEXT} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{{".encode())
    async with asyncio.timeout(30):
        assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert world.requests[0].body == b"{"


async def test_path_of_no_contract_is_told_so(client: httpx.AsyncClient) -> None:
    reply = await client.get("/nowhere")
    assert (reply.status_code, reply.json()) == (404, {"error": "the sandbox has no GET /nowhere"})
