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
    ({"url": URL, "filter": []}, {"/filter"}),
    (
        {"url": URL, "filter": {"kind": "a", "model": [], "provider": 5}},
        {"/filter/kind", "/filter/model", "/filter/provider"},
    ),
    ({"url": URL, "filter": {"metadata": {"a": [""], "b": ["x"] * 21}}}, {"/filter/metadata/a", "/filter/metadata/b"}),
    ({"url": URL, "filter": {"metadata": []}}, {"/filter/metadata"}),
    ({"url": URL, "filter": {"metadata": False}}, {"/filter/metadata"}),
    ({"url": URL, "filter": {"metadata": {str(n): "x" for n in range(21)}}}, {"/filter/metadata"}),
    ({"url": URL, "filter": {"metadata": {"\0": "x"}}}, {"/filter/metadata/\ufffd"}),
    ({"url": URL, "filter": {"metadata": {"": "x"}}}, {"/filter/metadata/"}),
    ({"url": URL, "format": "xml"}, {"/format"}),
    (
        {"url": URL, "headers": {"Host": "x", "x": "a\nb", "é": "x", "ok": "y"}},
        {"/headers/Host", "/headers/x", "/headers/é"},
    ),
    ({"url": URL, "headers": {f"x-{n}": "x" for n in range(21)}}, {"/headers"}),
    ({"url": URL, "headers": {"X-A": "1", "x-a": "2"}}, {"/headers"}),
    ({"url": URL, "headers": {f"x-{n}": "x" * 2000 for n in range(5)}}, {"/headers"}),
    ({"url": URL, "rate_limit": 0}, {"/rate_limit"}),
    ({"url": URL, "rate_limit": 1.5}, {"/rate_limit"}),
    ({"url": URL, "retry_schedule": []}, {"/retry_schedule"}),
    ({"url": URL, "retry_schedule": [1] * 21}, {"/retry_schedule"}),
    ({"url": URL, "retry_schedule": [0]}, {"/retry_schedule"}),
    ({"url": URL, "retry_schedule": [True]}, {"/retry_schedule"}),
    ({"url": URL, "retry_schedule": [86_400] * 15}, {"/retry_schedule"}),
    ({"url": URL, "expires_at": "2020-01-01T00:00:00Z"}, {"/expires_at"}),
    ({"url": URL, "expires_at": "2037-01-01T00:00:00Z"}, {"/expires_at"}),  # more than ten years
    ({"url": URL, "expires_at": 5}, {"/expires_at"}),
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


MANNERS: dict[str, object] = {
    "events": ["task.*"],
    "filter": {"provider": ["cloudsway"], "model": ["kling-*"], "metadata": {"shop": ["eu-*", "us-1"]}},
    "format": "cloudevents",
    "description": "the shop",
    "max_in_flight": 2,
    "rate_limit": 5,
    "retry_schedule": [5, 60],
    "expires_at": "2030-01-01T00:00:00.000000Z",
}


async def test_what_was_asked_for_is_shown(client: httpx.AsyncClient) -> None:
    made = await subscribe(client, **MANNERS)
    assert {name: made[name] for name in MANNERS} == MANNERS
    one_each = await subscribe(client, filter={"model": "kling-*", "metadata": {"shop": "eu"}})
    assert one_each["filter"] == {"model": ["kling-*"], "metadata": {"shop": ["eu"]}}
    assert (await subscribe(client, filter={}))["filter"] is None


async def test_of_headers_the_names_are_shown_and_the_values_are_sealed(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await subscribe(client, headers={"Authorization": "Bearer very-secret"})
    assert made["headers"] == {"authorization": "****"}
    [(stored,)] = await house.context.database.read(lambda tx: tx.fetch("SELECT headers FROM endpoints"))
    assert "very-secret" not in str(stored)
    assert "very-secret" in house.context.keyring.open(str(stored), "endpoint-headers")
    changed = await client.patch(f"/v1/endpoints/{made['id']}", json={"headers": None})
    assert changed.json()["headers"] == {}


async def test_a_change_touches_what_it_names(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client, **MANNERS)
    house.clock.advance(1)
    house.rung.clear()
    changed = (
        await client.patch(f"/v1/endpoints/{made['id']}", json={"description": "other", "rate_limit": None})
    ).json()
    assert changed.pop("updated_at") > str(made["updated_at"])
    assert changed == {
        **{name: value for name, value in made.items() if name not in ("secret", "updated_at")},
        "description": "other",
        "rate_limit": None,
    }
    assert (await client.get(f"/v1/endpoints/{made['id']}")).json()["description"] == "other"
    assert (LaneKind.ENDPOINT, made["id"]) in [key for key, _ in house.rung], "its lane reads it again"


async def test_every_member_but_the_url_goes_back_to_its_default(client: httpx.AsyncClient) -> None:
    plain, made = await subscribe(client), await subscribe(client, **MANNERS)
    reset = (await client.patch(f"/v1/endpoints/{made['id']}", json=dict.fromkeys(MANNERS))).json()
    assert {name: reset[name] for name in MANNERS} == {name: plain[name] for name in MANNERS}
    assert (await client.patch(f"/v1/endpoints/{made['id']}", json={"url": None})).status_code == 422


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"secret": "x"}, {"/secret"}),
        ({"status": "paused"}, {"/status"}),
        ({"url": "http://10.9.9.9/"}, {"/url"}),
        (5, {""}),
    ],
)
async def test_a_bad_change_changes_nothing(client: httpx.AsyncClient, body: object, places: set[str]) -> None:
    made = await subscribe(client)
    answer = await client.patch(f"/v1/endpoints/{made['id']}", json=body)
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == places
    again = (await client.get(f"/v1/endpoints/{made['id']}")).json()
    assert again["updated_at"] == made["updated_at"]


async def test_another_url_starts_with_a_clean_record(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    failing = "UPDATE endpoints SET health = '{\"since\":1790000000000000}'"
    await house.context.database.write(lambda tx: tx.fetch(failing))
    path = f"/v1/endpoints/{made['id']}"
    assert (await client.patch(path, json={"description": "x"})).json()[
        "failing_since"
    ] == "2026-09-21T14:13:20.000000Z"
    assert (await client.patch(path, json={"url": f"{URL}/new"})).json()["failing_since"] is None
