from __future__ import annotations

import httpx


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
