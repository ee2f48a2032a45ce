"""Where most tests of recording begin: a task at its provider, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from service.core.observation import Claim, Observation
from service.pipeline.relay import EndpointLane
from storage.records import LaneKind, Output, Task
from tests.service.pipeline.rig import Rig

VIDEO = (Output(url="https://video.example/v.mp4"),)


async def bound_task(rig: Rig, **more: object) -> tuple[Task, str]:
    """A task at its provider, and its submission."""
    task = await rig.task(await rig.project(), **more)  # type: ignore[arg-type]
    return task, await rig.bound(task, f"job-{task.id}")


def succeeded(rig: Rig, task: Task, **more: object) -> Observation:
    return rig.seen(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO, **more)  # type: ignore[arg-type]


async def ended(rig: Rig, project: str, *, webhook: tuple[str, str, str | None] | None = None) -> Task:
    """A task that has just failed: one event that every endpoint wants. Its account's lane rests."""
    task = await rig.task(project, webhook=webhook)
    await rig.bound(task, f"job-{task.id}")
    await rig.see(task, Claim.FAILED, job=f"job-{task.id}")
    await rig.run("UPDATE lanes SET next_due_at = NULL WHERE kind = 'account'")
    return task


async def sending(rig: Rig, endpoint: str) -> EndpointLane:
    worker = await rig.worker(LaneKind.ENDPOINT, endpoint)
    assert isinstance(worker, EndpointLane)
    return worker


async def soon(awaited: Awaitable[object]) -> None:
    async with asyncio.timeout(30):
        await awaited
