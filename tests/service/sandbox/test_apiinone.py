from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.sandbox.world import World
from tests.service.sandbox.test_apiinone_body import PLAIN

GENERATE = "/api/v1/videos/generations"


async def create(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    reply = await client.post(GENERATE, json=PLAIN | fields)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def status(client: httpx.AsyncClient, task_id: str) -> httpx.Response:
    return await client.get(f"/api/v1/tasks/{task_id}")


async def test_job_goes_from_create_to_video(client: httpx.AsyncClient, world: World) -> None:
    task_id = (await create(client))["data"]["task_id"]
    world.begin(task_id)
    running = (await status(client, task_id)).json()["data"]
    world.finish(task_id)
    done = (await status(client, task_id)).json()["data"]
    assert (running["status"], done["status"]) == ("IN_PROGRESS", "SUCCESS")
    assert done["output"]["video_url"].startswith("https://")


@pytest.mark.parametrize(
    ("generation", "keys", "id_at"),
    [
        ("early", {"id", "status", "model", "created_at"}, ("id",)),
        ("later", {"code", "message", "data"}, ("data", "task_id")),
        ("newest", {"code", "message", "data"}, ("data", "id")),
    ],
)
async def test_generation_of_replies_is_a_knob(
    client: httpx.AsyncClient, generation: str, keys: set[str], id_at: tuple[str, ...]
) -> None:
    await client.patch("/_sandbox/knobs", json={"apiinone_replies": generation})
    made: Any = await create(client)
    assert set(made) == keys
    for step in id_at:
        made = made[step]
    assert (await status(client, made)).status_code == 200


async def test_ledger_tells_what_was_charged_for_sound_nobody_asked_for(client: httpx.AsyncClient) -> None:
    await create(client)
    await create(client, sound=False)
    told = (await client.get("/_sandbox/ledger")).json()
    assert [(job["charged"], job["asked"]["sound"]) for job in told["jobs"]] == [(300, True), (200, False)]


async def test_unknown_task_path_and_key_are_refused(client: httpx.AsyncClient, world: World) -> None:
    assert (await status(client, "n75_kling3")).status_code == 404
    assert (await client.post("/api/v1/videos", json=PLAIN)).status_code == 404
    world.knobs.api_key = "aio_right"
    assert (await client.post(GENERATE, json=PLAIN)).status_code == 401


async def test_callback_url_is_taken_without_effect(client: httpx.AsyncClient, world: World, callback_url: str) -> None:
    task_id = (await create(client, callback_url=callback_url))["data"]["task_id"]
    world.finish(task_id)
    assert world.requests[-1].ignored == ("/callback_url",)
    assert world.jobs[task_id].pushes == []
