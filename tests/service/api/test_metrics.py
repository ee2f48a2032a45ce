"""Who may see /metrics, and that it says nothing to anybody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from service.api.app import Api, create_app
from service.api.metrics import Metrics
from service.telemetry import metrics
from tests.service.api.house import House, order

TOKEN = "a-token-for-metrics-1234"


async def ask(house: House, app: Api, key: str) -> httpx.Response:
    async with house.client(app, key) as client:
        return await client.get("/metrics")


async def test_an_admins_key_opens_it(house: House, client: httpx.AsyncClient) -> None:
    await client.post("/v1/tasks", json=order())
    told = await client.get("/metrics")
    assert (told.status_code, told.headers["content-type"]) == (200, metrics.CONTENT_TYPE)
    assert told.headers["cache-control"] == "no-store"
    assert 'taskrelay_open_tasks{account="cloudsway",status="queued"} 1.0' in told.text
    assert house.project_id not in told.text and "task_0" not in told.text


async def test_a_key_without_that_scope_is_told_so_and_nothing_else(house: House, app: Api) -> None:
    told = await ask(house, app, await house.key_with("tasks", "endpoints", "read"))
    assert (told.status_code, told.json()["code"]) == (403, "missing_scope")
    assert "taskrelay_" not in told.text


@pytest.mark.parametrize("key", ["", TOKEN, "trk_nobody", TOKEN[:-1], TOKEN + "x"])
async def test_without_a_key_or_with_a_wrong_token_it_says_nothing(house: House, key: str) -> None:
    with_another = create_app(replace(house.context, metrics_token="another-token-for-metrics"))
    told = await ask(house, with_another, key)
    assert (told.status_code, told.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("only_health", [False, True])
async def test_the_token_opens_it_also_where_nothing_else_is_served(house: House, only_health: bool) -> None:
    app = create_app(replace(house.context, metrics_token=TOKEN), only_health=only_health)
    assert (await ask(house, app, TOKEN)).status_code == 200
    assert (await ask(house, app, house.key)).status_code == 200
    assert (await ask(house, app, "")).status_code == 401


async def test_the_token_opens_nothing_else(house: House) -> None:
    app = create_app(replace(house.context, metrics_token=TOKEN))
    async with house.client(app, TOKEN) as client:
        assert (await client.get("/v1/accounts")).status_code == 401


async def test_the_token_in_no_repr(house: House) -> None:
    context = replace(house.context, metrics_token=TOKEN)
    assert TOKEN not in repr(context) + repr(Metrics(context)) + repr(vars(create_app(context)))


async def test_two_headers_are_none(house: House, calling: Callable[[str], httpx.AsyncClient]) -> None:
    app = create_app(replace(house.context, metrics_token=TOKEN))
    async with house.client(app, "") as client:
        stated = [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")]
        assert (await client.get("/metrics", headers=stated)).status_code == 401
