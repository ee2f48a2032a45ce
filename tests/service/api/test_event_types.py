from __future__ import annotations

from collections.abc import Callable

import httpx
import orjson
import pytest

from service.core.events import EventType
from storage.records import EndpointFormat
from tests.service.api.house import House, order
from tests.service.core.schemas import faults, validator

Calling = Callable[[str], httpx.AsyncClient]


async def test_every_type_is_told_with_its_schema(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/event-types")).json()
    assert [one["type"] for one in listed["data"]] == [type.value for type in EventType] and not listed["has_more"]
    for told in listed["data"]:
        assert (await client.get(f"/v1/event-types/{told['type']}")).json() == told
        assert told["schema"]["properties"]["type"] == {"const": told["type"], "description": "The event's type."}
        assert told["links"]["samples"] == f"https://relay.example.org/v1/event-types/{told['type']}/samples"
    chosen = {one["type"]: (one["default"], one["reserved"]) for one in listed["data"]}
    assert chosen["task.failed"] == (True, False) and chosen["task.processing"] == (False, False)
    assert chosen["task.corrected"] == (False, True)


async def test_the_schema_of_another_format_is_told_on_request(client: httpx.AsyncClient) -> None:
    told = (await client.get("/v1/event-types/task.failed?format=openai")).json()
    assert (told["format"], told["schema"]["properties"]["type"]["const"]) == ("openai", "video.failed")


@pytest.mark.parametrize("format", EndpointFormat)
async def test_where_nothing_happened_a_sample_says_that_it_is_one(
    client: httpx.AsyncClient, format: EndpointFormat
) -> None:
    for type in EventType:
        [made] = (await client.get(f"/v1/event-types/{type.value}/samples", params={"format": format.value})).json()
        assert made["test"] is True
        assert list(validator(type, format).iter_errors(made)) == []


async def test_what_happened_is_shown_newest_first_as_the_hook_gets_it(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    for number in range(3):
        task = (await client.post("/v1/tasks", json=order())).json()
        await house.failed(task["id"], f"job-{number}")
    feed = [event for event in (await client.get("/v1/events")).json()["data"] if event["type"] == "task.failed"]
    path = "/v1/event-types/task.failed/samples"
    assert (await client.get(path)).json() == feed[::-1] and len(feed) == 3
    assert (await client.get(path, params={"limit": 1})).json() == feed[:1:-1]
    assert [faults(orjson.dumps(one)) for one in feed] == [[], [], []]
    [shaped] = (await client.get(path, params={"limit": 1, "format": "openai"})).json()
    assert (shaped["type"], shaped["data"]) == ("video.failed", {"id": feed[2]["data"]["id"]})
    async with calling(house.keys["stranger"]) as stranger:
        assert [one.get("test") for one in (await stranger.get(path)).json()] == [True]


async def test_a_test_of_an_endpoint_is_no_sample_of_what_happened(client: httpx.AsyncClient, house: House) -> None:
    made = (await client.post("/v1/endpoints", json={"url": "https://app.example.org/"})).json()
    sent = (await client.post(f"/v1/endpoints/{made['id']}/test", json={"type": "task.failed"})).json()
    [sample] = (await client.get("/v1/event-types/task.failed/samples")).json()
    assert sample["id"] != sent["event"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/event-types/task.succeded", 404, "task.succeeded"),
        ("/v1/event-types/task.*/samples", 404, "task.succeeded"),
        ("/v1/event-types?format=xml", 422, "cloudevents"),
        ("/v1/event-types/task.failed/samples?limit=51", 422, "from 1 to 50"),
        ("/v1/event-types/task.failed?limit=1", 422, "There is no parameter"),
    ],
)
async def test_what_there_is_not_is_refused_by_name(
    client: httpx.AsyncClient, path: str, status: int, said: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == status and said in answer.json()["detail"]
