from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from service.sandbox.script import Step
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from tests.service.sandbox.conftest import KEY, SECRET, Arrived, HandClock
from tests.service.sandbox.test_acedata_body import ASYNC, TEXT

VIDEOS, TASKS, FILES = "/kling/videos", "/kling/tasks", "/files/upload"


async def create(client: httpx.AsyncClient, **fields: Any) -> str:
    reply = await client.post(VIDEOS, json=ASYNC | fields)
    assert reply.status_code == 200, reply.text
    assert set(reply.json()) == {"task_id"}
    return str(reply.json()["task_id"])


async def retrieve(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    reply = await client.post(TASKS, json={"action": "retrieve", "id": job_id})
    assert reply.status_code == 200, reply.text
    shown: dict[str, Any] = reply.json()
    return shown


async def batch(client: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    reply = await client.post(TASKS, json={"action": "retrieve_batch", **wanted})
    assert reply.status_code == 200, reply.text
    shown: dict[str, Any] = reply.json()
    return shown


def refused(reply: httpx.Response) -> tuple[int, str]:
    body = reply.json()
    assert set(body) == {"error", "trace_id"} and set(body["error"]) == {"code", "message"}
    return reply.status_code, body["error"]["code"]


# --- create, blocking -----------------------------------------------------------------------------------------------


async def blocked(client: httpx.AsyncClient, world: World, **fields: Any) -> tuple[asyncio.Task[httpx.Response], str]:
    """A create in the synchronous form, under way, and its job."""
    creating = asyncio.create_task(client.post(VIDEOS, json=TEXT | fields))
    async with asyncio.timeout(30):
        await world.until(lambda: bool(world.jobs))
    [job_id] = world.jobs
    return creating, job_id


async def test_create_blocks_until_the_job_ends_and_answers_the_video_flat(
    client: httpx.AsyncClient, world: World
) -> None:
    creating, job_id = await blocked(client, world, duration=6)
    world.begin(job_id)
    await retrieve(client, job_id)  # a whole other request is served meanwhile
    assert not creating.done()
    world.finish(job_id)
    reply = await creating
    done = reply.json()
    assert (reply.status_code, len(done.pop("video_id"))) == (200, 18)
    assert done.pop("video_url").startswith("https://")
    assert done == {"success": True, "state": "succeed", "task_id": job_id, "duration": "6.041"}


async def test_job_that_fails_while_its_client_waits_is_an_error_that_names_it(
    client: httpx.AsyncClient, world: World
) -> None:
    creating, job_id = await blocked(client, world)
    world.finish(job_id, failed=True)
    reply = await creating
    body = reply.json()
    assert (reply.status_code, body["success"], body["task_id"]) == (500, False, job_id)
    assert body["error"]["code"] == "api_error"


async def test_client_that_hangs_up_leaves_its_job_behind(client: httpx.AsyncClient, world: World) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.post(VIDEOS, json=TEXT, timeout=httpx.Timeout(60, read=0.2))
    async with asyncio.timeout(30):
        await world.until(lambda: bool(world.jobs))
    [job] = world.jobs.values()
    world.finish(job.id)
    assert (await retrieve(client, job.id))["response"]["success"] is True


async def test_timeout_field_ends_the_wait_with_the_id_alone(
    client: httpx.AsyncClient, world: World, clock: HandClock
) -> None:
    creating, job_id = await blocked(client, world, timeout=30)
    await clock.move(30)
    assert (await creating).json() == {"task_id": job_id}


async def test_reset_frees_a_client_that_waits(client: httpx.AsyncClient, world: World) -> None:
    creating, _ = await blocked(client, world)
    await client.post("/_sandbox/reset")
    assert (await creating).status_code == 500


@pytest.mark.parametrize("form", [{"async": True}, {"callback_url": "http://127.0.0.1:9/hook"}])
async def test_create_answers_the_id_at_once_when_it_need_not_wait(
    client: httpx.AsyncClient, form: dict[str, object]
) -> None:
    reply = await client.post(VIDEOS, json=TEXT | form)
    assert reply.status_code == 200 and set(reply.json()) == {"task_id"}


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "answer"),
    [(None, (400, "no_token")), ("Bearer wrong", (401, "invalid_token")), (KEY, (401, "invalid_token"))],
)
async def test_every_route_wants_the_token(
    client: httpx.AsyncClient, world: World, header: str | None, answer: tuple[int, str]
) -> None:
    world.knobs.api_key = KEY
    del client.headers["authorization"]
    headers = {} if header is None else {"authorization": header}
    replies = [
        await client.post(VIDEOS, json=ASYNC, headers=headers),
        await client.post(TASKS, json={"action": "retrieve", "id": "1"}, headers=headers),
        await client.post(FILES, files={"file": b"x"}, headers=headers),
    ]
    assert [refused(reply) for reply in replies] == [answer] * 3


