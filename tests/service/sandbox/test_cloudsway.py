from __future__ import annotations

import re
from typing import Any

import httpx
import orjson
import pytest

from service.sandbox.rules import Scope
from service.sandbox.script import Step
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from tests.service.sandbox.conftest import KEY, SECRET, Arrived, HandClock, statuses

BASE = "/v1/ai/tenant-7/kling"
TEXT = f"{BASE}/videos/text-to-video/kling-3.0-turbo"
FRAME = f"{BASE}/videos/image-to-video/kling-3.0-turbo"
TASKS = f"{BASE}/tasks"


def body(prompt: str = "A paper boat", callback_url: str = "") -> dict[str, Any]:
    options = {"callback_url": callback_url, "external_task_id": "task_1"}
    return {"prompt": prompt, "settings": {}, "options": options}


def refused(reply: httpx.Response) -> tuple[int, int]:
    envelope = reply.json()
    assert set(envelope) == {"code", "message", "request_id"}
    return reply.status_code, envelope["code"]


async def create(
    client: httpx.AsyncClient, prompt: str = "A paper boat", callback_url: str = "", **settings: object
) -> str:
    reply = await client.post(TEXT, json=body(prompt, callback_url) | {"settings": settings})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["data"]["id"])


async def query(client: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    reply = await client.get(TASKS, params=params)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["data"]
    return found


# --- create ---------------------------------------------------------------------------------------------------------


async def test_create_answers_an_object_with_an_id_no_double_can_hold(client: httpx.AsyncClient) -> None:
    reply = (await client.post(TEXT, json=body())).json()
    made = reply["data"]
    assert (reply["code"], reply["message"]) == (0, "SUCCEED")
    assert re.fullmatch(r"\d{18}", made["id"])
    assert int(float(made["id"])) != int(made["id"])
    assert made == {
        "id": made["id"],
        "status": "submitted",
        "message": "",
        "external_id": "task_1",
        "create_time": 1_783_500_000_000,
        "update_time": 1_783_500_000_000,
    }


async def test_neighbouring_ids_collapse_when_read_as_numbers(client: httpx.AsyncClient, world: World) -> None:
    world.knobs.unique_external_id = False
    first, second = [await create(client), await create(client)]
    assert first != second
    assert float(first) == float(second)


@pytest.mark.parametrize(
    ("header", "code"), [(None, 1001), ("Bearer", 1002), ("Token abc", 1002), ("Bearer wrong", 1002)]
)
async def test_create_without_the_right_key_is_401(
    client: httpx.AsyncClient, world: World, header: str | None, code: int
) -> None:
    world.knobs.api_key = "right"
    del client.headers["authorization"]
    headers = {} if header is None else {"authorization": header}
    assert refused(await client.post(TEXT, json=body(), headers=headers)) == (401, code)
    assert refused(await client.get(TASKS, params={"task_ids": "1"}, headers=headers)) == (401, code)
    assert world.accepted == {}
    assert (await client.post(TEXT, json=body(), headers={"authorization": "Bearer right"})).status_code == 200


async def test_image_to_video_takes_a_frame_and_ignores_an_aspect_ratio(
    client: httpx.AsyncClient, world: World
) -> None:
    contents = [
        {"type": "first_frame", "url": "https://assets.example.org/f.jpg"},
        {"type": "prompt", "text": "Leaves fall."},
    ]
    reply = await client.post(FRAME, json={"contents": contents, "settings": {"aspect_ratio": "7:3", "duration": 3}})
    assert reply.status_code == 200
    assert "external_id" not in reply.json()["data"]
    assert world.requests[-1].ignored == ("/settings/aspect_ratio",)


async def test_misplaced_fields_are_accepted_without_effect_and_written_down(
    client: httpx.AsyncClient, world: World, receiver: Subscriber, callback_url: str
) -> None:
    reply = await client.post(TEXT, json={"prompt": "A boat", "callback_url": callback_url, "duration": 10})
    job = world.jobs[reply.json()["data"]["id"]]
    assert world.requests[-1].ignored == ("/callback_url", "/duration")
    assert (job.callback_url, job.asked["duration"]) == (None, 5)
    await world.quiet()
    assert not receiver.received


@pytest.mark.parametrize(
    "wrong", [{}, {"prompt": ""}, {"prompt": "x" * 3_073}, {"prompt": "x", "settings": {"resolution": "4k"}}]
)
async def test_wrong_create_is_400_1201_in_klings_envelope(
    client: httpx.AsyncClient, world: World, wrong: object
) -> None:
    assert refused(await client.post(TEXT, json=wrong)) == (400, 1201)
    assert world.accepted == {}


async def test_body_that_is_no_json_object_or_not_declared_as_json_is_refused(client: httpx.AsyncClient) -> None:
    json_type = {"content-type": "application/json"}
    assert refused(await client.post(TEXT, content=b"{", headers=json_type)) == (400, 1201)
    assert refused(await client.post(TEXT, content=b"[]", headers=json_type)) == (400, 1201)
    assert refused(await client.post(TEXT, content=orjson.dumps(body()))) == (400, 1201)
    assert refused(await client.post(TEXT, content=b" " * (1 << 20) + b"{}", headers=json_type)) == (413, 1201)


async def test_path_of_another_model_and_a_wrong_method_are_klings_404(client: httpx.AsyncClient) -> None:
    assert refused(await client.post(f"{BASE}/videos/text-to-video/kling-v9", json=body())) == (404, 1203)
    assert refused(await client.get(TEXT)) == (404, 1202)
    assert (await client.post("/v1/ai/kling/videos/text-to-video/kling-3.0-turbo", json=body())).status_code == 404


async def test_external_id_is_unique_unless_switched_off(client: httpx.AsyncClient, world: World) -> None:
    await create(client)
    assert refused(await client.post(TEXT, json=body())) == (400, 1201)
    assert world.accepted["cloudsway"] == {"task_1": 1}
    world.knobs.unique_external_id = False
    await create(client)
    assert world.accepted["cloudsway"] == {"task_1": 2}


async def test_concurrency_limit_counts_open_jobs_only(client: httpx.AsyncClient, world: World) -> None:
    world.knobs.unique_external_id, world.knobs.concurrency_limit = False, 1
    job_id = await create(client)
    assert refused(await client.post(TEXT, json=body())) == (429, 1303)
    world.finish(job_id)
    await create(client)


# --- query ----------------------------------------------------------------------------------------------------------


async def test_query_answers_an_array_by_either_id(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client)
    by_id, by_external = await query(client, task_ids=job_id), await query(client, external_task_ids="task_1")
    assert by_id == by_external
    assert [(item["id"], item["status"], item["external_id"]) for item in by_id] == [(job_id, "submitted", "task_1")]
    assert [seen.by for seen in world.jobs[job_id].queries] == ["id", "external_id"]


async def test_query_takes_a_comma_list_and_leaves_out_unknown_ids(client: httpx.AsyncClient, world: World) -> None:
    world.knobs.unique_external_id = False
    first, second = await create(client), await create(client)
    found = await query(client, task_ids=f"{first},9,{second},{first}")
    assert [item["id"] for item in found] == [second, first]
    assert await query(client, task_ids="900000000000000001") == []
    assert [item["id"] for item in await query(client, external_task_ids="task_1,task_9")] == [second, first]


@pytest.mark.parametrize(
    "params",
    [{}, {"task_ids": ""}, {"task_ids": "1", "external_task_ids": "2"}, {"task_ids": ",".join(map(str, range(21)))}],
)
async def test_query_wants_exactly_one_list_of_at_most_twenty(
    client: httpx.AsyncClient, params: dict[str, str]
) -> None:
    assert refused(await client.get(TASKS, params=params)) == (400, 1201)


async def test_empty_second_list_counts_as_absent_as_in_the_documented_call(client: httpx.AsyncClient) -> None:
    job_id = await create(client)
    assert len(await query(client, task_ids=job_id, external_task_ids="")) == 1


@pytest.mark.parametrize(
    ("resolution", "duration", "amount"), [("1080p", 5, "5"), ("720p", 7, "5.6"), ("720p", 5, "4"), ("1080p", 10, "10")]
)
async def test_success_has_one_output_and_the_bill(
    client: httpx.AsyncClient, world: World, clock: HandClock, resolution: str, duration: int, amount: str
) -> None:
    job_id = await create(client, resolution=resolution, duration=duration)
    clock.now += 66.4
    world.finish(job_id)
    [item] = await query(client, task_ids=job_id)
    [output] = item["outputs"]
    assert item["status"] == "succeeded"
    assert output["duration"] == f"{duration}.041"
    assert output["id"] != job_id
    # The link names its own end in hexadecimal seconds: thirty days on.
    assert int(output["url"].partition("ksTime=")[2], 16) == int(clock.now) + 30 * 24 * 3600
    assert item["billing"] == [{"charge_type": "unit", "amount": amount, "package_type": "video"}]
    assert item["update_time"] - item["create_time"] == 66_400


async def test_before_the_end_outputs_are_absent_or_empty(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client)
    [waiting] = await query(client, task_ids=job_id)
    world.begin(job_id)
    [running] = await query(client, task_ids=job_id)
    assert "outputs" not in waiting
    assert (running["status"], running["outputs"], running["billing"]) == ("processing", [], [])


async def test_failure_is_told_in_the_item_while_the_envelope_still_says_succeed(
    client: httpx.AsyncClient, world: World
) -> None:
    job_id = await create(client, "A boat [sandbox: fail]")
    world.finish(job_id)
    reply = (await client.get(TASKS, params={"task_ids": job_id})).json()
    [item] = reply["data"]
    assert (reply["code"], reply["message"]) == (0, "SUCCEED")
    assert (item["status"], item["outputs"], item["billing"][0]["amount"]) == ("failed", [], "0")
    assert item["message"]


async def test_watermarked_output_comes_beside_the_plain_one(client: httpx.AsyncClient, world: World) -> None:
    asked = {"prompt": "A boat", "options": {"watermark_info": {"enabled": True}}}
    job_id = (await client.post(TEXT, json=asked)).json()["data"]["id"]
    world.finish(job_id)
    [item] = await query(client, task_ids=job_id)
    assert "watermark" in item["outputs"][0]["watermark_url"]


# --- pushes ---------------------------------------------------------------------------------------------------------


async def test_every_change_is_pushed_as_a_bare_unsigned_object(
    client: httpx.AsyncClient, world: World, callback_url: str, arrived: Arrived
) -> None:
    job_id = await create(client, "A boat", callback_url)
    world.begin(job_id)
    world.finish(job_id)
    pushes = await arrived(3)
    assert statuses(pushes) == ["submitted", "processing", "succeeded"]
    [item] = await query(client, task_ids=job_id)
    assert orjson.loads(pushes[-1].body) == item
    assert not any("webhook-signature" in push.headers for push in pushes)
    await world.quiet()
    assert [push.attempts[0].status for push in world.jobs[job_id].pushes] == [204, 204, 204]


async def test_pushes_are_signed_when_the_account_has_a_secret(
    client: httpx.AsyncClient, world: World, clock: HandClock, receiver: Subscriber, callback_url: str, arrived: Arrived
) -> None:
    clock.now = receiver.clock()  # the published library compares with the real time
    world.knobs.webhook_secret = SECRET
    await create(client, "A boat", callback_url)
    [push] = await arrived(1)
    assert (push.valid, push.reason) == (True, None)


async def test_secret_of_one_account_signs_its_pushes_and_nobody_elses(
    client: httpx.AsyncClient, world: World, clock: HandClock, receiver: Subscriber, callback_url: str, arrived: Arrived
) -> None:
    clock.now = receiver.clock()
    world.book.change(Scope("cloudsway", KEY), {"webhook_secret": SECRET})
    await create(client, "A boat", callback_url)
    await arrived(1)
    await client.post(TEXT, json=body("A boat", callback_url), headers={"authorization": "Bearer another"})
    pushes = await arrived(2)
    assert [push.valid for push in pushes] == [True, False]


async def test_external_id_is_unique_within_its_account_and_found_only_there(
    client: httpx.AsyncClient, world: World
) -> None:
    mine = await create(client)
    other = {"authorization": "Bearer another"}
    theirs = (await client.post(TEXT, json=body(), headers=other)).json()["data"]["id"]
    assert [item["id"] for item in await query(client, external_task_ids="task_1")] == [mine]
    reply = await client.get(TASKS, params={"external_task_ids": "task_1"}, headers=other)
    assert [item["id"] for item in reply.json()["data"]] == [theirs]


async def test_failed_job_pushes_failed_with_its_reason(
    client: httpx.AsyncClient, world: World, callback_url: str, arrived: Arrived
) -> None:
    job_id = await create(client, "A boat", callback_url)
    world.finish(job_id, failed=True)
    pushes = await arrived(2)
    assert statuses(pushes) == ["submitted", "failed"]
    assert orjson.loads(pushes[-1].body)["message"]


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directive", "answer"),
    [
        ("refuse", (400, 1301)),
        ("status=429", (429, 1302)),
        ("status=429,code=1101", (429, 1101)),
        ("status=500", (500, 5000)),
        ("status=200,code=1201", (200, 1201)),
        ("no-pusch", (400, 1201)),
    ],
)
async def test_told_to_refuse_it_makes_no_job(
    client: httpx.AsyncClient, world: World, directive: str, answer: tuple[int, int]
) -> None:
    assert refused(await client.post(TEXT, json=body(f"A boat [sandbox: {directive}]"))) == answer
    assert world.accepted == {}


