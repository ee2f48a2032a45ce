"""One look at an account's rows shows what is due, and no more of it than can be worked on."""

from __future__ import annotations

from dataclasses import replace

from service.core.observation import Claim, Source
from service.pipeline import due
from service.pipeline.due import Limits, Round
from storage.records import Task, TaskStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig

ALL = Limits(purchases=50, questions=50, tasks_asked_after=50)


async def look(rig: Rig, limits: Limits = ALL) -> Round:
    return await rig.database.read(lambda tx: due.read(tx, "cloudsway", limits, now=rig.clock()))


async def bound(rig: Rig, project: str, number: int, **more: float) -> Task:
    task = await rig.task(project, **more)  # type: ignore[arg-type]
    await rig.bound(task, str(number))
    return task


def names(found: list[Task]) -> set[str]:
    return {task.id for task in found}


async def test_every_kind_is_found_in_its_own_place(still: Rig) -> None:
    project = await still.project()
    queued = await still.task(project)
    processing = await bound(still, project, 1)
    unsure = await still.task(project)
    submission = await still.intend(unsure)
    await still.see(unsure, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
    await still.recorder.record(still.callback(submission, Claim.SUCCEEDED))
    still.clock.advance(4000)
    found = await look(still)
    assert (names(found.queued), names(found.unconfirmed), names(found.bound)) == (
        {queued.id},
        {unsure.id},
        {processing.id},
    )
    assert [bell.task_id for bell in found.bells] == [unsure.id] == list(found.rung)
    assert (found.open_at_provider, found.overdue) == (2, [])


async def test_no_more_is_read_than_can_be_worked_on_the_oldest_first(still: Rig) -> None:
    project = await still.project()
    made = []
    for _ in range(5):
        made.append(await still.task(project))
        still.clock.advance(1)
    found = await look(still, replace(ALL, purchases=2))
    assert [task.id for task in found.queued] == [task.id for task in made[:2]]


async def test_purchases_are_read_a_projects_turn_after_the_others_behind_the_one_served_last(still: Rig) -> None:
    projects = sorted([await still.project() for _ in range(3)])
    for project in projects:
        for _ in range(4):
            await still.task(project)
            still.clock.advance(1)

    async def turns(served: str, purchases: int = 50) -> str:
        found = await look(still, replace(ALL, served=served, purchases=purchases))
        return "".join("abc"[projects.index(task.project_id)] for task in found.queued)

    assert await turns("") == "abcabcabcabc"
    assert await turns(projects[0]) == "bcabcabcabca"
    assert await turns(projects[1], 2) == "cacaca"[:4], "two of each: the first may not be startable"
    assert await turns("", 0) == ""


async def test_whom_we_gave_up_on_is_asked_after_last(still: Rig) -> None:
    project = await still.project()
    given_up = await bound(still, project, 1, deadline_seconds=1)
    still.clock.advance(2)
    await still.see(given_up, Claim.RUNNING, job="1")
    assert (await still.now(given_up)).status is TaskStatus.EXPIRED
    still.clock.advance(4000)
    alive = await bound(still, project, 2)
    still.clock.advance(4000)
    assert [task.id for task in (await look(still)).bound] == [alive.id, given_up.id]
    assert [task.id for task in (await look(still, replace(ALL, tasks_asked_after=1))).bound] == [alive.id]


async def test_deadlines_of_what_cannot_be_worked_on_are_seen_behind_everything_else(still: Rig) -> None:
    project = await still.project()
    for number in range(3):
        await bound(still, project, number, deadline_seconds=86_400)
    still.clock.advance(1)
    late = await bound(still, project, 7, deadline_seconds=3600)
    await still.task(project, deadline_seconds=3600)
    still.clock.advance(3600)
    few = Limits(purchases=0, questions=0, tasks_asked_after=1)
    assert (await look(still, few)).overdue == []
    found = await look(still, replace(few, closed=(TaskStatus.PROCESSING,)))
    assert names(found.overdue) == {late.id}


async def test_a_probe_finds_somebody_to_ask_after_though_nobody_is_due(still: Rig) -> None:
    project = await still.project()
    assert (await look(still, replace(ALL, probe=True))).bound == []
    ended = await bound(still, project, 1)
    await still.see(ended, Claim.FAILED, job="1")
    assert names((await look(still, replace(ALL, probe=True))).bound) == {ended.id}
    alive = await bound(still, project, 2)
    assert names((await look(still, replace(ALL, probe=True))).bound) == {alive.id}, "rather one that is open"
    assert (await look(still)).bound == []


async def test_the_next_round_is_when_something_is_due_that_may_be_done_then(still: Rig) -> None:
    project, now = await still.project(), still.clock()
    await still.task(project)

    async def at(queued_not_before: int = 0, bells_not_before: int = 0) -> int | None:
        waits = {TaskStatus.QUEUED: queued_not_before}
        return await still.database.read(lambda tx: due.next_due(tx, "cloudsway", waits, bells_not_before))

    assert await at() == now
    assert await at(now + 5) == now + 5
    task = await still.task(project)
    submission = await still.bound(task, "7")
    await still.recorder.record(still.callback(submission, Claim.SUCCEEDED))
    assert await at(now + SECOND) == now, "a push rings"
    assert await at(now + SECOND, now + 9) == now + 9
    assert await still.database.read(lambda tx: due.next_due(tx, "ulazai", {}, 0)) is None
