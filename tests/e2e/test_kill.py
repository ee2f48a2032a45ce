"""kill -9 between any two steps of a pushed task: bought once, and the event arrives, with one id and one body."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from service.sandbox.jobs import Knobs
from service.telemetry.failpoints import POINTS
from tests.e2e.stack import Stack, installation

AT_ONCE = 3  # installations side by side: two cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the oracle saw, and what the service says of itself in the end."""

    exit_code: int
    accepted: int
    tasks: int
    webhook_ids: frozenset[str | None]
    bodies: frozenset[str]
    valid: bool
    events: int
    status: str


async def scenario(point: str, folder: Path) -> Seen:
    os.mkdir(folder)
    # Uniqueness is off, so that a second purchase would be made and counted instead of refused.
    async with installation(folder, knobs=Knobs(job_seconds=0.5, unique_external_id=False)) as stack:
        await stack.start()
        await stack.subscribe()
        await stack.kill()
        await stack.start(TASKRELAY_FAILPOINT=point)
        try:
            await stack.create(reference="once")
        except Exception:
            assert point in ("after_create", "after_intent")  # it died before it could answer
        exit_code = await stack.died()
        await stack.start()
        await stack.until(lambda: any(one.valid for one in stack.subscriber.received), f"{point}: the event")
        return await look(stack, exit_code)


async def look(stack: Stack, exit_code: int) -> Seen:
    async with stack.client() as client:
        tasks = (await client.get("/v1/tasks")).json()["data"]
        events = (await client.get("/v1/events")).json()["data"]
    received = list(stack.subscriber.received)
    return Seen(
        exit_code=exit_code,
        accepted=sum(sum(counted.values()) for counted in stack.world.accepted.values()),
        tasks=len(tasks),
        webhook_ids=frozenset(one.webhook_id for one in received),
        bodies=frozenset(one.sha256 for one in received),
        valid=all(one.valid for one in received),
        events=sum(event["type"] == "task.succeeded" for event in events),
        status=tasks[0]["status"],
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Seen]]:
    """Every scenario, a few side by side."""
    folder = tmp_path_factory.mktemp("kill")
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(point: str) -> Seen:
        async with turn:
            return await scenario(point, folder / point)

    found = await asyncio.gather(*(one(point) for point in POINTS))
    yield dict(zip(POINTS, found, strict=True))


@pytest.mark.timeout(170)
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.asyncio(loop_scope="module")
async def test_killed_at_any_step_it_is_bought_once_and_told(seen: dict[str, Seen], point: str) -> None:
    found = seen[point]
    assert found.exit_code == -signal.SIGKILL
    assert found.accepted == 1
    assert (found.tasks, found.status, found.events) == (1, "succeeded", 1)
    assert len(found.webhook_ids) == len(found.bodies) == 1
    assert found.valid
