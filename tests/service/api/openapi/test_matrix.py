"""Every operation of the document with every kind of id of another project, with every scope, and without a key.

Made from the document: a route that is added is asked as well, without anybody thinking of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import orjson
import pytest

from service.api.app import Api
from service.api.query import cursor
from service.pipeline.keys import SCOPES
from tests.dumps import dump
from tests.service.api import witness
from tests.service.api.house import House, order

NEVER = "01ARZ3NDEKTSV4RRFFQ69G5FAV"  # the end of ids that nothing has
ID = re.compile(r"\b([a-z]{2,8})_[0-9A-Z]{26}\b")
# With `admin` one looks after projects and keys of the whole installation; everybody else sees their own.
INSTALLATION = ("prj", "key")
OF_QUERIES = {"task": "task", "endpoint": "ep", "event": "evt", "project": "prj", "reference": "reference"}
LISTS = {"/v1/tasks": "task", "/v1/endpoints": "ep", "/v1/deliveries": "dlv", "/v1/keys": "key", "/v1/projects": "prj"}
KEPT_OPEN = "/v1/events/stream"


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Those that take a key."""
    for path, methods in witness.described()["paths"].items():
        for method, operation in methods.items():
            if operation["security"] and path.startswith("/v1/"):
                yield method.upper(), path, operation


