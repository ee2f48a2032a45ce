"""Videos over the API: a translation of tasks, so what is stored, refused and hidden is what tasks are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.core.observation import Claim
from service.net.client import Channel
from service.sandbox.jobs import Knobs
from service.sandbox.serve import serve
from service.sandbox.world import World
from tests.service.api.house import House, account, until
from tests.service.core.pictures import png

MODEL = "cloudsway/kling-3.0-turbo"
BODY = {"model": MODEL, "prompt": "A boat", "seconds": "5"}
POLLING = {"x-stainless-poll-helper": "true"}
NOBODY = "task_" + "0" * 26
HELD: tuple[tuple[dict[str, str], float], ...] = (
    ({}, 0.0),
    (POLLING, 20.0),
    ({**POLLING, "x-stainless-read-timeout": "600"}, 20.0),
    ({**POLLING, "x-stainless-read-timeout": "0.02"}, 0.01),
    ({**POLLING, "x-stainless-timeout": "0"}, 0.0),
    ({**POLLING, "x-stainless-read-timeout": "1e999"}, 20.0),
    ({"x-stainless-poll-helper": "no"}, 0.0),
)


async def made(client: httpx.AsyncClient, **more: object) -> str:
    reply = await client.post("videos", json={**BODY, **more})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["id"])


def places(reply: httpx.Response) -> dict[str, str]:
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error"), reply.text
    return {fault["pointer"]: fault["detail"] for fault in reply.json()["errors"]}


async def test_every_fault_is_told_at_once_where_it_stands_and_nothing_is_stored(
    client: httpx.AsyncClient, house: House
) -> None:
    before = await house.sizes()
    wrong = {
        "model": MODEL,
        "prompt": "",
        "seconds": "99",
        "size": "1x1",
        "input_reference": "x",
        "sound": False,
        "no": 1,
    }
    told = places(await client.post("videos", json=wrong))
    assert set(told) >= {"/seconds", "/size", "/input_reference", "/no"} and "makes 3 to 15 seconds" in told["/seconds"]
    assert set(places(await client.post("videos", json={"model": "nobody/x", "prompt": "A boat"}))) == {"/model"}
    assert set(places(await client.post("videos", json={"prompt": "A boat"}))) == {"/model"}
    assert set(places(await client.post("videos", json={**BODY, "model": "cloudsway/kling-9"}))) == {"/model"}
    assert "beside prompt" in places(await client.post("videos", json={**BODY, "input": {}}))["/input"]
    assert await house.sizes() == before


async def test_a_create_that_is_asked_again_is_done_once(client: httpx.AsyncClient) -> None:
    named = {"idempotency-key": '"one"'}
    first, again = [await client.post("videos", json=BODY, headers=named) for _ in range(2)]
    assert first.content == again.content and again.headers["taskrelay-replayed"] == "key"
    form = {name: (None, value) for name, value in BODY.items()}
    lost = await client.post("videos", files=form, headers={"x-stainless-retry-count": "0"})
    retried = await client.post("videos", files=form, headers={"x-stainless-retry-count": "1"})
    assert retried.json()["id"] == lost.json()["id"] != first.json()["id"]
    other = await client.post("videos", json={**BODY, "prompt": "B"}, headers=named)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_half_a_character_in_a_form_is_refused_at_its_place_whether_asked_again_or_not(
    client: httpx.AsyncClient,
) -> None:
    form = {**{name: (None, value) for name, value in BODY.items()}, "metadata": (None, '{"a": "\\ud800"}')}
    for headers in ({}, {"x-stainless-retry-count": "0"}):
        assert set(places(await client.post("videos", files=form, headers=headers))) == {"/metadata/a"}


async def test_another_image_under_the_same_key_is_another_request(client: httpx.AsyncClient, house: House) -> None:
    world = World(Knobs(job_seconds=None))
    server = await serve(world)
    channel = Channel(name="ulazai", base_url=server.url, api_key="secret-provider-key")
    house.context.accounts["ulazai"] = account("ulazai", "ulazai", None, channel=channel)  # type: ignore[index]
    text = {name: (None, value) for name, value in BODY.items()}
    try:
        told = [
            await client.post(
                "videos", files={**text, "input_reference": ("upload", image)}, headers={"idempotency-key": "one"}
            )
            for image in (png(), png(), png() + b"\0")
        ]
    finally:
        await server.stop()
    assert told[0].status_code == 200 and told[1].content == told[0].content
    assert (told[2].status_code, told[2].json()["code"]) == (422, "idempotency_key_reused")


async def test_a_reference_that_is_taken_is_not_retried(client: httpx.AsyncClient) -> None:
    await made(client, reference="order-1")
    taken = await client.post("videos", json={**BODY, "reference": "order-1"})
    assert (taken.status_code, taken.headers["x-should-retry"]) == (409, "false")


async def test_an_image_is_stored_where_its_model_is_or_else_where_one_can(
    client: httpx.AsyncClient, house: House
) -> None:
    world = World(Knobs(job_seconds=None))
    server = await serve(world)
    channel = Channel(name="ulazai", base_url=server.url, api_key="secret-provider-key")
    house.context.accounts["ulazai"] = account("ulazai", "ulazai", None, channel=channel)  # type: ignore[index]
    try:
        for model in ("ulazai/kling-3.0", MODEL):
            form: dict[str, Any] = {
                "model": (None, model),
                "prompt": (None, "A boat"),
                "input_reference": ("upload", png()),
            }
            reply = await client.post("videos", files=form)
            assert reply.status_code == 200, reply.text
            task = (await client.get(f"http://anything.test/v1/tasks/{reply.json()['id']}")).json()
            assert task["input"]["image"].startswith("https://")
        wrong: dict[str, Any] = {"model": (None, MODEL), "prompt": (None, ""), "input_reference": ("upload", png())}
        asked = len(world.requests)
        assert "/prompt" in places(await client.post("videos", files=wrong))
        noise: dict[str, Any] = {
            "model": (None, MODEL),
            "prompt": (None, "A boat"),
            "input_reference": ("upload", b"<svg/>"),
        }
        assert "no JPEG, PNG or WebP" in places(await client.post("videos", files=noise))["/input_reference"]
        assert len(world.requests) == asked
    finally:
        await server.stop()


async def test_where_nobody_stores_images_a_file_is_refused(client: httpx.AsyncClient, house: House) -> None:
    del house.context.accounts["ulazai"]  # type: ignore[attr-defined]
    form: dict[str, Any] = {"model": (None, MODEL), "prompt": (None, "A boat"), "input_reference": ("upload", png())}
    assert "No account here stores images" in places(await client.post("videos", files=form))["/input_reference"]


async def test_the_poll_helper_is_held_until_the_end(client: httpx.AsyncClient, house: House) -> None:
    task_id = await made(client)
    waiting = asyncio.create_task(client.get(f"videos/{task_id}", headers=POLLING))
    await until(lambda: house.context.watch.waiting == 1)
    await house.bought(task_id)
    assert not waiting.done()
    await house.saw(task_id, Claim.FAILED)
    reply = await waiting
    assert reply.json()["status"] == "failed" and "openai-poll-after-ms" not in reply.headers


async def test_who_was_held_in_vain_comes_back_soon(client: httpx.AsyncClient) -> None:
    reply = await client.get(f"videos/{await made(client)}", headers={**POLLING, "x-stainless-read-timeout": "0.02"})
    assert (reply.json()["status"], reply.headers["openai-poll-after-ms"]) == ("queued", "500")


async def test_nobody_is_held_for_longer_than_they_wait(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []
    until = house.context.watch.until

    async def noted(*arguments: object, seconds: float, **more: object) -> object:
        held.append(seconds)
        return await until(*arguments, seconds=0, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(house.context.watch, "until", noted)
    path = f"videos/{await made(client)}"
    for headers, seconds in HELD:
        reply = await client.get(path, headers=headers)
        assert held.pop() == seconds
        # Nothing was held here, so whoever wanted that is asked to come seldom.
        assert reply.headers["openai-poll-after-ms"] == ("5000" if seconds else "500")


async def test_the_list_goes_on_behind_the_last_id(client: httpx.AsyncClient) -> None:
    ids = [await made(client) for _ in range(3)]
    first = (await client.get("videos", params={"limit": 2})).json()
    assert [one["id"] for one in first["data"]] == ids[:0:-1] and first["has_more"] is True
    rest = (await client.get("videos", params={"limit": 2, "after": first["last_id"]})).json()
    assert [one["id"] for one in rest["data"]] == ids[:1] and rest["has_more"] is False
    up = (await client.get("videos", params={"order": "asc", "after": ids[0]})).json()
    assert [one["id"] for one in up["data"]] == ids[1:]


async def test_a_page_that_cannot_be_is_refused(client: httpx.AsyncClient) -> None:
    for query in ["limit=0", "limit=101", "order=up", "after=x", "after=ep_00000000000000000000000000", "x=1"]:
        assert places(await client.get(f"videos?{query}")), query


async def test_delete_erases_what_ended_and_keeps_what_goes_on(client: httpx.AsyncClient, house: House) -> None:
    open_one, ended = await made(client), await made(client)
    refused = await client.delete(f"videos/{open_one}", headers={"content-type": "application/json"})
    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")
    await house.succeeded(ended)
    for _ in range(2):
        assert (await client.delete(f"videos/{ended}")).json() == {
            "id": ended,
            "object": "video.deleted",
            "deleted": True,
        }
    assert (await client.get(f"videos/{ended}")).status_code == 404
    assert (await client.get(f"videos/{ended}/content")).status_code == 404
    assert [one["id"] for one in (await client.get("videos")).json()["data"]] == [open_one]


async def test_content_leads_to_the_output_and_says_why_there_is_none(client: httpx.AsyncClient, house: House) -> None:
    ended, failed, going = [await made(client) for _ in range(3)]
    await house.succeeded(ended, "job-1")
    await house.failed(failed, "job-2")
    found = await client.get(f"videos/{ended}/content")
    task = (await client.get(f"http://anything.test/v1/tasks/{ended}")).json()
    assert (found.status_code, found.headers["location"]) == (302, task["output_url"])
    answers = {
        (failed, ""): (410, "output_gone"),
        (going, ""): (409, "output_not_ready"),
        (ended, "?variant=thumbnail"): (404, "not_offered"),
        (ended, "?variant=sound"): (400, "invalid_request"),
    }
    for (task_id, query), expected in answers.items():
        reply = await client.get(f"videos/{task_id}/content{query}")
        assert (reply.status_code, reply.json()["error"]["code"]) == expected


async def test_another_project_sees_and_changes_nothing(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, house: House
) -> None:
    task_id = await made(client)
    await house.succeeded(task_id)
    for method, path in (("GET", "videos/{}"), ("DELETE", "videos/{}"), ("GET", "videos/{}/content")):
        there, nowhere = [await stranger.request(method, path.format(id)) for id in (task_id, NOBODY)]
        told = [{**one.json(), "request_id": ""} for one in (there, nowhere)]
        assert there.status_code == 404 and told[0] == told[1]
    assert (await stranger.get("videos")).json()["data"] == []
    assert (await stranger.get("videos", params={"after": task_id, "order": "asc"})).json()["data"] == []
    assert (await client.get(f"videos/{task_id}")).json()["status"] == "completed"


async def test_what_openai_has_beside_is_not_offered(client: httpx.AsyncClient) -> None:
    asked = ["POST videos/x/remix", "POST videos/edits", "POST videos/extensions", "POST videos/characters"]
    for method, path in [one.split() for one in [*asked, "GET videos/characters/c"]]:
        reply = await client.request(method, path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_offered")


async def test_scopes_are_those_of_tasks(
    client: httpx.AsyncClient, house: House, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    async with calling(await house.key_with("read")) as reader:
        assert (await reader.get("/openai/v1/videos")).status_code == 200
        refused = await reader.post("/openai/v1/videos", json=BODY)
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