@pytest.mark.parametrize(
    ("directive", "answer"),
    [
        ("refuse", (403, "forbidden")),
        ("status=403, code=used_up", (403, "used_up")),
        ("status=403, code=disabled", (403, "disabled")),
        ("status=429", (429, "too_many_requests")),
        ("status=500", (500, "api_error")),
        ("status=504", (504, "timeout")),
        ("no-pusch", (400, "bad_request")),
    ],
)
async def test_told_to_refuse_it_makes_no_job(
    client: httpx.AsyncClient, world: World, directive: str, answer: tuple[int, str]
) -> None:
    reply = await client.post(VIDEOS, json=ASYNC | {"prompt": f"A mug [sandbox: {directive}]"})
    assert refused(reply) == answer
    assert world.accepted == {}


async def test_seeds_own_sample_is_refused_because_its_model_is_gone(client: httpx.AsyncClient, world: World) -> None:
    reply = await client.post(VIDEOS, json=ASYNC | {"model": "kling-v1"})
    assert refused(reply) == (400, "bad_request") and "retired" in reply.text
    world.knobs.retired_models = ()
    assert await create(client, model="kling-v1")


async def test_body_or_path_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    assert refused(await client.post(VIDEOS, content=b"{", headers={"content-type": "application/json"})) == (
        400,
        "bad_request",
    )
    assert refused(await client.post("/kling/video", json=ASYNC)) == (404, "no_api")
    assert refused(await client.get(VIDEOS)) == (404, "no_api")


async def test_extension_is_of_a_video_it_made(client: httpx.AsyncClient, world: World) -> None:
    first = await create(client)
    world.finish(first)
    video = (await retrieve(client, first))["response"]["video_id"]
    extend = {"action": "extend", "model": "kling-v2-5-turbo"}
    assert await create(client, **extend, video_id=video)
    assert refused(await client.post(VIDEOS, json=ASYNC | extend | {"video_id": "8910"})) == (400, "bad_request")


@pytest.mark.parametrize(("names", "named"), [(", names-task", True), ("", False)])
async def test_error_after_a_purchase_names_the_job_when_told_to(
    client: httpx.AsyncClient, world: World, names: str, named: bool
) -> None:
    reply = await client.post(VIDEOS, json=ASYNC | {"prompt": f"A mug [sandbox: status-after=500{names}]"})
    [job_id] = world.jobs
    assert reply.status_code == 500
    assert reply.json().get("task_id") == (job_id if named else None)


# --- records --------------------------------------------------------------------------------------------------------


async def test_record_tells_its_state_by_what_is_there(
    client: httpx.AsyncClient, world: World, clock: HandClock
) -> None:
    job_id = await create(client)
    waiting = await retrieve(client, job_id)
    clock.now += 0.75
    world.begin(job_id)
    running = await retrieve(client, job_id)
    clock.now += 316.5
    world.finish(job_id)
    done = await retrieve(client, job_id)
    assert all("status" not in shown and "state" not in shown for shown in (waiting, running, done))
    assert {"started_at", "finished_at", "elapsed", "response"} & set(waiting) == set()
    assert (running["started_at"], running["response"]) == (waiting["created_at"] + 0.75, {})
    assert "finished_at" not in running and "elapsed" not in running
    assert (done["elapsed"], done["finished_at"] - done["started_at"]) == (316.5, 316.5)
    assert isinstance(waiting["created_at"], float)
    assert done["response"]["success"] is True


async def test_record_echoes_the_request_with_its_callback_url(client: httpx.AsyncClient) -> None:
    body = TEXT | {"callback_url": "http://127.0.0.1:9/callbacks/acedata/token"}
    job_id = (await client.post(VIDEOS, json=body)).json()["task_id"]
    assert (await retrieve(client, job_id))["request"] == body


