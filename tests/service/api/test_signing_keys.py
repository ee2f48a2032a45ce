"""Public keys are listed, rotated with an overlap, made when an endpoint first asks for v1a, and a project's own."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from service.core.signing_keys import read_private, read_public
from storage import signing_keys
from storage.records import LaneKind
from tests.service.api.house import House
from tests.service.api.test_endpoints import subscribe

Calling = Callable[[str], httpx.AsyncClient]


async def listed(client: httpx.AsyncClient) -> list[dict[str, object]]:
    found = (await client.get("/v1/signing-keys")).json()
    assert (found["object"], found["has_more"], found["next"]) == ("list", False, None)
    keys: list[dict[str, object]] = found["data"]
    return keys


async def rotate(client: httpx.AsyncClient, **body: object) -> dict[str, object]:
    answer = (
        await client.post("/v1/signing-keys/rotate", json=body)
        if body
        else await client.post("/v1/signing-keys/rotate")
    )
    assert answer.status_code == 200, answer.text
    made: dict[str, object] = answer.json()
    return made


async def test_reading_makes_none(client: httpx.AsyncClient) -> None:
    assert await listed(client) == []
    await subscribe(client)
    assert await listed(client) == []


async def test_an_endpoint_that_asks_for_v1a_finds_a_key_made_with_it(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client, signatures=["v1a", "v1"])
    assert made["signatures"] == ["v1", "v1a"]
    [key] = await listed(client)
    assert key | {"id": "", "public_key": "", "created_at": ""} == {
        "id": "",
        "object": "signing_key",
        "algorithm": "ed25519",
        "public_key": "",
        "status": "active",
        "created_at": "",
        "expires_at": None,
    }
    now = house.clock()
    [stored] = await house.context.database.read(lambda tx: signing_keys.live(tx, house.project_id, now=now))
    private = read_private(house.context.keyring.open(stored.sealed, "signing-key"))
    assert private.public == read_public(str(key["public_key"]))
    assert "whsk_" not in stored.sealed
    await subscribe(client, signatures=["v1a"])
    assert [one["id"] for one in await listed(client)] == [key["id"]]


async def test_a_change_to_v1a_makes_one_too_and_null_is_the_default(client: httpx.AsyncClient) -> None:
    made = await subscribe(client)
    assert made["signatures"] == ["v1"]
    path = f"/v1/endpoints/{made['id']}"
    assert (await client.patch(path, json={"signatures": ["v1a"]})).json()["signatures"] == ["v1a"]
    assert len(await listed(client)) == 1
    assert (await client.patch(path, json={"description": "x"})).json()["signatures"] == ["v1a"]
    assert (await client.patch(path, json={"signatures": None})).json()["signatures"] == ["v1"]


@pytest.mark.parametrize("signatures", ["v1", [], ["v2"], ["v1", {}], [1], {"v1": 1}, [["v1"]]])
async def test_other_signatures_are_refused(client: httpx.AsyncClient, house: House, signatures: object) -> None:
    before = await house.sizes()
    answer = await client.post("/v1/endpoints", json={"url": "https://app.example.org/", "signatures": signatures})
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/signatures"]
    assert await house.sizes() == before and await listed(client) == []


async def test_a_refused_endpoint_leaves_no_key(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await subscribe(client)
    answer = await client.post("/v1/endpoints", json={"url": "https://app.example.org/", "signatures": ["v1a"]})
    assert answer.status_code == 409 or answer.status_code == 429
    assert await listed(client) == []


async def test_a_rotated_key_stays_beside_the_new_one_for_the_overlap(client: httpx.AsyncClient, house: House) -> None:
    first = await rotate(client)
    assert first["retiring"] == []
    second = await rotate(client, overlap_seconds=60)
    [new, old] = await listed(client)
    assert (new["id"], new["status"], old["id"], old["status"]) == (second["id"], "active", first["id"], "retiring")
    assert second["retiring"] == [old] and old["expires_at"] is not None
    house.clock.advance(61)
    assert [one["id"] for one in await listed(client)] == [second["id"]]
    third = await rotate(client, overlap_seconds=0)
    assert [one["id"] for one in await listed(client)] == [third["id"]]


async def test_the_lanes_that_sign_with_it_are_rung(client: httpx.AsyncClient, house: House) -> None:
    asked = await subscribe(client, signatures=["v1a"])
    await subscribe(client)
    house.rung.clear()
    await rotate(client)
    assert [key for key, _ in house.rung] == [(LaneKind.ENDPOINT, asked["id"])]


@pytest.mark.parametrize("body", [{"overlap_seconds": 604_801}, {"overlap_seconds": "1"}, {"secret": "x"}, []])
async def test_a_bad_rotation_changes_nothing(client: httpx.AsyncClient, body: object) -> None:
    made = await rotate(client)
    answer = await client.post("/v1/signing-keys/rotate", json=body)
    assert answer.status_code == 422
    assert [one["id"] for one in await listed(client)] == [made["id"]]


async def test_it_is_in_the_log(client: httpx.AsyncClient) -> None:
    made = await rotate(client, overlap_seconds=5)
    [entry] = [
        one for one in (await client.get("/v1/audit/log")).json()["data"] if one["action"] == "signing_key.rotate"
    ]
    assert entry["detail"] == {"overlap_seconds": 5, "signing_key": made["id"]}


async def test_keys_are_a_projects_own_and_scopes_are_asked_for(
    client: httpx.AsyncClient, calling: Calling, house: House
) -> None:
    await rotate(client)
    async with calling(house.keys["stranger"]) as stranger:
        assert await listed(stranger) == []
        theirs = await rotate(stranger)
    assert theirs["id"] not in [one["id"] for one in await listed(client)]
    async with calling(await house.key_with("read")) as reader:
        assert len(await listed(reader)) == 1
        assert (await reader.post("/v1/signing-keys/rotate")).status_code == 403
