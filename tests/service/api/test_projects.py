from __future__ import annotations

import httpx
import orjson
import pytest

from service.api.app import Api
from service.core import signature
from storage import audit
from storage.records import AuditEntry
from tests.service.api.house import House, order

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
    assert shown.keys() == {"object", "id", "name", "on_ambiguous", "budget", "max_open_tasks", "created_at"}


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
        ({"on_ambiguous": "sometimes"}, {"/on_ambiguous"}),
        ({"on_ambiguous": None}, {"/on_ambiguous"}),
        ({"on_ambiguous": {}}, {"/on_ambiguous"}),
        ({"on_ambiguous": "resubmit"}, {"/possible_double_charge"}),
        ({"on_ambiguous": "resubmit", "possible_double_charge": False}, {"/possible_double_charge"}),
        ({"on_ambiguous": "resubmit", "possible_double_charge": 1}, {"/possible_double_charge"}),
        ({"on_ambiguous": "hold", "possible_double_charge": True}, {"/possible_double_charge"}),
        ({"possible_double_charge": True}, {"/on_ambiguous"}),
        ({"on_ambiguous": "resubmit", "nmae": "x"}, {"/nmae", "/possible_double_charge"}),
        ({"name": ""}, {"/name"}),
        ({"name": "a\nb"}, {"/name"}),
        ({"name": "x" * 129}, {"/name"}),
        ({"name": "current"}, {"/name"}),
        ({"name": "prj_1"}, {"/name"}),
        ({"name": None}, {"/name"}),
        (
            {"name": "fine", "max_open_tasks": 0, "budget": {"amount": "1"}},
            {"/max_open_tasks", "/budget/currency", "/budget/period"},
        ),
        ("hold", {""}),
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
    found = await house.context.database.read(lambda tx: audit.page(tx, house.project_id, after=None, limit=20))
    return [entry for entry in found if entry.action != "key.create"]  # those of the house itself


