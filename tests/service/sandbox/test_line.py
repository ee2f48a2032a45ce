from __future__ import annotations

import asyncio

import httpx
import pytest

from service.sandbox.world import World
from tests.service.sandbox.conftest import HandClock
from tests.service.sandbox.test_cloudsway import TEXT, body, query

ANSWERED_AFTER = {
    "lost-reply": httpx.RemoteProtocolError,
    "hang-after": httpx.ReadTimeout,
    "late-reply=60": httpx.ReadTimeout,
}
NEVER_MADE = {"close": httpx.RemoteProtocolError, "hang": httpx.ReadTimeout}


@pytest.mark.parametrize("directive", [*ANSWERED_AFTER, *NEVER_MADE])
async def test_connection_ends_without_an_answer(client: httpx.AsyncClient, world: World, directive: str) -> None:
    expected = (ANSWERED_AFTER | NEVER_MADE)[directive]
    with pytest.raises(expected):
        limits = httpx.Timeout(60, read=0.2)
        await client.post(TEXT, json=body(f"A boat [sandbox: {directive}]"), timeout=limits)
    async with asyncio.timeout(30):
        await world.until(lambda: bool(world.requests) and (directive in NEVER_MADE or bool(world.accepted)))
    assert world.accepted.get("cloudsway", {}) == ({"task_1": 1} if directive in ANSWERED_AFTER else {})
    assert world.requests[-1].status is None


async def test_a_late_reply_is_the_usual_one(client: httpx.AsyncClient, clock: HandClock) -> None:
    reply, _ = await asyncio.gather(
        client.post(TEXT, json=body("A boat [sandbox: late-reply=20]")),
        clock.move(20),
    )
    assert reply.json()["code"] == 0


async def test_other_connections_live_on_when_one_is_hung_up(client: httpx.AsyncClient) -> None:
    spoilt, well = await asyncio.gather(
        client.post(TEXT, json=body("A boat [sandbox: lost-reply]")),
        query(client, task_ids="1"),
        return_exceptions=True,
    )
    assert isinstance(spoilt, httpx.RemoteProtocolError)
    assert well == []


async def test_garbage_is_a_200_that_cannot_be_read_and_the_job_exists(client: httpx.AsyncClient, world: World) -> None:
    reply = await client.post(TEXT, json=body("A boat [sandbox: garbage]"))
    assert reply.status_code == 200
    with pytest.raises(ValueError):
        reply.json()
    assert world.accepted["cloudsway"] == {"task_1": 1}
