"""Scripts of other origins read nothing, unless theirs is named; then they may ask first, and read what they need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from service.api.app import create_app
from tests.service.api.house import House, order

TOOLS = "https://tools.example.com"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, idempotency-key"}


@pytest.fixture
async def browser(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client(create_app(replace(house.context, cors_origins=(TOOLS,))), house.key) as client:
        yield client


def said(answer: httpx.Response) -> list[str]:
    return sorted(name for name in answer.headers if name.startswith("access-control"))


async def test_by_default_no_answer_says_anything_of_origins(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/v1/tasks"),
        ("OPTIONS", "/v1/tasks"),
        ("GET", "/livez"),
        ("GET", "/nowhere"),
        ("GET", "/o/x"),
    ):
        answer = await client.request(method, path, headers={"origin": TOOLS, **ASKS})
        assert said(answer) == [] and "vary" not in answer.headers


async def test_a_named_origin_may_read_the_answer_and_its_headers(browser: httpx.AsyncClient) -> None:
    for answer in (
        await browser.post("/v1/tasks", json=order(), headers={"origin": TOOLS}),
        await browser.get("/v1/nowhere", headers={"origin": TOOLS}),
    ):
        assert answer.headers["access-control-allow-origin"] == TOOLS
        assert "retry-after" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in answer.headers


async def test_what_an_sdk_in_a_page_decides_by_may_be_read(browser: httpx.AsyncClient) -> None:
    await browser.post("/v1/tasks", json=order(reference="a"))
    taken = await browser.post("/v1/tasks", json=order(reference="a"), headers={"origin": TOOLS})
    exposed = taken.headers["access-control-expose-headers"].split(", ")
    assert taken.headers["x-should-retry"] == "false" and "x-should-retry" in exposed
    assert "openai-poll-after-ms" in exposed  # tests/service/compat: of a video that goes on


async def test_another_origin_may_not(browser: httpx.AsyncClient) -> None:
    for origin in ("https://evil.example", "null", f"{TOOLS}.evil.example", "http://tools.example.com", f"{TOOLS}/"):
        answer = await browser.get("/v1/tasks", headers={"origin": origin})
        asked = await browser.options("/v1/tasks", headers={"origin": origin, **ASKS})
        assert (said(answer), said(asked), asked.status_code) == ([], [], 405)
        assert answer.headers["vary"] == "origin", "or a cache would give it to whoever may"


async def test_a_browser_that_asks_first_is_answered_without_a_key(house: House, browser: httpx.AsyncClient) -> None:
    del browser.headers["authorization"]
    answer = await browser.options("/v1/tasks", headers={"origin": TOOLS, **ASKS})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-headers"] == "authorization, idempotency-key"
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    odd = await browser.options("/v1/tasks", headers={"origin": TOOLS, **ASKS, "access-control-request-headers": "a b"})
    assert "access-control-allow-headers" not in odd.headers
