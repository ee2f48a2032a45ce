from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from storage import delivery_pages, outbox
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
    settled = Settled(delivery_id=delivery["id"], was=0, since=None, status="exhausted", due_at=None, attempt=attempt)
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


async def test_a_delivery_says_what_comes_next_and_what_can_be_done(client: httpx.AsyncClient, house: House) -> None:
    made = (await client.post("/v1/endpoints", json={"url": "https://app.example.org/hooks/done?token=1"})).json()
    task = (await client.post("/v1/tasks", json=order())).json()
    await house.succeeded(task["id"])

    async def look() -> dict[str, Any]:
        [found] = (await client.get("/v1/deliveries", params={"task": task["id"]})).json()["data"]
        assert (await client.get(f"/v1/deliveries/{found['id']}")).json() == found
        return dict(found)

    found = await look()
    assert (found["next"]["action"], found["next"]["at"]) == ("attempt", found["next_attempt_at"])
    assert found["origin"] == "https://app.example.org" and found["links"]["retry"].endswith(f"{found['id']}/retry")
    assert found["links"]["resume"] is None
    await client.post(f"/v1/endpoints/{made['id']}/pause")
    found = await look()
    assert (found["next"]["action"], found["next"]["at"]) == ("wait", None)
    assert found["links"]["resume"].endswith(f"/v1/endpoints/{made['id']}/resume")
    await client.delete(f"/v1/endpoints/{made['id']}")
    found = await look()
    assert (found["status"], found["next"]["action"]) == ("canceled", "none") and "deleted" in found["next"]["reason"]
    assert (found["links"]["retry"], found["links"]["resume"]) == (None, None)


@pytest.mark.parametrize("end", ["exhausted", "canceled", "quarantined", "delivered"])
async def test_what_a_tasks_own_url_was_owed_is_in_the_log_and_can_be_sent_again(
    client: httpx.AsyncClient, house: House, end: str
) -> None:
    hook = "https://run.example.net/x?secret=1"
    body = order(webhook_url=hook, webhook_events=["task.failed", "task.submitted"])
    task = (await client.post("/v1/tasks", json=body)).json()
    await house.failed(task["id"])
    found = (await client.get("/v1/deliveries", params={"task": task["id"]})).json()["data"]
    assert {one["event_type"] for one in found} == {"task.failed", "task.submitted"}
    [hidden] = {one["endpoint"] for one in found}
    assert (await client.get("/v1/endpoints")).json()["data"] == []
    for method, path in (("GET", ""), ("GET", "/secret"), ("POST", "/replay"), ("POST", "/test"), ("DELETE", "")):
        stated = {"which": "failed", "since": "2020-01-01T00:00:00Z"} if path == "/replay" else None
        answer = await client.request(method, f"/v1/endpoints/{hidden}{path}", json=stated)
        assert answer.status_code == 404, (method, path)
    over = f"UPDATE deliveries SET status = '{end}', attempts = 1, due_at = NULL"  # noqa: S608
    await house.context.database.write(lambda tx: tx.fetch(over))
    wanted = {"status": end, "task": task["id"]}
    assert len((await client.get("/v1/deliveries", params=wanted)).json()["data"]) == 2
    by_end = await client.get("/v1/deliveries", params={"status": end})
    assert len(by_end.json()["data"]) == 2 and "secret=1" not in by_end.text
    for one in found:
        again = await client.post(f"/v1/deliveries/{one['id']}/retry")
        assert (again.status_code, again.json()["status"]) == (202, "pending")
    assert len((await client.get("/v1/deliveries?status=pending")).json()["data"]) == 2


async def test_a_page_that_looked_long_enough_says_where_to_go_on(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_pages, "LOOK", 2)
    _, endpoint = await owed(client, house)
    for _ in range(3):
        house.clock.advance(1)
        task = (await client.post("/v1/tasks", json=order(webhook_url="https://run.example.net/x"))).json()
        await house.succeeded(task["id"], f"job-{task['id']}")
    await client.delete(f"/v1/endpoints/{endpoint}")
    found: list[str] = []
    after = None
    while True:
        wanted = {"endpoint": endpoint, **({"after": after} if after else {})}
        page = (await client.get("/v1/deliveries", params=wanted)).json()
        found += [one["id"] for one in page["data"]]
        after = page["next"]
        assert page["has_more"] == (after is not None)
        if after is None:
            break
    assert found == sorted(found, reverse=True) and len(found) == 4


async def test_a_given_up_test_names_another_test_and_no_retry(client: httpx.AsyncClient, house: House) -> None:
    made = (await client.post("/v1/endpoints", json={"url": "https://app.example.org/"})).json()
    sample = (await client.post(f"/v1/endpoints/{made['id']}/test")).json()
    assert sample["links"]["retry"] is None
    await house.context.database.write(
        lambda tx: tx.fetch("UPDATE deliveries SET status = 'exhausted', due_at = NULL, attempts = 1")
    )
    shown = (await client.get(f"/v1/deliveries/{sample['id']}")).json()
    assert shown["links"]["retry"] is None
    assert f"/v1/endpoints/{made['id']}/test makes another" in shown["next"]["reason"]
    assert "/retry" not in shown["next"]["reason"]
