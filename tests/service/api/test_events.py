from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from service.api.app import create_app
from service.api.query import position_cursor
from service.core.times import iso
from tests.service.api.house import House, order, until
from tests.service.api.test_stream import Flaky

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
    [event] = (await asyncio.wait_for(waiting, 30)).json()["data"]
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


async def test_several_types_and_groups_of_them_can_be_asked_for(client: httpx.AsyncClient, house: House) -> None:
    await ended(client, house, 1)

    async def types(asked: str) -> list[str]:
        return [event["type"] for event in (await client.get(f"/v1/events?type={asked}")).json()["data"]]

    assert await types("task.submitted,task.succeeded") == await types("task.*") == ["task.submitted", "task.succeeded"]
    assert await types("task.failed,endpoint.*") == []


async def test_the_id_of_an_event_is_a_place_as_good_as_a_cursor(client: httpx.AsyncClient, house: House) -> None:
    await ended(client, house, 2)
    first, *rest = (await client.get("/v1/events")).json()["data"]
    assert (await client.get(f"/v1/events?after={first['id']}")).json()["data"] == rest
    assert (await client.get(f"/v1/events?after={rest[0]['id']}&order=desc")).json()["data"] == [first]


async def test_the_feed_can_begin_at_an_instant(client: httpx.AsyncClient, house: House) -> None:
    await ended(client, house, 1)
    house.clock.advance(600)
    between = iso(house.clock())
    house.clock.advance(1)
    [later] = await ended(client, house, 1)
    found = (await client.get("/v1/events", params={"created_after": between})).json()["data"]
    assert [event["data"]["id"] for event in found] == [later, later]
    newest = (await client.get("/v1/events", params={"created_after": between, "order": "desc"})).json()["data"]
    assert newest == found[::-1]


async def test_what_was_looked_through_in_vain_is_behind_the_next_cursor(
    client: httpx.AsyncClient, house: House
) -> None:
    await ended(client, house, 2)
    nothing = (await client.get("/v1/events?type=task.failed")).json()
    assert (nothing["data"], nothing["has_more"]) == ([], False)
    everything = (await client.get("/v1/events")).json()
    assert nothing["next"] == everything["next"]
    newest = (await client.get("/v1/events?order=desc&type=task.failed")).json()
    assert newest["next"] == everything["next"]  # how a client learns where the feed ends now


async def test_a_wait_goes_on_through_events_nobody_asked_for_and_ends_with_the_process(
    client: httpx.AsyncClient, house: House
) -> None:
    waiting = asyncio.create_task(client.get("/v1/events?wait=30&type=task.failed"))
    await until(lambda: house.context.watch.waiting == 1)
    await ended(client, house, 1)
    house.context.watch.close()
    answer = (await asyncio.wait_for(waiting, 30)).json()
    assert answer["data"] == []
    assert answer["next"] == (await client.get("/v1/events")).json()["next"]


async def test_a_wait_looks_only_at_what_is_new(house: House) -> None:
    counted = Flaky(house.context.database)
    house.context = replace(house.context, database=counted)
    async with house.client(create_app(house.context), house.key) as client:
        await ended(client, house, 1)
        before = counted.reads
        waiting = asyncio.create_task(client.get("/v1/events?wait=30&type=task.failed"))
        await until(lambda: counted.reads == before + 2)  # the key, and what there is
        write = counted.inner.write
        await write(lambda tx: tx.fetch("UPDATE events SET type = 'task.failed'"))  # behind its back
        house.context.watch.changed([house.project_id])
        await until(lambda: counted.reads == before + 3)
        house.context.watch.close()
        assert (await asyncio.wait_for(waiting, 30)).json()["data"] == []


async def test_a_place_from_where_something_would_be_missed_is_refused(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    await ended(client, house, 1)
    first, second = (await client.get("/v1/events")).json()["data"]
    unknown = await client.get("/v1/events?after=evt_00000000000000000000000000")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    async with calling(house.keys["stranger"]) as stranger:
        assert (await stranger.get(f"/v1/events?after={first['id']}")).status_code == 404
    [(place,)] = await house.context.database.read(lambda tx: tx.fetch("SELECT max(position) FROM events"))
    ahead = await client.get(f"/v1/events?after={position_cursor(int(str(place)) + 1)}")
    assert ahead.status_code == 422 and "ahead of the feed" in ahead.json()["detail"]
    forget = "UPDATE projects SET forgotten = :place WHERE id = :id"
    await house.context.database.write(lambda tx: tx.fetch(forget, {"id": house.project_id, "place": place}))
    gone = await client.get(f"/v1/events?after={first['id']}")
    assert (gone.status_code, gone.json()["code"]) == (410, "events_gone")
    assert gone.json()["next"] == position_cursor(int(str(place)))
    assert (await client.get(f"/v1/events?after={second['id']}")).status_code == 200


@pytest.mark.parametrize("query", ["after=x", "after=dGFza18x", "order=up", "type=task.done", "wait=61", "since=1"])
async def test_a_bad_parameter_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/events?{query}")).status_code == 422