async def test_told_to_fail_after_it_makes_the_job_and_answers_the_error(
    client: httpx.AsyncClient, world: World
) -> None:
    reply = await client.post(TEXT, json=body("A boat [sandbox: status-after=503, retry-after=7]"))
    assert refused(reply) == (503, 5001)
    assert reply.headers["retry-after"] == "7"
    assert world.accepted["cloudsway"] == {"task_1": 1}
    assert len(await query(client, external_task_ids="task_1")) == 1


async def test_status_kling_does_not_use_comes_from_the_gateway_in_plain_text(client: httpx.AsyncClient) -> None:
    reply = await client.post(TEXT, json=body("A boat [sandbox: status=502]"))
    assert (reply.status_code, reply.headers["content-type"]) == (502, "text/plain; charset=utf-8")


async def test_query_can_be_told_to_know_nothing_once(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client)
    world.script.queries.extend(_steps("empty", "status=429", "garbage"))
    assert await query(client, task_ids=job_id) == []
    assert refused(await client.get(TASKS, params={"task_ids": job_id})) == (429, 1302)
    assert not _is_json(await client.get(TASKS, params={"task_ids": job_id}))
    assert len(await query(client, task_ids=job_id)) == 1


async def test_query_can_be_told_to_close_without_an_answer(client: httpx.AsyncClient, world: World) -> None:
    world.script.queries.extend(_steps("close"))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(TASKS, params={"task_ids": "1"})


def _steps(*directives: str) -> list[Step]:
    return [Step(directive=directive) for directive in directives]


def _is_json(reply: httpx.Response) -> bool:
    try:
        reply.json()
    except ValueError:
        return False
    return True
