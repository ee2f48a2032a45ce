from __future__ import annotations

import httpx
import orjson
import pytest

from service.core import signature
from service.pipeline import orders
from storage import audit, endpoints
from storage.records import LaneKind
from tests.dumps import dump
from tests.service.api.house import House, order

DAY = 86_400


async def signing(house: House) -> list[str]:
    """What signs per-task URLs now, newest first."""
    now = house.clock()
    [hidden] = await house.context.database.read(lambda tx: endpoints.hidden_ids(tx, house.project_id))
    found = await house.context.database.read(lambda tx: orders.read(tx, hidden, now=now))
    assert isinstance(found, orders.Sealed)
    keys = orders.Orders(found, house.context.keyring.open).keys(now)
    return [signature.new_secret(key) for key in keys]


@pytest.fixture
async def hooked(client: httpx.AsyncClient) -> None:
    """A task with a URL of its own."""
    made = await client.post("/v1/tasks", json=order(webhook_url="https://10.1.2.3/done"))
    assert made.status_code == 202, made.text


@pytest.mark.usefixtures("hooked")
async def test_both_secrets_sign_until_the_overlap_is_over(client: httpx.AsyncClient, house: House) -> None:
    old = (await client.get("/v1/projects/current/secret")).json()
    assert old["retiring"] == [] and await signing(house) == [old["secret"]]
    house.rung.clear()
    rotated = await client.post("/v1/projects/current/rotate")
    fresh = rotated.json()["webhook_secret"]
    assert rotated.status_code == 200 and fresh != old["secret"]
    assert await signing(house) == [fresh, old["secret"]]
    [hidden] = await house.context.database.read(lambda tx: endpoints.hidden_ids(tx, house.project_id))
    assert [key for key, _ in house.rung] == [(LaneKind.ENDPOINT, hidden)], "its lane reads its secrets again"
    told = (await client.get("/v1/projects/current/secret")).json()
    assert told["secret"] == fresh
    assert told["retiring"] == [{"retires_at": rotated.json()["old_secret_retires_at"]}]
    house.clock.advance(DAY)
    assert await signing(house) == [fresh]
    assert (await client.get("/v1/projects/current/secret")).json()["retiring"] == []


@pytest.mark.usefixtures("hooked")
async def test_a_secret_that_got_out_signs_nothing_from_now_on(client: httpx.AsyncClient, house: House) -> None:
    fresh = (await client.post("/v1/projects/current/rotate", json={"overlap_seconds": 0})).json()["webhook_secret"]
    assert await signing(house) == [fresh]


@pytest.mark.parametrize("body", [{"overlap_seconds": -1}, {"overlap_seconds": 8 * DAY}, {"secret": "whsec_x"}, []])
async def test_a_rotation_that_makes_no_sense_leaves_the_secret(client: httpx.AsyncClient, body: object) -> None:
    before = (await client.get("/v1/projects/current/secret")).json()
    assert (await client.post("/v1/projects/current/rotate", json=body)).status_code == 422
    assert (await client.get("/v1/projects/current/secret")).json() == before


async def test_a_rotation_is_in_the_trail_and_no_secret_is_in_the_database(
    client: httpx.AsyncClient, house: House
) -> None:
    secrets = [(await client.get("/v1/projects/current/secret")).json()["secret"]]
    secrets += [(await client.post("/v1/projects/current/rotate")).json()["webhook_secret"] for _ in range(3)]
    found = await house.context.database.read(lambda tx: audit.page(tx, house.project_id, after=None, limit=9))
    assert [orjson.loads(one.detail) for one in found if one.action == "project.rotate"] == [
        {"overlap_seconds": DAY}
    ] * 3
    kept = await dump(house.context.database)
    assert [secret for secret in secrets if secret in kept or secret.removeprefix("whsec_") in kept] == []


async def test_only_so_many_old_ones_sign(client: httpx.AsyncClient) -> None:
    for _ in range(13):
        await client.post("/v1/projects/current/rotate")
    assert len((await client.get("/v1/projects/current/secret")).json()["retiring"]) == 10
