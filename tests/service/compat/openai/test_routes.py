"""The table of the dialect: every row is behind a key, faults are 400 there, and the page names them all."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from service.api.app import ROUTES as OURS
from service.api.app import Api
from service.compat.openai.routes import BASE, ROUTES
from tests.service.api.house import House

PAGE = (Path(__file__).parents[4] / "docs" / "openai.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([A-Z]+) `(\S+)` \| ([a-z, ]+) \|", re.MULTILINE)


def test_the_page_names_every_route_with_its_scopes() -> None:
    told = {f"{method} {path}": scopes for method, path, scopes in ROW.findall(PAGE)}
    assert told == {f"{method} {path.replace(':path', '')}": ", ".join(scopes) for method, path, scopes, _ in ROUTES}


def test_no_row_takes_the_place_of_one_of_ours() -> None:
    assert {(method, path) for method, path, _, _ in OURS} & {(method, path) for method, path, _, _ in ROUTES} == set()
    assert all(path.startswith(f"{BASE}/") for _, path, _, _ in ROUTES)


async def test_no_row_answers_without_a_key(house: House, app: Api) -> None:
    async with house.client(app, "") as client:
        for method, path, _, _ in ROUTES:
            reply = await client.request(method, re.sub(r"\{.*?\}", "x", path))
            assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error"), path


async def test_a_fault_is_400_with_one_body_for_both_readers(client: httpx.AsyncClient) -> None:
    reply = await client.get("videos?limit=x")
    body = reply.json()
    assert reply.status_code == body["status"] == 400 and reply.headers["content-type"] == "application/problem+json"
    assert body["detail"] == body["error"]["message"] and body["error"]["param"] == "limit"
    assert body["request_id"] == reply.headers["x-request-id"]


async def test_a_path_that_is_not_there_answers_in_the_same_shape(client: httpx.AsyncClient) -> None:
    reply = await client.get("chat/completions")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
