"""POST /v1/tasks: what it prefers to wait for, and what it shows without storing anything, stand in test_tasks; here its headers."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request

from service.api.creation import preferred_wait
from tests.service.api.house import House, order


def asked(*prefer: str) -> Request:
    return Request({"type": "http", "headers": [(b"prefer", one.encode()) for one in prefer]})


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ((), None),
        (("wait=5",), 5),
        (('respond-async, Wait = "7"; x=1',), 7),
        (("respond-async", "wait=9"), 9),
        (("wait=9999",), 60),
        (("wait=soon",), None),
    ],
)
def test_a_preference_is_read_and_bounded_and_what_cannot_be_read_is_none(
    prefer: tuple[str, ...], seconds: int | None
) -> None:
    assert preferred_wait(asked(*prefer), 60) == seconds


async def test_an_open_task_says_where_it_is_and_when_to_come_back(house: House, client: httpx.AsyncClient) -> None:
    for headers in ({}, {"idempotency-key": "a"}, {"prefer": "wait=0"}):
        made = await client.post("/v1/tasks", json=order(), headers=headers)
        assert made.status_code == 202 and int(made.headers["retry-after"]) >= 1
        assert made.headers["location"].endswith(made.json()["id"])
        assert "preference-applied" not in made.headers
