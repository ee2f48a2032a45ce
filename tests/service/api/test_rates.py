"""Each API key has a rate of its own in a process, and every answer says what is left of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from service.api.app import create_app
from service.api.problems import Problem
from service.api.rates import FREE, Quota, Rates
from service.core.times import SECOND
from tests.service.api.house import House

NOW = 1_000 * SECOND


def left(rates: Rates, key: str = "key_1", now: int = NOW) -> str:
    return rates.take(key, now).headers[1][1].decode()


def test_a_key_has_its_whole_quota_at_once_and_then_waits_for_each() -> None:
    rates = Rates(Quota(count=3, seconds=1))
    assert [left(rates) for _ in range(3)] == [f'"default";r={n};t=1' for n in (2, 1, 0)]
    over = rates.take("key_1", NOW)
    assert (over.wait, over.headers[0]) == (333_334, (b"ratelimit-policy", b'"default";q=3;w=1'))
    with pytest.raises(Problem) as told:
        over.demand()
    assert told.value.headers == {"retry-after": "1", "retry-after-ms": "334"}
    rates.take("key_1", NOW + over.wait).demand()


def test_keys_do_not_cost_each_other_anything() -> None:
    rates = Rates(Quota(count=1, seconds=60))
    assert [left(rates, key) for key in ("key_1", "key_2")] == ['"default";r=0;t=60'] * 2


def test_what_is_remembered_is_bounded_and_the_quietest_goes_first() -> None:
    rates = Rates(Quota(count=1, seconds=60), known=2)
    for key in ("a", "b", "a", "c"):
        rates.take(key, NOW)
    assert [rates.take(key, NOW).wait > 0 for key in ("a", "b")] == [True, False]


def test_without_a_quota_nobody_is_held_back_and_nothing_is_said() -> None:
    assert Rates().take("key_1", NOW) is FREE
    FREE.demand()


async def test_over_its_rate_a_key_hears_when_to_come_back_and_nothing_is_done(house: House) -> None:
    app = create_app(replace(house.context, ticks=house.clock, rates=Rates(Quota(count=2, seconds=2))))
    async with house.client(app, house.key) as client:
        first = await client.get("/v1/tasks")
        missing = await client.get("/v1/tasks/task_00000000000000000000000000")
        over = await client.get("/v1/tasks")
        house.clock.advance(1)
        later = await client.get("/v1/whoami")
    assert (first.headers["ratelimit-policy"], first.headers["ratelimit"]) == ('"default";q=2;w=2', '"default";r=1;t=1')
    assert (missing.status_code, missing.headers["ratelimit"]) == (404, '"default";r=0;t=2')
    assert (over.status_code, over.json()["code"], over.headers["ratelimit"]) == (
        429,
        "rate_limited",
        '"default";r=0;t=2',
    )
    assert over.headers["retry-after"] == "1" and 900 < int(over.headers["retry-after-ms"]) <= 1000
    assert later.status_code == 200


async def test_what_needs_no_key_has_no_rate(house: House) -> None:
    app = create_app(replace(house.context, ticks=house.clock, rates=Rates(Quota(count=1, seconds=86_400))))
    async with house.client(app, house.key) as client:
        for path in ("/livez", "/readyz", "/", "/docs/problems", "/o/nothing", "/callbacks/cloudsway/x"):
            told = [await client.get(path) for _ in range(3)]
            assert len({one.status_code for one in told}) == 1 and told[0].status_code != 429
            assert not any("ratelimit" in one.headers for one in told)


async def test_a_scope_that_is_missing_counts_as_well(
    house: House, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    app = create_app(replace(house.context, ticks=house.clock, rates=Rates(Quota(count=1, seconds=60))))
    async with house.client(app, await house.key_with("read")) as client:
        told = [(await client.post("/v1/tasks", json={})).status_code for _ in range(2)]
    assert told == [403, 429]


async def test_a_clock_that_is_set_back_holds_nobody_back(house: House) -> None:
    app = create_app(replace(house.context, rates=Rates(Quota(count=5, seconds=60))))
    async with house.client(app, house.key) as client:
        assert (await client.get("/v1/whoami")).status_code == 200
        house.clock.advance(-3600)
        again = await client.get("/v1/whoami")
    assert (again.status_code, again.headers["ratelimit"].split(";")[1]) == (200, "r=3")
