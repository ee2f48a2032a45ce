"""Fifty subscribers whose names are never answered: what they cost the provider's calls, and a subscriber that is well."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from service.sandbox.jobs import Knobs
from tests.e2e.stack import Stack, installation
from tests.hostile.launch import command

HOLES = 50
TASKS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds, in order: from the client's order to the provider's answer, and from there to the healthy subscriber."""

    bought: Sequence[float]
    heard: Sequence[float]


async def measure(folder: Path) -> tuple[Latency, Latency]:
    """Without and with the fifty. Both the provider and the healthy subscriber have names that must be looked up too."""
    async with installation(folder, knobs=Knobs(job_seconds=None), run=command(sys.executable)) as stack:
        port = stack.provider.port
        stack.extra["TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL"] = f"http://provider.hostile.test:{port}"
        stack.extra["TASKRELAY_ACCOUNTS__CLOUDSWAY__RATE"] = "500/s"
        stack.extra["TASKRELAY_ACCOUNTS__CLOUDSWAY__MAX_OPEN_TASKS"] = "1000"
        await stack.start()
        async with stack.client() as client:
            url = f"http://one.hostile.test:{stack.receiver.port}/hook"
            made = await client.post("/v1/endpoints", json={"url": url, "events": ["task.*"]})
            stack.subscriber.trust([made.json()["secret"]])
            await _orders(stack, client, 5)
            without = await _orders(stack, client, TASKS)
            for number in range(HOLES):
                wanted = {"url": f"https://hole{number}.test/", "events": ["task.*"]}
                assert (await client.post("/v1/endpoints", json=wanted)).status_code == 201
            await _orders(stack, client, 1)  # from here on all of them hang
            return without, await _orders(stack, client, TASKS)


async def _orders(stack: Stack, client: httpx.AsyncClient, count: int) -> Latency:
    bought, heard = [], []
    order = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}
    for _ in range(count):
        before, asked = len(stack.subscriber.received), _creates(stack)
        began = time.perf_counter()
        assert (await client.post("/v1/tasks", json=order)).status_code == 202
        await _until(partial(_more, asked, lambda: _creates(stack)))
        answered = time.perf_counter()
        await _until(partial(_more, before, lambda: len(stack.subscriber.received)))
        bought.append((answered - began) * 1000)
        heard.append((time.perf_counter() - answered) * 1000)
        await asyncio.sleep(0.1)  # so that it goes on through the time-outs
    return Latency(bought=sorted(bought), heard=sorted(heard))


def _more(than: int, count: Callable[[], int]) -> bool:
    return count() > than


def _creates(stack: Stack) -> int:
    return sum(request.kind == "create" for request in stack.world.requests)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 (the parties ring nothing, and a bell would be part of what is measured)
            await asyncio.sleep(0.001)
