from __future__ import annotations

from dataclasses import replace

import httpx

from storage import lanes
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
        "unknown_vocabulary": 0,
    }
    key = (LaneKind.ACCOUNT, "cloudsway")
    database, now = house.context.database, house.clock()
    await database.write(lambda tx: lanes.arrive(tx, {key: now}))
    [lane] = await database.write(
        lambda tx: lanes.claim(tx, owner="o", accounts=["cloudsway"], now=now, ttl_seconds=60, batch=1)
    )
    held = replace(lane, held_until=now + 300_000_000, held_reason="the key is refused")
    await database.write(lambda tx: lanes.save_health(tx, held))
    told = await health()
    assert told["held_reason"] == "the key is refused" and told["held_until"] is not None
    house.clock.advance(301)
    assert (await health())["held_reason"] is None
