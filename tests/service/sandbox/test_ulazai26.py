from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from service.sandbox.world import World
from tests.service.sandbox.conftest import HandClock
from tests.service.sandbox.test_ulazai26_body import TEXT
from tests.service.sandbox.test_ulazai_body import TEXT as OTHER

GENERATE = "/kling26/api/generate/"


async def create(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    reply = await client.post(GENERATE, json=TEXT | fields)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def status(client: httpx.AsyncClient, task_id: str) -> httpx.Response:
    return await client.get(f"/kling26/api/status/{task_id}/")


async def test_create_answers_201_and_nested_with_what_is_left(client: httpx.AsyncClient, world: World) -> None:
    world.knobs.credits = 1_000
    made = await create(client, sound=False, prompt_directory_optin=False)
    assert uuid.UUID(made["data"].pop("task_id"))
    assert made == {
        "success": True,
        "data": {
            "status": "processing",
            "credits_used": 55,
            "credits_remaining": 945,
            "estimated_time": "60-90 seconds",
            "message": "KLING 2.6 video generation started",
        },
    }


async def test_both_contracts_spend_the_credits_of_one_account(client: httpx.AsyncClient, world: World) -> None:
    world.knobs.credits = 400
    assert (await client.post("/kling30/api/generate/", json=OTHER)).status_code == 200
    assert (await client.post(GENERATE, json=TEXT)).status_code == 402
    made = await create(client, sound=False)
    assert made["data"]["credits_remaining"] == 400 - 310 - 45


async def test_status_is_nested_and_gives_seconds_as_a_number(
    client: httpx.AsyncClient, world: World, clock: HandClock
) -> None:
    task_id = (await create(client, duration="10"))["data"]["task_id"]
    clock.now += 40
    running = (await status(client, task_id)).json()
    world.finish(task_id)
    done = (await status(client, task_id)).json()
    assert running == {"success": True, "data": {"task_id": task_id, "status": "processing", "progress": 45}}
    assert done["data"].pop("video_url").startswith("https://")
    assert done == {
        "success": True,
        "data": {"task_id": task_id, "status": "completed", "duration": 10, "has_audio": True},
    }


async def test_failed_job_is_told_inside_the_envelope(client: httpx.AsyncClient, world: World) -> None:
    task_id = (await create(client))["data"]["task_id"]
    world.finish(task_id, failed=True)
    failed = (await status(client, task_id)).json()
    assert (failed["success"], failed["data"]["status"]) == (True, "failed")


@pytest.mark.parametrize("path", ["/kling26/api/generate", "/kling26/api/genereren/", "/kling26/api/upload/"])
async def test_path_without_its_slash_in_dutch_or_of_the_other_contract_is_a_404_page(
    client: httpx.AsyncClient, path: str
) -> None:
    reply = await client.post(path, json=TEXT)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "text/html; charset=utf-8")


async def test_task_of_the_other_contract_is_unknown_here(client: httpx.AsyncClient) -> None:
    other = (await client.post("/kling30/api/generate/", json=OTHER)).json()["task_id"]
    assert (await status(client, other)).status_code == 404


async def test_number_of_seconds_is_refused_by_name(client: httpx.AsyncClient, world: World) -> None:
    reply = await client.post(GENERATE, json=TEXT | {"duration": 5})
    assert reply.status_code == 400 and "duration" in reply.json()["error"]
    assert world.accepted == {}
