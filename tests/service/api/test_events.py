from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from tests.service.api.house import House, order, until

Calling = Callable[[str], httpx.AsyncClient]


async def ended(client: httpx.AsyncClient, house: House, count: int) -> list[str]:
    """Tasks of which each made two events: submitted, succeeded."""
    made = []
    for _ in range(count):
        task = (await client.post("/v1/tasks", json=order())).json()
        await house.succeeded(task["id"], f"job-{task['id']}")
        made.append(task["id"])
    return made


async def test_the_feed_is_oldest_first_and_its_cursor_goes_on_for_ever(
    client: httpx.AsyncClient, house: House
) -> None:
    empty = (await client.get("/v1/events")).json()
    assert (empty["data"], empty["has_more"]) == ([], False) and empty["next"]
    tasks = await ended(client, house, 2)
    first = (await client.get("/v1/events", params={"after": empty["next"], "limit": "3"})).json()
    assert [event["type"] for event in first["data"]] == ["task.submitted", "task.succeeded", "task.submitted"]
    assert first["has_more"] is True
    rest = (await client.get("/v1/events", params={"after": first["next"]})).json()
    assert [event["data"]["id"] for event in rest["data"]] == [tasks[1]]
    done = (await client.get("/v1/events", params={"after": rest["next"]})).json()
    assert (done["data"], done["next"]) == ([], rest["next"])
    await ended(client, house, 1)
    assert len((await client.get("/v1/events", params={"after": done["next"]})).json()["data"]) == 2


async def test_the_feed_can_be_read_backwards_by_type_and_by_task(client: httpx.AsyncClient, house: House) -> None:
    tasks = await ended(client, house, 3)
    newest = (await client.get("/v1/events?order=desc&type=task.succeeded&limit=2")).json()
    assert [event["data"]["id"] for event in newest["data"]] == [tasks[2], tasks[1]]
    older = (
        await client.get("/v1/events", params={"order": "desc", "type": "task.succeeded", "after": newest["next"]})
    ).json()
    assert [event["data"]["id"] for event in older["data"]] == [tasks[0]]
    of_task = (await client.get("/v1/events", params={"task": tasks[1], "limit": "1"})).json()
    assert [event["type"] for event in of_task["data"]] == ["task.submitted"]
    going_on = (await client.get("/v1/events", params={"task": tasks[1], "after": of_task["next"]})).json()
    assert [event["type"] for event in going_on["data"]] == ["task.succeeded"]


async def test_waiting_for_the_feed_ends_with_the_next_event(client: httpx.AsyncClient, house: House) -> None:
    task = (await client.post("/v1/tasks", json=order())).json()
    waiting = asyncio.create_task(client.get("/v1/events?wait=30"))
    await until(lambda: house.context.watch.waiting == 1)
    await house.bought(task["id"])
    [event] = (await asyncio.wait_for(waiting, 5)).json()["data"]
    assert event["type"] == "task.submitted"


async def test_one_event_is_given_byte_for_byte_as_it_is_signed(client: httpx.AsyncClient, house: House) -> None:
    await ended(client, house, 1)
    [_, event] = (await client.get("/v1/events")).json()["data"]
    answer = await client.get(f"/v1/events/{event['id']}")
    [(body,)] = await house.context.database.read(
        lambda tx: tx.fetch("SELECT body FROM events WHERE id = :id", {"id": event["id"]})
    )
    assert answer.content == body


async def test_another_projects_events_are_not_there(client: httpx.AsyncClient, house: House, calling: Calling) -> None:
    [task] = await ended(client, house, 1)
    [event, _] = (await client.get("/v1/events")).json()["data"]
    async with calling(house.keys["stranger"]) as stranger:
        assert (await stranger.get("/v1/events")).json()["data"] == []
        assert (await stranger.get(f"/v1/events?task={task}")).json()["data"] == []
        assert (await stranger.get(f"/v1/events/{event['id']}")).status_code == 404


@pytest.mark.parametrize("query", ["after=x", "after=dGFza18x", "order=up", "type=task.done", "wait=61", "since=1"])
async def test_a_bad_parameter_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/events?{query}")).status_code == 422