async def test_failed_record_has_the_error_and_costs_nothing(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client, prompt="A mug [sandbox: fail, code=forbidden]")
    world.finish(job_id)
    response = (await retrieve(client, job_id))["response"]
    assert (response["success"], response["task_id"], response["error"]["code"]) == (False, job_id, "forbidden")
    [account] = world.accounts.values()
    assert account.spent == 0


async def test_unknown_word_and_a_missing_url_show_inside_the_response(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client, prompt="A mug [sandbox: unknown-word, no-output]")
    world.begin(job_id)
    assert (await retrieve(client, job_id))["response"] == {"state": "reviewing"}
    world.finish(job_id)
    response = (await retrieve(client, job_id))["response"]
    assert response["success"] is True and "video_url" not in response


async def test_unknown_id_is_an_empty_object_and_no_item(client: httpx.AsyncClient) -> None:
    assert await retrieve(client, "c1d2e3f4") == {}
    assert await batch(client, ids=["c1d2e3f4"]) == {"items": [], "count": 0}


async def test_batch_leaves_out_the_unknown_and_does_not_follow_the_order_of_the_question(
    client: httpx.AsyncClient, clock: HandClock
) -> None:
    first = await create(client)
    clock.now += 1
    second = await create(client)
    found = await batch(client, ids=[first, "nobody", second])
    assert ([item["id"] for item in found["items"]], found["count"]) == ([second, first], 2)


async def test_page_is_by_time_newest_first_and_of_the_callers_own(
    client: httpx.AsyncClient, world: World, clock: HandClock
) -> None:
    start, made = clock.now, []
    for _ in range(4):
        made.append(await create(client))
        await client.post(VIDEOS, json=ASYNC, headers={"authorization": "Bearer another"})
        clock.now += 10
    late = await batch(client, created_at_min=start + 10, created_at_max=start + 30, limit=2)
    rest = await batch(client, created_at_min=start + 10, created_at_max=start + 30, limit=2, offset=2)
    assert [item["id"] for item in (*late["items"], *rest["items"])] == [made[3], made[2], made[1]]
    assert (late["count"], rest["count"]) == (3, 3)
    assert {query.by for job_id in made[1:] for query in world.jobs[job_id].queries} == {"filter"}


async def test_queries_can_be_told_to_fail_before_they_are_well_again(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client)
    world.script.queries += [Step(directive="status=500"), Step(directive="empty"), Step(directive="garbage")]
    question = {"action": "retrieve", "id": job_id}
    replies = [await client.post(TASKS, json=question) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [500, 200, 200, 200]
    assert replies[1].json() == {} and b"\xff" in replies[2].content
    assert replies[3].json()["id"] == job_id


# --- pushes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failed", [False, True])
async def test_one_unsigned_push_comes_at_the_end_and_nothing_before(
    client: httpx.AsyncClient,
    world: World,
    receiver: Subscriber,
    callback_url: str,
    arrived: Arrived,
    failed: bool,
) -> None:
    world.knobs.webhook_secret = SECRET  # Kling's pages know signatures, AceData's say there are none
    job_id = (await client.post(VIDEOS, json=TEXT | {"callback_url": callback_url})).json()["task_id"]
    world.begin(job_id)
    await world.quiet()
    assert not receiver.received
    world.finish(job_id, failed=failed)
    [push] = await arrived(1)
    body = orjson.loads(push.body)
    assert (body["success"], body["task_id"]) == (not failed, job_id)
    assert body["trace_id"] == (await retrieve(client, job_id))["trace_id"]
    assert ("error" in body, "video_url" in body) == (failed, not failed)
    assert "webhook-signature" not in push.headers


async def test_no_push_without_a_callback_url(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client)
    world.finish(job_id)
    assert world.jobs[job_id].pushes == []


# --- upload ---------------------------------------------------------------------------------------------------------


async def test_upload_takes_any_file_of_25_megabytes_and_answers_its_url(client: httpx.AsyncClient) -> None:
    replies = [
        await client.post(FILES, files={"file": ("a.png", bytes(size), "image/png")})
        for size in (1, 25 << 20, (25 << 20) + 1, 26 << 20)
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 400, 400]
    assert replies[0].json()["file_url"].startswith("https://")
    assert refused(replies[2]) == refused(await client.post(FILES, files={"file": b""})) == (400, "bad_request")
