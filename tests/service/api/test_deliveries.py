from __future__ import annotations

from collections.abc import Callable

import httpx

from storage import outbox
from storage.outbox import Settled
from storage.records import Attempt
from tests.service.api.house import House, order

Calling = Callable[[str], httpx.AsyncClient]


async def owed(client: httpx.AsyncClient, house: House) -> tuple[str, str]:
    """A task whose two ends are owed: to an endpoint, and to its own URL. Returns task and endpoint."""
    made = (await client.post("/v1/endpoints", json={"url": "https://app.example.org/"})).json()
    task = (await client.post("/v1/tasks", json=order(webhook_url="https://run.example.net/x?secret=1"))).json()
    await house.succeeded(task["id"])
    return task["id"], made["id"]


async def test_a_delivery_shows_its_attempts_and_its_next(client: httpx.AsyncClient, house: House) -> None:
    _, endpoint = await owed(client, house)
    [delivery] = (await client.get("/v1/deliveries", params={"endpoint": endpoint})).json()["data"]
    assert (delivery["status"], delivery["attempts"]) == ("pending", []) and delivery["next_attempt_at"]
    attempt = Attempt(
        delivery_id=delivery["id"],
        number=1,
        at=house.clock(),
        duration_ms=12,
        status_code=500,
        error_class="http",
        response_head="oops",
    )
    settled = Settled(delivery_id=delivery["id"], was=0, status="exhausted", due_at=None, attempt=attempt)
    await house.context.database.write(lambda tx: outbox.settle(tx, [settled], now=house.clock()))
    shown = (await client.get(f"/v1/deliveries/{delivery['id']}")).json()
    assert (shown["status"], shown["next_attempt_at"]) == ("exhausted", None)
    assert [(one["status_code"], one["error_class"], one["response_head"]) for one in shown["attempts"]] == [
        (500, "http", "oops")
    ]
    assert [one["id"] for one in (await client.get("/v1/deliveries?status=exhausted")).json()["data"]] == [
        delivery["id"]
    ]


async def test_deliveries_are_found_by_task_and_event_and_never_show_a_tasks_own_url(
    client: httpx.AsyncClient, house: House
) -> None:
    task, endpoint = await owed(client, house)
    other, _ = await owed(client, house)
    found = await client.get("/v1/deliveries", params={"task": task})
    assert {one["task"] for one in found.json()["data"]} == {task} and len(found.json()["data"]) == 2
    event = found.json()["data"][0]["event"]
    of_event = (await client.get("/v1/deliveries", params={"event": event, "endpoint": endpoint})).json()["data"]
    assert [(one["event"], one["endpoint"]) for one in of_event] == [(event, endpoint)]
    assert (await client.get("/v1/deliveries", params={"event": event, "task": other})).json()["data"] == []
    assert "secret=1" not in found.text


async def test_deliveries_page_newest_first(client: httpx.AsyncClient, house: House) -> None:
    await owed(client, house)
    first = (await client.get("/v1/deliveries?limit=1")).json()
    second = (await client.get("/v1/deliveries", params={"limit": "1", "after": first["next"]})).json()
    assert first["data"][0]["id"] > second["data"][0]["id"] and not second["has_more"]


async def test_another_projects_deliveries_are_not_there(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    task, _ = await owed(client, house)
    delivery = (await client.get("/v1/deliveries")).json()["data"][0]
    async with calling(house.keys["stranger"]) as stranger:
        for query in ("", f"?task={task}", f"?event={delivery['event']}", f"?endpoint={delivery['endpoint']}"):
            assert (await stranger.get(f"/v1/deliveries{query}")).json()["data"] == []
        assert (await stranger.get(f"/v1/deliveries/{delivery['id']}")).status_code == 404


async def test_a_delivery_is_retried_by_hand_whatever_became_of_it(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    made = (await client.post("/v1/endpoints", json={"url": "https://app.example.org/hooks"})).json()
    task = (await client.post("/v1/tasks", json=order())).json()
    await house.succeeded(task["id"])
    [owed] = (await client.get("/v1/deliveries")).json()["data"]
    path = f"/v1/deliveries/{owed['id']}/retry"
    end = "UPDATE deliveries SET status = 'exhausted', attempts = 10, due_at = NULL"
    await house.context.database.write(lambda tx: tx.fetch(end))
    again = await client.post(path)
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    async with calling(house.keys["stranger"]) as stranger:
        assert (await stranger.post(path)).status_code == 404
    async with calling(await house.key_with("tasks", "read")) as reader:
        assert (await reader.post(path)).status_code == 403
    await client.delete(f"/v1/endpoints/{made['id']}")
    refused = await client.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_inactive")
