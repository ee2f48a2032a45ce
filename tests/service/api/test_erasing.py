"""DELETE of a task: what it was about is gone from every table, and what happened and what it cost is still told."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources

import httpx
import orjson
import pytest

from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.ledger import Callback
from service.pipeline.replay import check
from storage import audit
from storage.database import Connection
from storage.records import Output
from tests.service.api.house import House, order

CANARY = "a red fox in the snow"
HOOK = "https://hooks.example.org/of-the-red-fox"
MIGRATIONS = resources.files("storage") / "migrations"
EVERYWHERE = sorted(
    table
    for file in MIGRATIONS.iterdir()
    if file.name.endswith(".sql")
    for table in re.findall(r"CREATE TABLE (\w+)", file.read_text())
)


async def dump(house: House) -> str:
    """Everything that is stored, as text."""

    async def unit(tx: Connection) -> str:
        return "\n".join([str(await tx.fetch(f"SELECT * FROM {table}")) for table in EVERYWHERE])  # noqa: S608

    return await house.context.database.read(unit)


async def made(client: httpx.AsyncClient, **more: object) -> str:
    body = order(input={"prompt": CANARY}, metadata={"order": "1"}, **more)
    reply = await client.post("/v1/tasks", json=body, headers={"idempotency-key": "of-the-order"})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


async def finished(client: httpx.AsyncClient, house: House, **more: object) -> str:
    task_id = await made(client, **more)
    submission = await house.bought(task_id)
    reading = Reading(claim=Claim.RUNNING, provider_task_id="job-1", detail=CANARY, raw=CANARY.encode())
    await house.context.recorder.record(
        Callback(provider="cloudsway", submission_id=submission, reading=reading, body=CANARY.encode())
    )
    end = Reading(
        claim=Claim.SUCCEEDED,
        provider_task_id="job-1",
        outputs=(Output(url=f"https://cdn.example/{CANARY}"),),
        raw=CANARY.encode(),
        detail=CANARY,
        charged="2",
        cost_unit="credit",
    )
    seen = Observation(task_id=task_id, source=Source.POLL, reading=end, at=house.clock())
    await house.context.recorder.record(seen)
    return task_id


async def test_what_it_was_about_is_gone_and_its_ledger_stays(client: httpx.AsyncClient, house: House) -> None:
    task_id = await finished(client, house, reference="order-1")
    before = (await client.get(f"/v1/tasks/{task_id}")).json()
    assert CANARY in await dump(house)
    house.clock.advance(5)
    erased = await client.delete(f"/v1/tasks/{task_id}")
    assert (erased.status_code, erased.content) == (204, b"")
    assert CANARY not in await dump(house)
    shown = (await client.get(f"/v1/tasks/{task_id}")).json()
    assert (shown["input"], shown["outputs"], shown["output_url"]) == ({}, [], None)
    assert shown["erased_at"] == shown["updated_at"]
    for kept in (
        "status",
        "provider",
        "account",
        "model",
        "cost",
        "charge",
        "metadata",
        "reference",
        "provider_task_id",
    ):
        assert shown[kept] == before[kept], kept
    for moment in ("created_at", "submitted_at", "finished_at", "final_at", "deadline_at"):
        assert shown[moment] == before[moment], moment


async def test_what_receivers_answered_and_where_they_are_is_gone_as_well(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.post("/v1/endpoints", json={"url": "https://app.example.org/hook"})
    task_id = await finished(client, house, webhook_url=HOOK)

    async def delivered(tx: Connection) -> None:
        head = {"now": house.clock(), "head": CANARY}
        await tx.fetch("INSERT INTO attempts SELECT id, 1, :now, 5, 200, NULL, :head FROM deliveries", head)
        await tx.fetch("UPDATE deliveries SET status = 'delivered', attempts = 1, due_at = NULL")

    await house.context.database.write(delivered)
    before = await dump(house)
    assert (await client.delete(f"/v1/tasks/{task_id}")).status_code == 204
    after = await dump(house)
    assert (CANARY in before, CANARY in after) == (True, False)
    # Deliveries keep where they went: that is the ledger. The task does not.
    hooks = await house.context.database.read(lambda tx: tx.fetch("SELECT webhook_url FROM tasks"))
    assert (hooks, after.count(HOOK)) == ([(None,)], 1)


async def test_the_timeline_the_feed_and_the_link_say_so(client: httpx.AsyncClient, house: House) -> None:
    task_id = await finished(client, house)
    link = (await client.get(f"/v1/tasks/{task_id}")).json()["output_url"]
    was = (await client.get("/v1/events")).json()["data"]
    await client.delete(f"/v1/tasks/{task_id}")
    story = (await client.get(f"/v1/tasks/{task_id}/timeline")).json()["data"]
    kinds = [entry["kind"] for entry in story]
    assert "succeeded" in kinds
    assert kinds[-1] == "erased"
    told = (await client.get("/v1/events")).json()["data"]
    assert [event["id"] for event in told] == [event["id"] for event in was]
    assert {orjson.dumps(event["data"]["input"]) for event in told} == {b"{}"}
    assert (await client.get(link.removeprefix("https://relay.example.org"))).status_code == 410


async def test_a_second_delete_is_as_good_and_the_trail_has_the_first(client: httpx.AsyncClient, house: House) -> None:
    task_id = await finished(client, house)
    assert [(await client.delete(f"/v1/tasks/{task_id}")).status_code for _ in range(3)] == [204, 204, 204]
    trail = await house.context.database.read(lambda tx: audit.of_task(tx, task_id))
    assert [(entry.action, entry.key_id is not None) for entry in trail] == [("erase", True)]


async def test_what_is_said_later_brings_nothing_back(client: httpx.AsyncClient, house: House) -> None:
    task_id = await finished(client, house)
    await client.delete(f"/v1/tasks/{task_id}")
    [submission] = [one["submission"] for one in (await client.get(f"/v1/tasks/{task_id}")).json()["evidence"]]
    reading = Reading(claim=Claim.SUCCEEDED, provider_task_id="job-1", detail=CANARY)
    await house.context.recorder.record(
        Callback(provider="cloudsway", submission_id=submission, reading=reading, body=f"{CANARY} again".encode())
    )
    assert CANARY not in await dump(house)


async def test_a_replay_knows_what_was_erased(client: httpx.AsyncClient, house: House) -> None:
    await client.delete(f"/v1/tasks/{await finished(client, house)}")
    pages = [page async for page in check(house.context.database, key=b"installation")]
    assert [one for page in pages for one in page.differences] == []


@pytest.mark.parametrize("state", ["queued", "bought", "soft"])
async def test_a_task_that_may_still_change_is_not_erased(client: httpx.AsyncClient, house: House, state: str) -> None:
    task_id = await made(client)
    if state == "bought":
        await house.bought(task_id)
    elif state == "soft":
        submission = await house.submitting(task_id)
        lost = Reading(claim=Claim.AMBIGUOUS)
        await house.context.recorder.record(
            Observation(task_id=task_id, source=Source.SUBMIT, reading=lost, at=house.clock(), submission_id=submission)
        )
        await client.post(f"/v1/tasks/{task_id}/resolve", json={"action": "abandon"})
    reply = await client.delete(f"/v1/tasks/{task_id}")
    assert (reply.status_code, reply.json()["code"]) == (409, "cannot_erase")
    assert CANARY in await dump(house)


async def test_what_is_still_owed_to_somebody_is_delivered_first(client: httpx.AsyncClient, house: House) -> None:
    await client.post("/v1/endpoints", json={"url": "https://app.example.org/hook"})
    task_id = await finished(client, house)
    reply = await client.delete(f"/v1/tasks/{task_id}")
    assert (reply.status_code, reply.json()["code"]) == (409, "cannot_erase")
    assert f"/v1/deliveries?status=pending&task={task_id}" in reply.json()["detail"]


async def test_another_projects_task_is_not_there(
    client: httpx.AsyncClient, house: House, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    task_id = await finished(client, house)
    async with calling(house.keys["stranger"]) as stranger:
        assert (await stranger.delete(f"/v1/tasks/{task_id}")).status_code == 404
    assert CANARY in await dump(house)
