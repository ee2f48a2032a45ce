"""A copy of the database that is brought back: in doubt before anything is bought, and whoever pushes leads to its task."""

from __future__ import annotations

import logging

import pytest

from service.core.ids import of_submission
from service.core.observation import Claim, Source
from service.pipeline.drill import drill
from service.sandbox.script import Step
from storage.records import LaneKind, TaskStatus
from tests.service.pipeline.rig import Rig


async def copied(rig: Rig) -> None:
    """What a backup leaves in the copy."""
    await rig.run("UPDATE installation SET copied_at = :at", at=rig.clock())
    rig.clock.advance(60)


async def brought_back(rig: Rig) -> int | None:
    return await drill(rig.database, rig.recorder, clock=rig.clock)


async def test_a_database_that_is_no_copy_is_left_alone(still: Rig) -> None:
    task = await still.task(await still.project())
    assert await brought_back(still) is None
    assert (await still.now(task)).status is TaskStatus.QUEUED


async def test_whatever_may_have_been_bought_since_is_in_doubt_and_the_rest_as_it_was(
    still: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    project = await still.project()
    queued, midway, lost, bound, gone = [await still.task(project) for _ in range(5)]
    await still.intend(midway)
    submission = await still.intend(lost)
    await still.see(lost, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
    await still.bound(bound)
    await still.see(gone, Claim.CANCEL, source=Source.OPERATOR)
    await copied(still)
    with caplog.at_level(logging.WARNING):
        assert await brought_back(still) == 3
    assert "3 tasks may have been bought since" in caplog.text
    for task in (queued, midway, lost):
        assert (await still.now(task)).status is TaskStatus.UNCONFIRMED
    assert (await still.now(bound)).status is TaskStatus.PROCESSING
    assert (await still.now(gone)).status is TaskStatus.CANCELED
    assert await brought_back(still) is None  # the mark is gone: once is enough


async def test_more_than_a_page_is_seen_to(still: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.pipeline.drill.BATCH", 2)
    project = await still.project()
    for _ in range(5):
        await still.task(project, deadline_seconds=600)
    await copied(still)
    assert await brought_back(still) == 5


async def test_positions_of_the_feed_that_were_given_away_are_not_given_away_anew(still: Rig) -> None:
    project = await still.project()
    task, other = [await still.task(project) for _ in range(2)]
    await still.see(task, Claim.CANCEL, source=Source.OPERATOR)
    await copied(still)
    await brought_back(still)
    await still.see(other, Claim.ABANDON, source=Source.OPERATOR)
    first, *later = [int(str(row[0])) for row in await still.rows("SELECT position FROM events ORDER BY position")]
    # `task.unconfirmed` of the drill itself may still follow the old ones: it is told before the mark goes.
    assert later[-1] > first + 1_000_000


async def test_a_push_for_a_submission_that_the_copy_does_not_know_leads_to_its_task(still: Rig) -> None:
    task = await still.task(await still.project())
    await copied(still)
    await brought_back(still)
    unknown = of_submission(task.id, 3)
    told = await still.recorder.record(still.callback(unknown, Claim.SUCCEEDED, provider_task_id="job-9"))
    assert told.task is not None and told.task.id == task.id
    assert await still.rows("SELECT id FROM callbacks") == []
    assert (LaneKind.ACCOUNT, "cloudsway") in still.batches[-1].arrivals  # it is looked for at once


async def test_a_push_under_another_providers_path_or_of_a_task_made_since_is_kept_apart(still: Rig) -> None:
    still.account("ulazai")
    task = await still.task(await still.project(), account="ulazai")
    for submission in (of_submission(task.id, 1), of_submission(still.mint("task"), 1)):
        assert (await still.recorder.record(still.callback(submission, Claim.SUCCEEDED))).task is None
    assert len(await still.rows("SELECT id FROM callbacks")) == 2


async def test_what_was_bought_since_is_found_and_not_bought_again(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: no-push]")
    await copied(rig)
    await rig.settle()  # the life that will not be remembered
    assert len(rig.world.jobs) == 1
    for table in ("submissions", "observations", "timeline WHERE version > 0", "events"):
        await rig.run(f"DELETE FROM {table}")  # noqa: S608
    await rig.run(
        "UPDATE tasks SET status = 'queued', provider_task_id = NULL, submissions = 0, submission_deadline_at = NULL, phase = NULL,"
        " provider_status = NULL, progress = NULL, outputs = '[]', charge = 'none', sequence = 0, version = 0, submitted_at = NULL,"
        " finished_at = NULL, final_at = NULL, cost_charged = NULL, due_at = :now",
        now=rig.clock(),
    )
    await rig.run("UPDATE lanes SET next_due_at = :now", now=rig.clock())
    assert await brought_back(rig) == 1
    await rig.stretch(600)
    assert (await rig.now(task)).provider_task_id in rig.world.jobs
    assert len(rig.world.jobs) == 1


async def test_what_was_not_bought_is_bought_after_it_was_looked_for(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: no-push]")
    await copied(rig)
    assert await brought_back(rig) == 1
    await rig.stretch(100)
    assert len(rig.world.jobs) == 0  # still looked for: a late request could be on its way
    rig.world.script.queries.append(Step(directive="status=503", times=1))
    await rig.stretch(900)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    assert len(rig.world.jobs) == 1
