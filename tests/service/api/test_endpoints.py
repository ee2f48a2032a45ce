from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from service.core import signature
from storage import endpoint_secrets
from storage.records import LaneKind
from tests.service.api.house import House, order

Calling = Callable[[str], httpx.AsyncClient]
URL = "https://app.example.org/hooks"


async def subscribe(client: httpx.AsyncClient, **more: object) -> dict[str, object]:
    answer = await client.post("/v1/endpoints", json={"url": URL, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


async def test_the_secret_is_shown_once_and_kept_sealed(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.post("/v1/endpoints", json={"url": URL})
    made = answer.json()
    assert answer.headers["location"].endswith(f"/v1/endpoints/{made['id']}")
    assert len(signature.decode_secret(made["secret"])) == 24
    assert made["events"] == ["task.canceled", "task.expired", "task.failed", "task.succeeded"]
    again = (await client.get(f"/v1/endpoints/{made['id']}")).json()
    assert {**again, "secret": made["secret"]} == made
    now = house.clock()
    [stored] = await house.context.database.read(lambda tx: endpoint_secrets.live(tx, made["id"], now=now))
    assert made["secret"] not in stored.sealed
    assert house.context.keyring.open(stored.sealed, "endpoint-secret") == made["secret"]


async def test_a_clients_own_secret_is_taken(client: httpx.AsyncClient) -> None:
    own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert (await subscribe(client, secret=own))["secret"] == own


async def test_an_endpoint_hears_what_it_asked_for(client: httpx.AsyncClient, house: House) -> None:
    every = await subscribe(client, events=["task.*"], description="all of it", max_in_flight=2)
    ends = await subscribe(client)
    task = (await client.post("/v1/tasks", json=order())).json()
    await house.bought(task["id"])
    listed = (await client.get("/v1/deliveries")).json()["data"]
    assert [(one["endpoint"], one["event_type"]) for one in listed] == [(every["id"], "task.submitted")]
    assert ends["max_in_flight"] == 8


BAD: list[tuple[object, set[str]]] = [
    ([], {""}),
    ({}, {"/url"}),
    (
        {"url": 5, "events": "task.failed", "secret": "x", "max_in_flight": True},
        {"/url", "/events", "/secret", "/max_in_flight"},
    ),
    ({"url": "http://127.0.0.1/"}, {"/url"}),
    ({"url": "ftp://x.example/"}, {"/url"}),
    ({"url": URL, "events": ["task.done"]}, {"/events/0"}),
    ({"url": URL, "events": []}, {"/events"}),
    ({"url": URL, "secret": "whsec_c2hvcnQ="}, {"/secret"}),
    ({"url": URL, "secret": "whsec_" + "_" * 32}, {"/secret"}),
    ({"url": URL, "description": "a\nb"}, {"/description"}),
    ({"url": URL, "max_in_flight": 1000}, {"/max_in_flight"}),
    ({"url": URL, "project_id": "prj_x", "status": "active"}, {"/project_id", "/status"}),
]


@pytest.mark.parametrize(("body", "places"), BAD)
async def test_a_bad_subscription_is_refused_naming_each_fault(
    client: httpx.AsyncClient, house: House, body: object, places: set[str]
) -> None:
    answer = await client.post("/v1/endpoints", json=body)
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == places
    assert (await house.sizes())["endpoints"] == 0


async def test_a_project_has_a_bounded_number_of_endpoints(client: httpx.AsyncClient) -> None:
    made = [await subscribe(client) for _ in range(3)]
    refused = await client.post("/v1/endpoints", json={"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_limit")
    await client.delete(f"/v1/endpoints/{made[0]['id']}")
    await subscribe(client)


async def test_deleting_twice_is_deleting_once_and_stops_what_is_owed(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    task = (await client.post("/v1/tasks", json=order())).json()
    await house.succeeded(task["id"])
    house.rung.clear()
    for _ in range(2):
        answer = await client.delete(f"/v1/endpoints/{made['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
    [owed] = (await client.get("/v1/deliveries")).json()["data"]
    assert (owed["status"], owed["next_attempt_at"]) == ("canceled", None)
    assert (LaneKind.ENDPOINT, made["id"]) in [key for key, _ in house.rung]
    assert (await client.get(f"/v1/endpoints/{made['id']}")).status_code == 404
    assert (await client.get("/v1/endpoints")).json()["data"] == []


async def test_the_list_is_newest_first_and_pages(client: httpx.AsyncClient) -> None:
    made = [(await subscribe(client))["id"] for _ in range(3)]
    first = (await client.get("/v1/endpoints?limit=2")).json()
    rest = (await client.get("/v1/endpoints", params={"limit": "2", "after": first["next"]})).json()
    assert [one["id"] for one in first["data"] + rest["data"]] == made[::-1]
    assert (first["has_more"], rest["has_more"], rest["next"]) == (True, False, None)
    assert "secret" not in first["data"][0]


async def test_another_projects_endpoint_is_not_there(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    made = await subscribe(client)
    async with calling(house.keys["stranger"]) as stranger:
        assert (await stranger.get(f"/v1/endpoints/{made['id']}")).status_code == 404
        assert (await stranger.delete(f"/v1/endpoints/{made['id']}")).status_code == 404
        assert (await stranger.get("/v1/endpoints")).json()["data"] == []
    assert (await client.get(f"/v1/endpoints/{made['id']}")).json()["status"] == "active"


SLIPS = [("task.succeded", "Did you mean task.succeeded?"), ("task.done", "There is task.submitted, ")]


@pytest.mark.parametrize(("type", "hint"), SLIPS)
async def test_only_a_slip_of_the_pen_is_met_with_a_guess(client: httpx.AsyncClient, type: str, hint: str) -> None:
    subscribed = await client.post("/v1/endpoints", json={"url": URL, "events": [type]})
    listed = await client.get("/v1/events", params={"type": type})
    for answer in (subscribed, listed):
        assert hint in answer.json()["errors"][0]["detail"]
