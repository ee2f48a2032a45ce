"""Two hundred creates at once with one Idempotency-Key: one task, one purchase. On PostgreSQL at two processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from service.cli.demo.stage import free_port
from tests import engines
from tests.e2e.stack import PATIENCE_SECONDS, Stack, installation

pytestmark = pytest.mark.slow

AT_ONCE = 200
BODY = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}


@asynccontextmanager
async def another(stack: Stack) -> AsyncIterator[str]:
    """A second process on the same database; gives its address."""
    first, port = stack.process, stack.port
    stack.port = free_port()
    await stack.start()
    url, second = stack.url, stack.process
    stack.process, stack.port = first, port
    try:
        yield url
    finally:
        assert second is not None
        second.kill()
        await second.wait()


async def all_at_once(urls: list[str], key: str, headers: list[dict[str, str]]) -> list[httpx.Response]:
    """One request for each set of headers, by turns at each address."""
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(
        headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE_SECONDS, limits=limits
    ) as client:
        asked = [
            client.post(f"{urls[n % len(urls)]}/v1/tasks", json=BODY, headers=more) for n, more in enumerate(headers)
        ]
        return await asyncio.gather(*asked)


async def check(stack: Stack, urls: list[str]) -> None:
    told = await all_at_once(urls, stack.key, [{"idempotency-key": '"order-8841"'}] * AT_ONCE)
    assert {one.status_code for one in told} == {202}
    assert len({one.content for one in told}) == 1, "byte for byte"
    assert sum("taskrelay-replayed" not in one.headers for one in told) == 1
    task = told[0].json()["id"]
    await stack.until(lambda: any(job.finished_at for job in stack.world.jobs.values()), "the job's end")
    async with stack.client() as client:
        ended = await client.post(
            "/v1/tasks", json=BODY, headers={"idempotency-key": "order-8841", "prefer": "wait=30"}
        )
        listed = (await client.get("/v1/tasks")).json()["data"]
    assert (ended.status_code, ended.json()["status"]) == (200, "succeeded")
    assert ([one["id"] for one in listed], len(stack.world.jobs)) == ([task], 1)


async def retries(stack: Stack, urls: list[str]) -> None:
    """Four calls of an SDK, each with its first try at one process and its second at another, all at once."""
    before = len(stack.world.jobs)
    first = await all_at_once(urls, stack.key, [{"x-stainless-retry-count": "0"}] * 4)
    second = await all_at_once(urls[::-1], stack.key, [{"x-stainless-retry-count": "1"}] * 4)
    made = {one.json()["id"] for one in first}
    assert len(made) == 4 and {one.json()["id"] for one in second} == made
    await stack.until(lambda: len(stack.world.jobs) == before + 4, "four purchases")


async def test_one_key_is_one_task_and_one_purchase_however_many_ask_at_once(tmp_path: Path) -> None:
    async with installation(tmp_path) as stack:
        await stack.start()
        if not engines.POSTGRES:
            await check(stack, [stack.url])
            await retries(stack, [stack.url])
            return
        async with another(stack) as url:
            await check(stack, [stack.url, url])
            await retries(stack, [stack.url, url])