def example(operation: Mapping[str, Any]) -> dict[str, Any]:
    """A body that is fine, as a request takes it."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        [first, *_] = content["application/json"]["examples"].values()
        return {"json": first["value"]}
    return {"files": {"file": ("x.png", b"x", "image/png")}} if content else {}


def needed(operation: Mapping[str, Any]) -> dict[str, str]:
    """Parameters that must be there."""
    return (
        {"group_by": "day"}
        if any(one.get("required") and one["in"] == "query" for one in operation.get("parameters", []))
        else {}
    )


def alike(answer: httpx.Response) -> object:
    """Everything about an answer but its request id and the ids that were asked for."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    body = re.sub(r'"request_id":"[^"]*"', "", answer.text)
    return answer.status_code, headers, ID.sub(r"\1_…", body)


async def rows(house: House) -> list[str]:
    """Everything that is stored."""
    return sorted((await dump(house.context.database)).splitlines())


@pytest.fixture
async def theirs(house: House, app: Api) -> dict[str, list[str]]:
    """Ids of every kind in another project: its tasks in every state that matters, and what came of them."""
    async with house.client(app, house.keys["stranger"]) as stranger:
        for hook in ("a", "b"):
            made = {"url": f"https://10.1.0.1/{hook}", "events": ["*"], "signatures": ["v1", "v1a"]}
            assert (await stranger.post("/v1/endpoints", json=made)).status_code == 201
        tasks = [await stranger.post("/v1/tasks", json=order(reference=f"theirs-{n}")) for n in range(4)]
        done, failed, bought, _ = (one.json()["id"] for one in tasks)
        await house.succeeded(done, "job-a")
        await house.failed(failed, "job-b")
        await house.bought(bought, "job-c")
        found: dict[str, list[str]] = {}
        for path, prefix in (
            *LISTS.items(),
            ("/v1/events", "evt"),
            ("/v1/signing-keys", "sgk"),
            ("/v1/audit/log", "aud"),
        ):
            page = (await stranger.get(path)).json()
            found[prefix] = [one["id"] for one in page["data"] if path not in ("/v1/keys", "/v1/projects")]
            assert found[prefix] or path in ("/v1/keys", "/v1/projects"), path
        me = (await stranger.get("/v1/whoami")).json()
    return {**found, "key": [me["id"]], "prj": [me["project"]["id"]], "reference": ["theirs-0"]}


@pytest.fixture
async def admin(house: House, app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client(app, house.key) as client:
        yield client


@pytest.fixture
async def everything_but_admin(house: House, app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client(app, await house.key_with("tasks", "endpoints", "read")) as client:
        yield client


async def test_an_id_of_another_project_is_an_id_that_never_was(
    house: House, theirs: dict[str, list[str]], admin: httpx.AsyncClient, everything_but_admin: httpx.AsyncClient
) -> None:
    before, rung, asked = await rows(house), list(house.rung), 0
    for method, path, operation in operations():
        if "{id}" not in path:
            continue
        request = {**example(operation), "params": needed(operation)}
        for client in (admin, everything_but_admin):
            for prefix, ids in theirs.items():
                # Of data nobody sees more than `admin`, which sees its own project.
                if (client is admin) == (prefix in INSTALLATION) or prefix == "reference":
                    continue
                never = await client.request(method, path.replace("{id}", f"{prefix}_{NEVER}"), **request)
                for one in ids[:2]:
                    told = await client.request(method, path.replace("{id}", one), **request)
                    assert alike(told) == alike(never), f"{method} {path} with {one}"
                    assert told.status_code in (403, 404), f"{method} {path} with {one}"
                    asked += 1
    assert asked > 150
    assert await rows(house) == before
    assert house.rung == rung


async def test_a_filter_by_what_another_project_has_finds_what_it_finds_of_what_never_was(
    house: House, theirs: dict[str, list[str]], admin: httpx.AsyncClient, everything_but_admin: httpx.AsyncClient
) -> None:
    before, asked = await rows(house), 0
    hidden = [one for ids in theirs.values() for one in ids]
    for method, path, operation in operations():
        for parameter in operation.get("parameters", []):
            prefix = OF_QUERIES.get(parameter["name"])
            if method != "GET" or parameter["in"] != "query" or prefix is None or path == KEPT_OPEN:
                continue
            for client in (everything_but_admin,) if prefix in INSTALLATION else (admin, everything_but_admin):
                never = await client.get(path, params={parameter["name"]: f"{prefix}_{NEVER}"})
                for one in theirs[prefix]:
                    told = await client.get(path, params={parameter["name"]: one})
                    assert alike(told) == alike(never), f"{path}?{parameter['name']}={one}"
                    asked += 1
    for path, prefix in LISTS.items():
        for one in theirs[prefix]:
            page = await everything_but_admin.get(path, params={"after": cursor(one)})
            assert page.status_code == 200 and not any(other in page.text for other in hidden if other != "theirs-0"), (
                path
            )
    for one in theirs["evt"]:
        never, told = [await admin.get("/v1/events", params={"after": id}) for id in (f"evt_{NEVER}", one)]
        assert alike(told) == alike(never)
    assert asked > 10
    assert await rows(house) == before


async def test_no_list_holds_anything_of_another_project(
    theirs: dict[str, list[str]], admin: httpx.AsyncClient, everything_but_admin: httpx.AsyncClient
) -> None:
    seen = 0
    for method, path, operation in operations():
        if method == "GET" and "{" not in path and path != KEPT_OPEN:
            for client in (admin, everything_but_admin):
                told = await client.get(path, params=needed(operation))
                assert told.status_code == 200, path
                hidden = [
                    one
                    for prefix, ids in theirs.items()
                    for one in ids
                    if not (client is admin and prefix in INSTALLATION)
                ]
                assert [one for one in hidden if one in told.text] == [], path
                seen += 1
    assert seen > 25


async def test_a_reference_of_another_project_is_free(theirs: dict[str, list[str]], admin: httpx.AsyncClient) -> None:
    assert (await admin.post("/v1/tasks", json=order(reference=theirs["reference"][0]))).status_code == 202


@pytest.mark.parametrize("scope", SCOPES)
async def test_each_scope_gets_exactly_the_refusals_that_are_described(house: House, app: Api, scope: str) -> None:
    async with house.client(app, await house.key_with(scope)) as client:
        for method, path, operation in operations():
            if path == KEPT_OPEN:
                method = "HEAD"
            url = path.replace("{id}", f"task_{NEVER}").replace("{name}", "nobody").replace("{type}", "task.failed")
            told = await client.request(method, url, params=needed(operation), json={})
            described = scope in [one["key"][0] for one in operation["security"]]
            assert (told.status_code != 403) == described, f"{method} {path}: {told.text}"
            assert told.status_code != 401
            if not described:
                assert told.json()["code"] == "missing_scope"


async def test_without_a_key_and_with_a_wrong_one_nothing_is_told_and_nothing_done(house: House, app: Api) -> None:
    before = await rows(house)
    for number, (method, path, _) in enumerate(operations()):
        transport = httpx.ASGITransport(app=app, client=(f"10.9.0.{number}", 1))  # wrong keys are counted by address
        async with httpx.AsyncClient(transport=transport, base_url="http://anything.test") as nobody:
            url = path.replace("{id}", f"task_{NEVER}").replace("{name}", "cloudsway").replace("{type}", "task.failed")
            bare = await nobody.request(method, url, content=b"{")
            wrong = await nobody.request(method, url, content=b"{", headers={"authorization": f"Bearer trk_{'A' * 32}"})
            for told in (bare, wrong):
                assert (told.status_code, orjson.loads(told.content)["code"]) == (401, "unauthorized"), (
                    f"{method} {path}"
                )
                assert told.headers["www-authenticate"] == "Bearer"
            assert alike(bare) == alike(wrong)
    assert await rows(house) == before
