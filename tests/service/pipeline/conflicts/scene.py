"""What the conflict tests share: a task at the sandbox, pushes as a provider or a forger would make them, and what was told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest

from service.core.observation import Reading
from service.pipeline.accounts import Callbacks
from service.pipeline.callback import CallbackDesk, take
from service.pipeline.ledger import Recorded
from service.providers.registry import PROVIDERS
from service.sandbox.jobs import Asked
from storage.records import Task, TaskStatus
from tests.service.pipeline.rig import Rig

# The default is checked at every run of the tests, the others in the slow ones.
in_every_mode = pytest.mark.parametrize(
    "mode",
    [
        Callbacks.VERIFY,
        *(pytest.param(mode, marks=pytest.mark.slow) for mode in Callbacks if mode is not Callbacks.VERIFY),
    ],
)
FORGED = "https://forged.example/v.mp4"
ENDS = ("task.succeeded", "task.failed", "task.canceled", "task.expired")


async def bought(
    rig: Rig, mode: Callbacks, directives: str = "no-push", *, account: str = "cloudsway", **more: Any
) -> Task:
    """A task at its provider, and two endpoints: one is owed everything, the other the ends."""
    rig.account(account, callbacks=mode)
    project = await rig.project()
    await rig.endpoint(project, events="task.*")
    await rig.endpoint(project)
    task = await rig.task(project, account=account, prompt=f"A boat. [sandbox: {directives}]", **more)
    await rig.settle()
    return task


async def pushed(rig: Rig, task: Task, word: str, *, at: int = -1, **fields: object) -> Recorded:
    """Somebody who knows the callback URL posts a status. What is not said otherwise is as the provider would say it.

    `at`: which submission's URL.
    """
    job = (await rig.now(task)).provider_task_id
    said: dict[str, object] = {"id": job, "status": word, "external_id": task.id}
    if word == "succeeded":
        said["outputs"] = [{"type": "video", "url": FORGED}]
    said = {name: value for name, value in (said | fields).items() if value is not None}
    return await posted(rig, task, orjson.dumps(said), at=at)


async def posted(rig: Rig, task: Task, body: bytes, *, at: int = -1) -> Recorded:
    """Somebody who knows the callback URL posts bytes."""
    submission = (await rig.submissions(task))[at]
    return await take(PROVIDERS[submission.account], submission.id, {}, body, desk(rig))


def desk(rig: Rig) -> CallbackDesk:
    return CallbackDesk(
        recorder=rig.recorder,
        providers=PROVIDERS,
        read_token=rig.tokens.read_callback,
        secrets={},
        clock=rig.clock,
    )


def before_the_reply_is_recorded(rig: Rig, what: Callable[[], Awaitable[Reading | None]]) -> None:
    """Have something happen while the answer to the next purchase is in our hands and not yet on disk.

    What it returns, unless None, stands in the answer's place.
    """
    drive = rig.client.drive

    async def overtaken(*given: Any, **named: Any) -> Any:
        answer = await drive(*given, **named)
        if isinstance(answer, Reading) and "deadline" in named:
            rig.client.drive = drive  # type: ignore[method-assign]
            return await what() or answer
        return answer

    rig.client.drive = overtaken  # type: ignore[method-assign]


def die(rig: Rig) -> None:
    """The process ends; what was in flight is never recorded."""
    rig.workers.clear()


async def hand_over(rig: Rig) -> None:
    """The lease lapses, and the lanes are anybody's."""
    await rig.run("UPDATE lanes SET owner = NULL, until = 0, next_due_at = 0")


def asked(rig: Rig, kind: str) -> list[Asked]:
    return [request for request in rig.world.requests if request.kind == kind]


async def kinds(rig: Rig, task: Task) -> list[str]:
    return [entry.kind for entry in await rig.timeline(task)]


async def conflicts(rig: Rig, task: Task) -> list[str]:
    """Which contradictions the timeline tells of."""
    return [
        str(orjson.loads(entry.detail)["conflict"]) for entry in await rig.timeline(task) if entry.kind == "conflict"
    ]


async def ended_once(rig: Rig, task: Task, status: TaskStatus) -> Task:
    """The task ended so; it was told once, to both endpoints, in order; and every bell was answered."""
    ended = await rig.now(task)
    assert ended.status is status
    told = await rig.rows("SELECT type, sequence, hard FROM events WHERE task_id = :id ORDER BY position", id=task.id)
    assert sum(int(str(hard)) for _, _, hard in told) == ended.final
    sequences = [int(str(sequence)) for _, sequence, _ in told]
    assert all(one < two for one, two in pairwise(sequences))
    assert ended.sequence >= max(sequences)
    [last] = [str(kind) for kind, _, _ in told if kind == f"task.{status}"]
    everything, only_ends = await owed(rig, task)
    assert everything == [kind for kind, _, _ in told]
    assert only_ends == [kind for kind, _, _ in told if kind in ENDS]
    assert only_ends[-1] == last
    assert await rig.bells() == 0
    return ended


async def owed(rig: Rig, task: Task) -> list[list[object]]:
    """What was owed to the endpoint that wants everything, and to the one that wants the ends."""
    rows = await rig.rows(
        "SELECT e.events, d.event_type FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id"
        " JOIN events v ON v.id = d.event_id WHERE d.task_id = :task ORDER BY v.position",
        task=task.id,
    )
    return [[kind for events, kind in rows if events == wants] for wants in ("task.*", None)]
