"""Where most tests of recording begin: a task at its provider, and its end."""

from __future__ import annotations

from service.core.observation import Claim, Observation
from storage.records import Output, Task
from tests.service.pipeline.rig import Rig

VIDEO = (Output(url="https://video.example/v.mp4"),)


async def bound_task(rig: Rig, **more: object) -> tuple[Task, str]:
    """A task at its provider, and its submission."""
    task = await rig.task(await rig.project(), **more)  # type: ignore[arg-type]
    return task, await rig.bound(task, f"job-{task.id}")


def succeeded(rig: Rig, task: Task, **more: object) -> Observation:
    return rig.seen(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO, **more)  # type: ignore[arg-type]
