from __future__ import annotations

from dataclasses import replace

import httpx

from service.api.app import create_app
from service.core.holding import Hold, Holds
from service.core.times import iso
from service.pipeline.durations import Told
from storage import lanes
from storage.durations import Kind
from storage.records import LaneKind
from tests.service.api.house import House


async def test_the_catalogue_names_models_inputs_traits_and_accounts(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/providers")).json()["data"]
    names = [provider["name"] for provider in listed]
    assert "cloudsway" in names and "ulazai" in names
    one = (await client.get("/v1/providers/ulazai")).json()
    assert one == listed[names.index("ulazai")]
    model = next(model for model in one["models"] if model["name"] == "kling-3.0")
    assert "prompt" in model["inputs"] and model["provider_options"] == ["multiShots"]
    assert one["traits"]["callbacks"] is False
    assert [(account["name"], account["enabled"]) for account in one["accounts"]] == [
        ("ulazai", True),
        ("spare", False),
    ]


async def test_an_unknown_provider_is_told_which_there_are(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/providers/klingon")
    assert answer.status_code == 404 and "cloudsway" in answer.json()["detail"]


async def test_the_catalogue_holds_no_credential(client: httpx.AsyncClient) -> None:
    assert "secret-provider-key" not in (await client.get("/v1/providers")).text


async def test_each_model_has_a_schema_its_prices_and_its_rules(client: httpx.AsyncClient) -> None:
    one = (await client.get("/v1/providers/ulazai")).json()
    model = next(model for model in one["models"] if model["name"] == "kling-3.0")
    schema = model["input_schema"]
    assert schema["properties"]["prompt"]["maxLength"] == 2500 and schema["required"] == ["prompt"]
    assert schema["properties"]["duration"] == {"type": "integer", "minimum": 3, "maximum": 15, "default": 5}
    assert {"not": {"required": ["aspect_ratio", "image"]}} in schema["allOf"]
    assert model["provider_options_schema"]["properties"] == {"multiShots": {"type": "boolean", "default": False}}
    assert model["prices"] and model["rules"]
    assert one["traits"]["uploads"] is True


async def test_the_health_of_an_account_says_until_when_and_why_it_buys_nothing(
    client: httpx.AsyncClient, house: House
) -> None:
    async def health() -> dict[str, object]:
        [first, *_] = (await client.get("/v1/providers/cloudsway")).json()["accounts"]
        found: dict[str, object] = first["health"]
        return found

    assert await health() == {
        "breaker": "closed",
        "next_probe_at": None,
        "held_until": None,
        "held_reason": None,
        "refused_since": None,
        "queries_held_until": None,
        "queries_held_reason": None,
        "unknown_vocabulary": 0,
    }
    key = (LaneKind.ACCOUNT, "cloudsway")
    database, now = house.context.database, house.clock()
    await database.write(lambda tx: lanes.arrive(tx, {key: now}))
    [lane] = await database.write(
        lambda tx: lanes.claim(tx, owner="o", accounts=["cloudsway"], now=now, ttl_seconds=60, batch=1)
    )
    refused = Hold(until=now + 300_000_000, times=1, reason="the key is refused", refused_since=now)
    asked_to_wait = Hold(until=now + 60_000_000, times=1, reason="not so fast")
    held = replace(lane, holds=Holds(submits=refused, queries=asked_to_wait).dump())
    await database.write(lambda tx: lanes.save_health(tx, held))
    told = await health()
    assert told["held_reason"] == "the key is refused"
    assert (told["held_until"], told["refused_since"]) == (iso(now + 300_000_000), iso(now))
    assert (told["queries_held_until"], told["queries_held_reason"]) == (iso(now + 60_000_000), "not so fast")
    house.clock.advance(61)
    assert (await health())["queries_held_reason"] is None
    house.clock.advance(240)
    assert (await health())["held_reason"] is None
    assert (await health())["refused_since"] == iso(now), "until an answer says otherwise"


async def test_an_account_tells_how_long_its_jobs_were_seen_to_take(house: House) -> None:
    told = (
        Told(kind=Kind("ulazai", "kling-3.0"), jobs=12, p10=60.0, p50=81.04, p90=120.0),
        Told(kind=Kind("ulazai", "kling-3.0", 5, "pro"), jobs=7, p10=60.0, p50=118.0, p90=121.96),
    )
    context = replace(house.context, learned=lambda name: told if name == "ulazai" else ())
    async with house.client(create_app(context), house.key) as client:
        [ulazai, _] = (await client.get("/v1/providers/ulazai")).json()["accounts"]
        [cloudsway, *_] = (await client.get("/v1/providers/cloudsway")).json()["accounts"]
    assert ulazai["durations"] == [
        {"model": "kling-3.0", "duration": None, "level": None, "jobs": 12, "p50": 81.0, "p90": 120.0},
        {"model": "kling-3.0", "duration": 5, "level": "pro", "jobs": 7, "p50": 118.0, "p90": 122.0},
    ]
    assert cloudsway["durations"] == []
