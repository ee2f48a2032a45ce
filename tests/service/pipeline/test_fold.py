from __future__ import annotations

from dataclasses import replace

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Source
from service.pipeline.accounts import Callbacks
from service.pipeline.ledger import Callback
from storage.records import LaneKind, SubmissionStatus, TaskStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import VIDEO, bound_task, succeeded


async def test_late_evidence_settles_its_submission_though_the_task_is_elsewhere(still: Rig) -> None:
    task = await still.task(await still.project())
    submission = await still.intend(task)
    await still.see(
        task, Claim.AMBIGUOUS, submission=None, source=Source.SUBMIT
    )  # the process ended; another recovered
    await still.see(task, Claim.RUNNING, job="18", source=Source.LOOK_UP)
    await still.see(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT)
    [kept] = await still.submissions(task)
    assert (kept.status, kept.provider_task_id) == (SubmissionStatus.ACCEPTED, "18")
    assert (await still.now(task)).status is TaskStatus.PROCESSING


async def test_an_intent_for_a_task_that_is_being_bought_makes_no_second_submission(still: Rig) -> None:
    task = await still.task(await still.project())
    await still.intend(task)
    await still.intend(task)
    assert len(await still.submissions(task)) == 1


async def test_a_second_job_for_one_task_is_told_and_never_bound(still: Rig) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project, events="task.conflict")
    task = await still.task(project)
    submission = await still.bound(task, "18")
    for _ in range(3):
        told = await still.see(task, Claim.ACCEPTED, job="19", submission=submission, source=Source.SUBMIT)
        assert told.outcome is Outcome.CONFLICT
    assert (await still.now(task)).provider_task_id == "18"
    assert (await still.events(task)).count("task.conflict") == 1, "the same contradiction is told once"
    assert len(await still.deliveries(endpoint)) == 1


async def test_the_same_contradiction_twice_in_one_batch_is_told_once_and_splits_nothing(still: Rig) -> None:
    task, submission = await bound_task(still)
    before = len(still.batches)
    seen = still.seen(task, Claim.ACCEPTED, job="19", submission=submission, source=Source.SUBMIT)
    recorded = await still.recorder.record_all([seen, seen])
    assert [one.outcome for one in recorded] == [Outcome.CONFLICT] * 2
    assert len(still.batches) == before + 1
    assert (await still.events(task)).count("task.conflict") == 1


async def test_a_change_tells_the_accounts_lane_when_to_look(still: Rig) -> None:
    task, _ = await bound_task(still)
    now = await still.now(task)
    assert now.due_at is not None and now.due_at > still.clock() + 60 * SECOND
    assert still.batches[-1].arrivals[LaneKind.ACCOUNT, "cloudsway"] == now.due_at


async def test_a_query_answers_the_bells_that_rang_before_it_was_asked(still: Rig) -> None:
    task, submission = await bound_task(still)
    await still.recorder.record(still.callback(submission, Claim.RUNNING, body=b"1"))
    asked_at = still.clock()
    still.clock.advance(1)
    await still.recorder.record(still.callback(submission, Claim.SUCCEEDED, body=b"2"))
    answer = replace(still.seen(task, Claim.RUNNING, job=f"job-{task.id}"), at=asked_at)
    await still.recorder.record(answer)
    assert await still.bells() == 1, "the second push came after the question"
    await still.see(task, Claim.UNREACHABLE)
    assert await still.bells() == 1, "a question that was not answered answers nobody"
    await still.see(task, Claim.RUNNING, job=f"job-{task.id}")
    assert await still.bells() == 0


async def test_a_push_and_the_reply_it_overtook_end_in_one_binding(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task = await still.task(await still.project())
    submission = await still.intend(task)
    push: Callback = still.callback(
        submission, Claim.SUCCEEDED, provider_task_id="18", external_id=task.id, outputs=VIDEO
    )
    reply = still.seen(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT)
    await still.recorder.record_all([push, reply])
    assert await still.events(task) == ["task.submitted", "task.succeeded"]
    [kept] = await still.submissions(task)
    assert kept.status is SubmissionStatus.ACCEPTED


async def test_what_nobody_vouches_for_rings_where_that_is_worth_a_query_and_is_not_kept_elsewhere(still: Rig) -> None:
    task, _ = await bound_task(still)
    wish = replace(still.seen(task, Claim.WANTED, source=Source.READER), verified=False)
    for bells in (0, 1):
        before = await still.now(task)
        recorded = await still.recorder.record(wish)
        assert (await still.bells(), await still.now(task)) == (bells, before)
        assert recorded.outcome == ("scheduled" if bells else "ignored")
        await still.recorder.record(succeeded(still, task))


async def test_a_query_that_fails_answers_whoever_waits_for_a_task_that_has_ended(still: Rig) -> None:
    task, _ = await bound_task(still)
    await still.recorder.record(succeeded(still, task))
    await still.recorder.record(replace(still.seen(task, Claim.WANTED, source=Source.READER), verified=False))
    assert await still.bells() == 1
    await still.see(task, Claim.UNREACHABLE)
    assert await still.bells() == 0
