from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import orjson
import pytest

from storage import api_keys, audit
from storage.records import AuditEntry
from tests.dumps import dump
from tests.service.api.house import House

Calling = Callable[[str], httpx.AsyncClient]
NEVER = "key_" + "0" * 26


async def made(client: httpx.AsyncClient, *scopes: str, **more: object) -> dict[str, str]:
    answer = await client.post("/v1/keys", json={"name": "k", "scopes": scopes or ["tasks"], **more})
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def trail(house: House, project_id: str) -> list[AuditEntry]:
    return await house.context.database.read(lambda tx: audit.page(tx, project_id, after=None, limit=20))


async def test_a_key_is_shown_once_and_then_by_its_beginning(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    answer = await client.post("/v1/keys", json={"name": "shop", "scopes": ["tasks", "read"]})
    told = answer.json()
    key = told.pop("key")
    assert (answer.status_code, answer.headers["location"]) == (201, f"{house.context.base}/v1/keys/{told['id']}")
    assert re.fullmatch(r"trk_[A-Za-z0-9_-]{32}", key) and told["prefix"] == key[:12]
    assert (told["project"], told["scopes"], told["name"]) == (house.project_id, ["read", "tasks"], "shop")
    assert (await client.get(f"/v1/keys/{told['id']}")).json() == told
    async with calling(key) as shop:
        assert (await shop.get("/v1/whoami")).status_code == 200
        assert (await shop.post("/v1/keys", json={"name": "x", "scopes": ["tasks"]})).status_code == 403


async def test_a_dump_of_the_database_holds_no_key_that_opens_anything(client: httpx.AsyncClient, house: House) -> None:
    keys = [(await made(client))["key"] for _ in range(3)]
    repeated = await client.post(
        "/v1/keys", json={"name": "k", "scopes": ["tasks"]}, headers={"idempotency-key": "once"}
    )
    kept = await dump(house.context.database)
    for key in (*keys, house.key, repeated.json()["key"]):
        assert key[:12] in kept, "what it begins with is kept, so the dump is a dump"
        assert key not in kept and key[12:] not in kept and key[4:] not in kept


async def test_a_key_of_another_project_belongs_there(
    client: httpx.AsyncClient, calling: Calling, house: House
) -> None:
    for named in (house.project_id, "default", "stranger"):
        made_there = await made(client, "read", project=named)
        async with calling(made_there["key"]) as other:
            assert (await other.get("/v1/whoami")).json()["project"]["id"] == made_there["project"]
        [entry] = [one for one in await trail(house, made_there["project"]) if made_there["id"] in one.detail]
        assert (entry.action, entry.key_id) == ("key.create", (await client.get("/v1/whoami")).json()["id"])
    unknown = await client.post("/v1/keys", json={"name": "k", "scopes": ["read"], "project": "shop"})
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["pointer"] == "/project" and "default" in unknown.json()["detail"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/name", "/scopes"}),
        ({"name": "", "scopes": []}, {"/name", "/scopes"}),
        ({"name": "a\x1bb", "scopes": ["tasks"]}, {"/name"}),
        ({"name": "x" * 129, "scopes": ["tasks"]}, {"/name"}),
        ({"name": "k", "scopes": "tasks"}, {"/scopes"}),
        ({"name": "k", "scopes": ["tasks", "all", 5]}, {"/scopes/1", "/scopes/2"}),
        ({"name": "k", "scopes": ["tasks"] * 5}, {"/scopes"}),
        ({"name": "k", "scopes": ["tasks"], "project": 5}, {"/project"}),
        ({"name": "k", "scopes": ["tasks"], "key": "trk_mine"}, {"/key"}),
        ([], {"", "/name", "/scopes"}),
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(
    client: httpx.AsyncClient, house: House, body: object, pointers: set[str]
) -> None:
    before = await house.context.database.read(api_keys.count)
    refused = await client.post("/v1/keys", json=body)
    assert (refused.status_code, {fault["pointer"] for fault in refused.json()["errors"]}) == (422, pointers)
    assert await house.context.database.read(api_keys.count) == before


async def test_a_revoked_key_opens_nothing_from_the_next_request_on(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    told = await made(client)
    async with calling(told["key"]) as shop:
        assert (await shop.get("/v1/whoami")).status_code == 200
        assert [(await client.delete(f"/v1/keys/{told['id']}")).status_code for _ in range(2)] == [204, 204]
        assert (await shop.get("/v1/whoami")).status_code == 401
    assert (await client.get(f"/v1/keys/{told['id']}")).json()["revoked_at"] is not None
    revoked = [one for one in await trail(house, house.project_id) if one.action == "key.revoke"]
    assert [orjson.loads(one.detail) for one in revoked] == [{"key": told["id"], "name": "k"}], "once"
    assert (await client.delete(f"/v1/keys/{NEVER}")).status_code == 404


async def test_a_key_may_give_itself_up_and_no_other(client: httpx.AsyncClient, house: House, calling: Calling) -> None:
    mine, colleague = await made(client, "tasks"), await made(client, "read")
    stranger = await made(client, "read", project="stranger")
    async with calling(mine["key"]) as shop:
        refused = await shop.delete(f"/v1/keys/{colleague['id']}")
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
        told = [await shop.delete(f"/v1/keys/{id}") for id in (stranger["id"], NEVER, "key_1", "trk_1")]
        assert {(one.status_code, one.json()["detail"]) for one in told} == {(404, told[0].json()["detail"])}
        assert (await shop.delete(f"/v1/keys/{mine['id']}")).status_code == 204
        assert (await shop.delete(f"/v1/keys/{mine['id']}")).status_code == 401
    for one in (colleague, stranger):
        assert (await client.get(f"/v1/keys/{one['id']}")).json()["revoked_at"] is None


async def test_the_last_key_that_may_do_everything_goes_only_when_that_is_said(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    me = (await client.get("/v1/whoami")).json()["id"]
    async with calling(house.keys["stranger"]) as other:
        other_id = (await other.get("/v1/whoami")).json()["id"]
        assert (await client.delete(f"/v1/keys/{other_id}")).status_code == 204, "there is another"
    await made(client, "tasks")
    refused = await client.delete(f"/v1/keys/{me}")
    assert (refused.status_code, refused.json()["code"]) == (409, "last_admin_key")
    assert refused.headers["x-should-retry"] == "false"
    assert (await client.delete(f"/v1/keys/{me}?last_admin=perhaps")).status_code == 422
    assert (await client.get("/v1/whoami")).status_code == 200
    assert (await client.delete(f"/v1/keys/{me}?last_admin=true")).status_code == 204
    assert (await client.get("/v1/whoami")).status_code == 401


async def test_who_reads_sees_the_keys_of_the_own_project_and_admin_those_of_all(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    reader, there = await made(client, "read", name="reader"), await made(client, "tasks", project="stranger")
    async with calling(reader["key"]) as own:
        assert [one["name"] for one in (await own.get("/v1/keys")).json()["data"]] == ["reader", "admin"]
        assert (await own.get("/v1/keys", params={"project": "stranger"})).json()["data"] == []
        assert (await own.get("/v1/keys", params={"project": "default"})).json()["data"] != []
        told = [await own.get(f"/v1/keys/{id}") for id in (there["id"], NEVER, "key_1")]
        assert {(one.status_code, one.json()["detail"]) for one in told} == {(404, told[0].json()["detail"])}
    everybody = (await client.get("/v1/keys")).json()["data"]
    assert [one["name"] for one in everybody] == ["k", "reader", "stranger", "admin"]
    of_one = (await client.get("/v1/keys", params={"project": "stranger"})).json()["data"]
    assert [one["name"] for one in of_one] == ["k", "stranger"]
    first = (await client.get("/v1/keys?limit=3")).json()
    rest = (await client.get("/v1/keys", params={"limit": 3, "after": first["next"]})).json()
    assert [one["id"] for one in (*first["data"], *rest["data"])] == [one["id"] for one in everybody]
    assert first["has_more"] and not rest["has_more"]
    assert not any("key" in one or "digest" in one for one in everybody)


async def test_a_repeat_of_the_order_gets_the_same_key_and_makes_no_other(
    client: httpx.AsyncClient, house: House
) -> None:
    body, headers = {"name": "k", "scopes": ["tasks"]}, {"idempotency-key": "k1"}
    one, two = [await client.post("/v1/keys", json=body, headers=headers) for _ in range(2)]
    assert (one.status_code, one.content) == (two.status_code, two.content) == (201, one.content)
    assert [key["name"] for key in (await client.get("/v1/keys")).json()["data"]].count("k") == 1


async def test_the_last_use_is_shown_before_it_is_written_and_written_at_most_once_a_minute(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    told = await made(client, "read")
    path, database, use = f"/v1/keys/{told['id']}", house.context.database, house.context.key_use
    assert (await client.get(path)).json()["last_used_at"] is None
    async with calling(told["key"]) as reader:
        own = (await reader.get("/v1/whoami")).json()
        assert own["last_used_at"] is not None and own["prefix"] == told["key"][:12]
    stored = await database.read(lambda tx: api_keys.get(tx, told["id"], None))
    assert stored is not None and stored.last_used_at is None, "no write on the request's way"
    assert (await client.get(path)).json()["last_used_at"] == own["last_used_at"]
    assert await use.store(database) == 2, "this one, and the one that asks"
    stored = await database.read(lambda tx: api_keys.get(tx, told["id"], None))
    assert stored is not None and stored.last_used_at is not None
    assert (await client.get(path)).json()["last_used_at"] == own["last_used_at"]
