from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import httpx
import pytest

from service.sandbox.script import Step
from service.sandbox.ulazai import CONTRACT
from service.sandbox.world import World
from tests.service.sandbox.conftest import KEY
from tests.service.sandbox.test_ulazai_body import TEXT
from tests.service.sandbox.test_upload import PNG

GENERATE = "/kling30/api/generate/"
UPLOAD = "/kling30/api/upload/"


async def create(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    reply = await client.post(GENERATE, json=TEXT | fields)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def status(client: httpx.AsyncClient, task_id: str) -> httpx.Response:
    return await client.get(f"/kling30/api/status/{task_id}/")


def left(world: World) -> Decimal:
    """What the tests' own account may still spend."""
    account = world.account("ulazai", KEY)
    assert account is not None
    return world.balance(CONTRACT, account)


async def test_create_answers_flat_and_already_processing(client: httpx.AsyncClient) -> None:
    made = await create(client)
    assert uuid.UUID(made.pop("task_id")) and uuid.UUID(made.pop("provider_task_id"))
    assert made == {
        "success": True,
        "status": "processing",
        "credits_used": 310,
        "directory_discount_applied": 10,
        "estimated_time": "60-180 seconds",
    }


@pytest.mark.parametrize("path", ["/kling30/api/generate", "/kling30/api/genereren/", "/kling30/api/upload"])
async def test_path_without_its_slash_or_in_dutch_is_a_404_page(client: httpx.AsyncClient, path: str) -> None:
    reply = await client.post(path, json=TEXT)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "text/html; charset=utf-8")
    made = await create(client)
    assert (await client.get(f"/kling30/api/status/{made['task_id']}")).status_code == 404


async def test_wrong_method_is_405(client: httpx.AsyncClient) -> None:
    assert (await client.get(GENERATE)).status_code == 405


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Token {KEY}", KEY])
async def test_every_route_wants_the_bearer_key(client: httpx.AsyncClient, world: World, header: str | None) -> None:
    world.knobs.api_key = KEY
    made = await create(client)
    del client.headers["authorization"]
    headers = {} if header is None else {"authorization": header}
    replies = [
        await client.post(GENERATE, json=TEXT, headers=headers),
        await client.get(f"/kling30/api/status/{made['task_id']}/", headers=headers),
        await client.post(UPLOAD, files={"file": PNG}, headers=headers),
    ]
    assert [reply.status_code for reply in replies] == [401, 401, 401]
    assert all(isinstance(reply.json()["error"], str) for reply in replies)


async def test_wrong_field_is_400_with_its_name(client: httpx.AsyncClient, world: World) -> None:
    reply = await client.post(GENERATE, json=TEXT | {"durationSeconds": "8"})
    assert reply.status_code == 400
    assert "durationSeconds" in reply.json()["error"]
    assert world.accepted == {}


async def test_create_takes_credits_and_stops_at_an_empty_balance(client: httpx.AsyncClient, world: World) -> None:
    world.knobs.credits = 400
    await create(client)
    assert left(world) == 90
    assert (await client.post(GENERATE, json=TEXT)).status_code == 402
    assert world.accepted["ulazai"] == {TEXT["prompt"]: 1}


async def test_status_goes_from_processing_to_completed(client: httpx.AsyncClient, world: World) -> None:
    task_id = (await create(client, prompt_directory_optin=False))["task_id"]
    running = (await status(client, task_id)).json()
    world.finish(task_id)
    done = (await status(client, task_id)).json()
    assert running == {"success": True, "task_id": task_id, "status": "processing"}
    assert done.pop("video_url").startswith("https://")
    assert done == {
        "success": True,
        "task_id": task_id,
        "status": "completed",
        "credits_charged": 320,
        "prompt_submission_id": None,
    }


async def test_published_job_names_its_place_in_the_directory(client: httpx.AsyncClient, world: World) -> None:
    task_id = (await create(client))["task_id"]
    world.finish(task_id)
    assert uuid.UUID((await status(client, task_id)).json()["prompt_submission_id"])


