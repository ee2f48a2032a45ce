from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request

from service.api.body import read_json
from service.api.context import Limits
from service.api.problems import Problem
from tests.service.api.house import House, order

BAD_BYTES = [
    (
        "a lone surrogate",
        b'{"provider":"cloudsway","model":"kling-3.0-turbo","input":{"prompt":"\\ud800"}}',
        {},
        422,
        "/input/prompt",
    ),
    ("not JSON", b"{", {}, 400, ""),
    ("UTF-16", '{"a":1}'.encode("utf-16"), {}, 400, ""),
    ("a key twice", b'{"provider":"a","provider":"b"}', {}, 400, ""),
    ("too deep", b"[" * 100_000, {}, 400, ""),
    ("empty", b"", {}, 400, ""),
    ("a list", b"[]", {}, 422, ""),
    ("a form", b"a=b", {"content-type": "application/x-www-form-urlencoded"}, 415, ""),
    ("no type", b"{}", {"content-type": ""}, 415, ""),
    ("another charset", b"{}", {"content-type": "application/json; charset=latin-1"}, 415, ""),
    ("compressed", b"{}", {"content-encoding": "gzip"}, 415, ""),
    ("2 MiB", b'"' + b"x" * (2 << 20) + b'"', {}, 413, ""),
]


@pytest.mark.parametrize(
    ("raw", "headers", "status", "place"), [case[1:] for case in BAD_BYTES], ids=[case[0] for case in BAD_BYTES]
)
async def test_bad_bytes_are_refused_and_nothing_is_stored(
    client: httpx.AsyncClient, house: House, raw: bytes, headers: dict[str, str], status: int, place: str
) -> None:
    before = await house.sizes()
    answer = await client.post("/v1/tasks", content=raw, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status
    problem = answer.json()
    assert problem["status"] == status and problem["detail"]
    if place:
        assert [fault["pointer"] for fault in problem["errors"]] == [place]
    assert await house.sizes() == before


@pytest.mark.parametrize("more", ["", ";", "; charset=utf-8;", ";\tcharset=UTF-8", ' ; charset="utf-8" '])
async def test_the_type_is_read_with_the_blanks_and_empty_parameters_that_http_allows(
    client: httpx.AsyncClient, more: str
) -> None:
    headers = {"content-type": f"application/json{more}"}
    assert (await client.post("/v1/tasks?dry_run=true", json=order(), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "more", ["; charset=utf-8; charset=utf-8", "; charset=utf-8; charset=latin-1", "; odd=1", ", x"]
)
async def test_a_type_that_says_more_than_is_read_is_refused(client: httpx.AsyncClient, more: str) -> None:
    headers = {"content-type": f"application/json{more}"}
    assert (await client.post("/v1/tasks?dry_run=true", json=order(), headers=headers)).status_code == 415


async def test_a_body_without_a_stated_length_is_counted_while_it_comes(
    client: httpx.AsyncClient, house: House
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64 << 20:
            sent += 1 << 16
            yield b"x" * (1 << 16)

    answer = await client.post("/v1/tasks", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert (await house.sizes())["tasks"] == 0


async def test_a_body_that_never_ends_is_not_waited_for() -> None:
    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(Problem) as told:
        await read_json(Request(scope, receive), Limits(body_seconds=0.01))
    assert told.value.code == "too_slow"


@pytest.mark.parametrize(
    "stated", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
async def test_json_may_be_announced_in_its_usual_spellings(stated: str) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b'{"a": 1}'}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", stated.encode())]}
    assert await read_json(Request(scope, receive), Limits()) == {"a": 1}
