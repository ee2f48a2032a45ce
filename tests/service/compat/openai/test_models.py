"""Models: those of the configured accounts, by the name that a create takes."""

from __future__ import annotations

import httpx


async def test_models_are_those_that_can_be_asked(client: httpx.AsyncClient) -> None:
    listed = (await client.get("models")).json()
    names = [one["id"] for one in listed["data"]]
    assert listed["object"] == "list" and names == ["cloudsway/kling-3.0-turbo", "ulazai/kling-3.0", "ulazai/kling-2.6"]
    for name in names:
        made = await client.post("videos", json={"model": name, "prompt": "A boat"})
        assert (made.status_code, made.json()["model"]) == (200, name)


async def test_one_by_its_name_with_the_slash_however_it_is_written(client: httpx.AsyncClient) -> None:
    for path in ("models/ulazai/kling-3.0", "models/ulazai%2Fkling-3.0"):
        found = (await client.get(path)).json()
        assert (found["id"], found["object"], found["owned_by"]) == ("ulazai/kling-3.0", "model", "ulazai")
    assert (await client.get("models/sora-2")).status_code == 404