async def test_failure_is_http_200_and_gives_the_credits_back(client: httpx.AsyncClient, world: World) -> None:
    before = left(world)
    task_id = (await create(client, prompt="A cat [sandbox: fail]"))["task_id"]
    assert left(world) == before - 310
    world.finish(task_id)
    reply = await status(client, task_id)
    failed = reply.json()
    assert (reply.status_code, failed["success"], failed["status"]) == (200, True, "failed")
    assert failed["error_message"] and failed["credits_refunded"] == 310
    assert left(world) == before


async def test_unknown_task_and_the_upstreams_id_are_404(client: httpx.AsyncClient) -> None:
    made = await create(client)
    assert (await status(client, made["provider_task_id"])).status_code == 404
    assert (await status(client, str(uuid.uuid4()))).status_code == 404


async def test_opt_in_is_kept_as_it_was_sent(client: httpx.AsyncClient, world: World) -> None:
    await create(client, prompt_directory_optin=False)
    assert b'"prompt_directory_optin":false' in world.requests[-1].body
    assert world.requests[-1].told["prompt_directory_optin"] is False


async def test_job_without_output_completes_without_a_url(client: httpx.AsyncClient, world: World) -> None:
    task_id = (await create(client, prompt="A cat [sandbox: no-output]"))["task_id"]
    world.finish(task_id)
    done = (await status(client, task_id)).json()
    assert done["status"] == "completed" and "video_url" not in done


async def test_unknown_word_stands_in_for_processing_only(client: httpx.AsyncClient, world: World) -> None:
    made = await create(client, prompt="A cat [sandbox: unknown-word]")
    seen = (await status(client, made["task_id"])).json()["status"]
    world.finish(made["task_id"])
    assert made["status"] == "processing"
    assert seen not in ("pending", "processing", "completed", "failed")
    assert (await status(client, made["task_id"])).json()["status"] == "completed"


@pytest.mark.parametrize(
    ("directive", "answer"), [("refuse", 400), ("status=429", 429), ("status=500", 500), ("no-pusch", 400)]
)
async def test_told_to_refuse_it_makes_no_job(
    client: httpx.AsyncClient, world: World, directive: str, answer: int
) -> None:
    reply = await client.post(GENERATE, json=TEXT | {"prompt": f"A cat [sandbox: {directive}]"})
    assert (reply.status_code, reply.json()["success"]) == (answer, False)
    assert world.accepted == {}


async def test_lost_reply_leaves_a_job_nobody_can_look_up(client: httpx.AsyncClient, world: World) -> None:
    prompt = "A cat [sandbox: lost-reply]"
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(GENERATE, json=TEXT | {"prompt": prompt})
    assert world.accepted["ulazai"] == {prompt: 1}
    assert world.requests[-1].status is None


async def test_status_can_be_told_to_fail_before_it_is_well_again(client: httpx.AsyncClient, world: World) -> None:
    task_id = (await create(client))["task_id"]
    world.script.queries += [Step(directive="status=500"), Step(directive="empty"), Step(directive="garbage")]
    replies = [await status(client, task_id) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [500, 404, 200, 200]
    assert b"\xff" in replies[2].content
    assert replies[3].json()["status"] == "processing"
    assert world.jobs[task_id].queried == 4


async def test_upload_answers_a_public_url(client: httpx.AsyncClient) -> None:
    reply = await client.post(UPLOAD, files={"file": ("a.png", PNG + bytes(64), "image/png")})
    assert (reply.status_code, reply.json()["success"]) == (200, True)
    assert reply.json()["url"].startswith("https://") and reply.json()["url"].endswith(".png")


@pytest.mark.parametrize("picture", [b"GIF89a" + bytes(64), PNG + bytes(10 << 20), PNG + bytes(11 << 20)])
async def test_upload_of_another_kind_or_over_ten_megabytes_is_400(client: httpx.AsyncClient, picture: bytes) -> None:
    assert (await client.post(UPLOAD, files={"file": ("a.png", picture, "image/png")})).status_code == 400
