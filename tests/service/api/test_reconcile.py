"""POST /v1/tasks/{id}/reconcile: rings once, waits if it may, and says why where nobody can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from service.core.observation import Claim, Observation, Reading, Source
from storage.database import Connection
from storage.records import LaneKind, Output
from tests.service.api.house import VIDEO, House, order, ulazai, until


async def bells(house: House) -> list[tuple[object, ...]]:
    async def unit(tx: Connection) -> list[tuple[object, ...]]:
        return await tx.fetch("SELECT claim, source FROM observations WHERE verified_at IS NULL")

    return await house.context.database.read(unit)


async def processing(client: httpx.AsyncClient, house: House) -> str:
    task = str((await client.post("/v1/tasks", json=order())).json()["id"])
    await house.bought(task)
    return task


async def test_it_rings_once_and_answers_before_the_provider_does(house: House, client: httpx.AsyncClient) -> None:
    task = await processing(client, house)
    told = [await client.post(f"/v1/tasks/{task}/reconcile") for _ in range(3)]
    assert {(one.status_code, one.json()["status"]) for one in told} == {(202, "processing")}
    assert all("retry-after" in one.headers for one in told)
    assert await bells(house) == [("asked", "operator")]


@pytest.mark.parametrize(("query", "headers"), [("?wait=30", {}), ("", {"prefer": "wait=30"})], ids=["wait", "prefer"])
async def test_who_waits_gets_what_the_query_brought(
    house: House, client: httpx.AsyncClient, query: str, headers: dict[str, str]
) -> None:
    task = await processing(client, house)
    waiting = asyncio.create_task(client.post(f"/v1/tasks/{task}/reconcile{query}", headers=headers))
    await until(lambda: house.context.watch.waiting == 1)
    await house.saw(task, Claim.SUCCEEDED, source=Source.POLL, outputs=(Output(url=VIDEO),))
    told = await waiting
    assert (told.status_code, told.json()["status"]) == (200, "succeeded")
    assert told.headers.get("preference-applied") == ("wait=30" if headers else None)


async def test_where_nobody_can_be_asked_it_says_why(house: House, client: httpx.AsyncClient) -> None:
    queued = (await client.post("/v1/tasks", json=order())).json()["id"]
    buying = (await client.post("/v1/tasks", json=order())).json()["id"]
    await house.submitting(buying)
    done = (await client.post("/v1/tasks", json=order())).json()["id"]
    await house.succeeded(done, "job-9")
    doubtful = (await client.post("/v1/tasks", json=ulazai())).json()["id"]
    submission = await house.submitting(doubtful)
    await house.context.recorder.record(
        Observation(
            task_id=doubtful,
            source=Source.SUBMIT,
            reading=Reading(claim=Claim.AMBIGUOUS),
            at=house.clock(),
            submission_id=submission,
        )
    )
    for task, why in (
        (queued, "not bought yet"),
        (buying, "on the way"),
        (done, "ended for good"),
        (doubtful, "/resolve settles it"),
    ):
        told = await client.post(f"/v1/tasks/{task}/reconcile")
        assert (told.status_code, told.json()["code"], told.headers["x-should-retry"]) == (
            409,
            "cannot_reconcile",
            "false",
        )
        assert why in told.json()["detail"]
    assert await bells(house) == []


async def test_another_projects_task_is_not_there(
    house: House, client: httpx.AsyncClient, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    task = await processing(client, house)
    async with calling(house.keys["stranger"]) as stranger:
        assert (await stranger.post(f"/v1/tasks/{task}/reconcile")).status_code == 404
    assert await bells(house) == []


async def test_its_lane_is_told(house: House, client: httpx.AsyncClient) -> None:
    task = await processing(client, house)
    await client.post(f"/v1/tasks/{task}/reconcile")

    async def unit(tx: Connection) -> object:
        [(due,)] = await tx.fetch("SELECT next_due_at FROM lanes WHERE kind = :kind", {"kind": LaneKind.ACCOUNT.value})
        return due

    assert await house.context.database.read(unit) <= house.clock()  # type: ignore[operator]