async def test_a_project_is_made_with_a_secret_that_is_shown_and_is_its_own(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await client.post("/v1/projects", json={"name": "shop", **ACCEPTED})
    project = made.json()
    assert (made.status_code, made.headers["location"]) == (201, f"{house.context.base}/v1/projects/{project['id']}")
    assert (project["name"], project["on_ambiguous"]) == ("shop", "resubmit")
    told = (await client.get(f"/v1/projects/{project['id']}/secret")).json()
    assert told["secret"] == project.pop("webhook_secret") and len(signature.decode_secret(told["secret"])) == 24
    assert (await client.get(f"/v1/projects/{project['id']}")).json() == project
    [entry] = await trail(house, project["id"])
    assert (entry.action, orjson.loads(entry.detail)) == ("project.create", {"name": "shop", **ACCEPTED})


async def test_a_name_is_given_once(client: httpx.AsyncClient, house: House) -> None:
    made = (await client.post("/v1/projects", json={"name": "shop"})).json()
    for refused in (
        await client.post("/v1/projects", json={"name": "shop"}),
        await client.patch("/v1/projects/current", json={"name": "shop"}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "project_name_taken")
    assert (await client.patch(f"/v1/projects/{made['id']}", json={"name": "shop"})).status_code == 200, "its own"
    assert (await client.get("/v1/projects/current")).json()["name"] == "default"


@pytest.mark.parametrize("body", [{}, {"name": 5}, {"name": "x", "id": "prj_1"}, [], {"name": "x", "secret": "y"}])
async def test_a_project_that_makes_no_sense_is_not_made(client: httpx.AsyncClient, body: object) -> None:
    before = (await client.get("/v1/projects")).json()
    assert (await client.post("/v1/projects", json=body)).status_code == 422
    assert (await client.get("/v1/projects")).json() == before


async def test_what_a_change_leaves_out_stays_and_the_trail_says_what_was_set(
    client: httpx.AsyncClient, house: House
) -> None:
    bounded = {"budget": {"amount": "50", "currency": "USD", "period": "month"}, "max_open_tasks": 3}
    before = (await client.patch("/v1/projects/current", json={**ACCEPTED, **bounded})).json()
    assert before["budget"]["amount"] == "50" and before["max_open_tasks"] == 3
    assert (await client.patch("/v1/projects/current", json={})).json() == before
    after = (await client.patch("/v1/projects/current", json={"name": "shop", "budget": None})).json()
    assert after == {**before, "name": "shop", "budget": None}
    told = [(one.action, orjson.loads(one.detail)) for one in reversed(await audited(house))]
    assert sorted(told[:2], key=str) == sorted([("on_ambiguous", ACCEPTED), ("project.change", bounded)], key=str)
    assert told[2:] == [("project.change", {"name": "shop", "budget": None})]


async def test_an_admin_sees_all_projects_page_by_page(client: httpx.AsyncClient, house: House) -> None:
    for n in range(3):
        await client.post("/v1/projects", json={"name": f"shop {n}"})
    seen, after = [], None
    while True:
        page = (await client.get("/v1/projects", params={"limit": 2, **({"after": after} if after else {})})).json()
        seen += [one["name"] for one in page["data"]]
        after = page["next"]
        assert page["has_more"] == (after is not None) and len(page["data"]) <= 2
        if after is None:
            break
    assert seen == ["shop 2", "shop 1", "shop 0", "stranger", "default"]


async def test_anybody_else_sees_their_own_alone_and_every_other_is_the_same_404(
    client: httpx.AsyncClient, app: Api, house: House
) -> None:
    there = (await client.post("/v1/projects", json={"name": "shop"})).json()["id"]
    never = "prj_" + "0" * 26
    async with house.client(app, await house.key_with("read", "tasks", "endpoints")) as other:
        assert [one["id"] for one in (await other.get("/v1/projects")).json()["data"]] == [house.project_id]
        assert (await other.get(f"/v1/projects/{house.project_id}")).status_code == 200
        for method, path in (("GET", ""), ("GET", "/secret"), ("POST", "/rotate")):
            answers = [
                await other.request(method, f"/v1/projects/{id}{path}") for id in (there, never, "prj_1", "shop")
            ]
            told = {(one.status_code, one.json()["code"], one.json()["detail"]) for one in answers}
            assert told == {(404, "not_found", answers[0].json()["detail"])}, method
    assert (await client.get(f"/v1/projects/{there}")).status_code == 200
    assert (await client.get(f"/v1/projects/{never}")).status_code == 404


async def test_a_project_with_nothing_but_revoked_keys_is_deleted(client: httpx.AsyncClient, house: House) -> None:
    id = (await client.post("/v1/projects", json={"name": "shop"})).json()["id"]
    await client.post(f"/v1/projects/{id}/rotate")
    key = (await client.post("/v1/keys", json={"name": "k", "scopes": ["read"], "project": id})).json()
    await client.delete(f"/v1/keys/{key['id']}")
    assert (await client.delete(f"/v1/projects/{id}")).status_code == 204
    assert (await client.delete(f"/v1/projects/{id}")).status_code == 404
    assert (await client.get(f"/v1/keys/{key['id']}")).status_code == 404
    [entry] = [one for one in await audited(house) if one.action == "project.delete"]
    assert orjson.loads(entry.detail) == {"project": id, "name": "shop"} and entry.key_id is not None


async def test_a_project_that_holds_something_stays_and_says_what(
    client: httpx.AsyncClient, app: Api, house: House
) -> None:
    id = (await client.post("/v1/projects", json={"name": "shop"})).json()["id"]
    made = (await client.post("/v1/keys", json={"name": "k", "scopes": ["tasks", "endpoints"], "project": id})).json()
    async with house.client(app, made["key"]) as shop:
        await shop.post("/v1/tasks", json=order())
        await shop.post("/v1/endpoints", json={"url": "https://10.1.2.3/hook"})
    refused = await client.delete(f"/v1/projects/{id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "project_in_use")
    assert [
        word for word in ("keys in force (1)", "endpoints (1)", "tasks") if word not in refused.json()["detail"]
    ] == []
    async with house.client(app, made["key"]) as shop:
        assert (await shop.get("/v1/tasks")).json()["data"]
    await client.delete(f"/v1/keys/{made['id']}")
    assert "keys in force" not in (await client.delete(f"/v1/projects/{id}")).json()["detail"]


async def trail(house: House, project_id: str) -> list[AuditEntry]:
    return await house.context.database.read(lambda tx: audit.page(tx, project_id, after=None, limit=20))
