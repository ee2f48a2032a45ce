"""Projects share an account's rate by turns: how deep another's queue is does not matter, only that somebody else has one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage import lanes, tasks
from storage.database import Connection
from storage.records import LaneKind, Task
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig

RATE = 20.0
ASKED = 30


async def pile(rig: Rig, project: str, count: int) -> list[Task]:
    """As many tasks of one project as asked for, queued in one go."""
    first = await rig.task(project, prompt="A boat. [sandbox: no-push]")
    more = [replace(first, id=rig.mint("task")) for _ in range(count - 1)]

    async def unit(tx: Connection) -> None:
        for task in more:
            await tasks.insert(tx, task)
        await lanes.arrive(tx, {(LaneKind.ACCOUNT, first.account): rig.clock()})

    await rig.database.write(unit)
    return [first, *more]


async def waits(rig: Rig, project: str) -> list[float]:
    """How long each task of a project waited until it was submitted, in seconds, the shortest first."""
    rows = await rig.rows(
        "SELECT s.created_at - t.created_at FROM submissions s JOIN tasks t ON t.id = s.task_id"
        " WHERE t.project_id = :project AND s.number = 1 ORDER BY 1",
        project=project,
    )
    return [int(str(wait)) / SECOND for (wait,) in rows]


@pytest.mark.parametrize("depth", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_another_projects_deep_queue_at_most_doubles_the_wait(rig: Rig, depth: int) -> None:
    rig.account(rate=RATE, max_open_tasks=1000)
    alone = await rig.project()
    await pile(rig, alone, ASKED)
    await rig.stretch(ASKED / RATE + 1)
    deep, late = sorted([await rig.project(), await rig.project()])  # the later name has its first turn second
    await pile(rig, deep, depth)
    rig.workers.clear()  # a new owner begins with an empty bucket, as the first did
    await rig.run("UPDATE lanes SET owner = NULL, until = 0, next_due_at = 0")
    await pile(rig, late, ASKED)
    await rig.stretch(2 * ASKED / RATE + 1)
    before, beside = await waits(rig, alone), await waits(rig, late)
    assert len(before) == len(beside) == ASKED
    assert beside[-1] <= 2 * before[-1], (before[-1], beside[-1])
    assert len(await waits(rig, deep)) >= ASKED - 1, "the deep one has its half"


async def test_five_projects_are_bought_for_in_turn_whatever_came_first(rig: Rig) -> None:
    rig.account(rate=5.0)
    projects = sorted([await rig.project() for _ in range(5)])
    for project in reversed(projects):
        await pile(rig, project, 4)
    await rig.stretch(5)
    rows = await rig.rows(
        "SELECT t.project_id FROM submissions s JOIN tasks t ON t.id = s.task_id ORDER BY s.created_at"
    )
    order = [projects.index(str(project)) for (project,) in rows]
    assert len(order) == 20
    rounds = [order[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in rounds), order


async def test_whoever_waits_for_later_takes_no_turn_from_those_who_are_due(rig: Rig) -> None:
    rig.account(rate=2.0)
    patient, eager = sorted([await rig.project(), await rig.project()])
    for task in await pile(rig, patient, 3):
        await rig.run("UPDATE tasks SET due_at = due_at + 60000000 WHERE id = :id", id=task.id)
    rig.touched = True
    await pile(rig, eager, 4)
    await rig.stretch(4)
    assert len(await waits(rig, eager)) == 4
    await rig.stretch(70)
    assert len(await waits(rig, patient)) == 3
