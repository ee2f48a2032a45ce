from __future__ import annotations

import httpx
import orjson
import pytest

from service.api.app import Api
from service.core import signature
from storage import audit
from storage.records import AuditEntry
from tests.service.api.house import House

ACCEPTED = {"on_ambiguous": "resubmit", "possible_double_charge": True}


async def test_the_projects_secret_is_shown_to_who_manages_endpoints(client: httpx.AsyncClient, house: House) -> None:
    shown = await client.get("/v1/projects/current/secret")
    assert (shown.status_code, shown.json()["project"]) == (200, house.project_id)
    assert len(signature.decode_secret(shown.json()["secret"])) == 24
    assert shown.headers["cache-control"] == "no-store"


async def test_a_key_that_only_reads_does_not_see_it(app: Api, house: House) -> None:
    async with house.client(app, await house.key_with("read", "tasks")) as reader:
        refused = await reader.get("/v1/projects/current/secret")
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")


async def test_the_project_shows_its_policy_which_is_to_hold(client: httpx.AsyncClient, house: House) -> None:
    shown = (await client.get("/v1/projects/current")).json()
    assert (shown["object"], shown["id"], shown["on_ambiguous"]) == ("project", house.project_id, "hold")
    assert shown.keys() == {"object", "id", "name", "on_ambiguous", "created_at"}


async def test_a_policy_that_may_charge_twice_is_accepted_in_so_many_words_and_audited(
    client: httpx.AsyncClient, house: House
) -> None:
    changed = await client.patch("/v1/projects/current", json=ACCEPTED)
    assert (changed.status_code, changed.json()["on_ambiguous"]) == (200, "resubmit")
    assert (await client.get("/v1/projects/current")).json() == changed.json()
    await client.patch("/v1/projects/current", json={"on_ambiguous": "hold"})
    back, there = await audited(house)
    me = (await client.get("/v1/whoami")).json()["id"]
    assert (there.action, there.key_id, there.task_id) == ("on_ambiguous", me, None)
    assert orjson.loads(there.detail) == ACCEPTED
    assert orjson.loads(back.detail) == {"on_ambiguous": "hold"}


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/on_ambiguous"}),
        ({"on_ambiguous": "sometimes"}, {"/on_ambiguous"}),
        ({"on_ambiguous": None}, {"/on_ambiguous"}),
        ({"on_ambiguous": {}}, {"/on_ambiguous"}),
        ({"on_ambiguous": "resubmit"}, {"/possible_double_charge"}),
        ({"on_ambiguous": "resubmit", "possible_double_charge": False}, {"/possible_double_charge"}),
        ({"on_ambiguous": "resubmit", "possible_double_charge": 1}, {"/possible_double_charge"}),
        ({"on_ambiguous": "hold", "possible_double_charge": True}, {"/possible_double_charge"}),
        ({"on_ambiguous": "hold", "name": "x"}, {"/name"}),
        ("hold", {"", "/on_ambiguous"}),
    ],
)
async def test_a_policy_that_is_not_meant_so_changes_nothing(
    client: httpx.AsyncClient, house: House, body: object, pointers: set[str]
) -> None:
    refused = await client.patch("/v1/projects/current", json=body)
    assert refused.status_code == 422
    assert {fault["pointer"] for fault in refused.json()["errors"]} == pointers
    assert (await client.get("/v1/projects/current")).json()["on_ambiguous"] == "hold"
    assert await audited(house) == []


async def test_only_an_admin_changes_it_and_anybody_sees_it(app: Api, house: House) -> None:
    async with house.client(app, await house.key_with("read", "tasks", "endpoints")) as other:
        assert (await other.get("/v1/projects/current")).status_code == 200
        refused = await other.patch("/v1/projects/current", json=ACCEPTED)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert await audited(house) == []


async def test_another_projects_policy_stays_as_it_is(client: httpx.AsyncClient, app: Api, house: House) -> None:
    async with house.client(app, house.keys["stranger"]) as stranger:
        await stranger.patch("/v1/projects/current", json=ACCEPTED)
    assert (await client.get("/v1/projects/current")).json()["on_ambiguous"] == "hold"


async def audited(house: House) -> list[AuditEntry]:
    return await house.context.database.read(lambda tx: audit.page(tx, house.project_id, after=None, limit=10))
