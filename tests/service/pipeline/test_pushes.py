from __future__ import annotations

import pytest

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Source
from service.pipeline import pushes as keeping
from service.pipeline.accounts import Callbacks
from storage.records import LaneKind, TaskStatus
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import VIDEO, bound_task, succeeded


async def test_the_same_push_twice_is_one_observation_and_one_event(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task, submission = await bound_task(still)
    push = still.callback(
        submission, Claim.SUCCEEDED, provider_task_id=f"job-{task.id}", outputs=VIDEO, body=b'{"status":"succeeded"}'
    )
    first, second = await still.recorder.record_all([push, push])
    third = await still.recorder.record(push)
    assert [one.outcome for one in (first, second, third)] == [Outcome.CHANGED, Outcome.IGNORED, Outcome.IGNORED]
    [(count,)] = await still.rows("SELECT count(*) FROM observations WHERE source = 'callback'")
    assert count == 1
    assert (await still.events(task)).count("task.succeeded") == 1


async def test_in_verify_mode_a_push_is_kept_and_only_rings(still: Rig) -> None:
    task, submission = await bound_task(still)
    still.clock.advance(1)
    body = b'{"status": "succeeded", "id": "x"}'
    told = await still.recorder.record(
        still.callback(submission, Claim.SUCCEEDED, provider_task_id=f"job-{task.id}", outputs=VIDEO, body=body)
    )
    assert told.outcome is Outcome.SCHEDULED
    assert (await still.now(task)).status is TaskStatus.PROCESSING
    assert await still.rows("SELECT raw, verified_at FROM observations WHERE source = 'callback'") == [(body, None)]
    assert still.batches[-1].arrivals == {(LaneKind.ACCOUNT, "cloudsway"): still.clock()}
    lane = await still.lane(LaneKind.ACCOUNT, "cloudsway")
    assert lane.next_due_at is not None and lane.next_due_at <= still.clock()


async def test_a_trusted_push_of_an_unknown_job_must_name_our_own_id(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task = await still.task(await still.project())
    submission = await still.intend(task)
    for external_id in (None, "task_of_somebody_else"):
        told = await still.recorder.record(
            still.callback(
                submission,
                Claim.SUCCEEDED,
                provider_task_id="18",
                external_id=external_id,
                outputs=VIDEO,
                body=repr(external_id).encode(),
            )
        )
        assert told.outcome is Outcome.SCHEDULED
    assert (await still.now(task)).status is TaskStatus.SUBMITTING
    told = await still.recorder.record(
        still.callback(submission, Claim.SUCCEEDED, provider_task_id="18", external_id=task.id, outputs=VIDEO)
    )
    assert told.outcome is Outcome.CHANGED
    done = await still.now(task)
    assert (done.status, done.provider_task_id) == (TaskStatus.SUCCEEDED, "18")


async def test_a_trusted_push_about_another_job_than_ours_only_rings(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task, submission = await bound_task(still)
    told = await still.recorder.record(
        still.callback(submission, Claim.SUCCEEDED, provider_task_id="stranger", outputs=VIDEO)
    )
    assert told.outcome is Outcome.SCHEDULED
    assert await still.bells() == 1
    assert (await still.now(task)).status is TaskStatus.PROCESSING


@pytest.mark.parametrize(("signed", "outcome"), [(False, Outcome.SCHEDULED), (True, Outcome.CHANGED)])
async def test_where_the_provider_signs_an_unsigned_push_only_rings(still: Rig, signed: bool, outcome: Outcome) -> None:
    still.account(callbacks=Callbacks.TRUST, webhook_secret="whsec_c2VjcmV0c2VjcmV0c2VjcmV0")
    task, submission = await bound_task(still)
    push = still.callback(submission, Claim.SUCCEEDED, provider_task_id=f"job-{task.id}", outputs=VIDEO, signed=signed)
    assert (await still.recorder.record(push)).outcome is outcome


@pytest.mark.parametrize("mode", list(Callbacks))
async def test_a_push_that_cannot_be_read_rings_whatever_the_mode(still: Rig, mode: Callbacks) -> None:
    still.account(callbacks=mode)
    _, submission = await bound_task(still)
    told = await still.recorder.record(still.callback(submission, Claim.UNKNOWN, body=b"\xff\x00<html>"))
    assert told.outcome is Outcome.SCHEDULED
    assert await still.bells() == 1


async def test_a_push_about_an_ended_task_rings_nobody(still: Rig) -> None:
    task, submission = await bound_task(still)
    await still.recorder.record(succeeded(still, task))
    told = await still.recorder.record(still.callback(submission, Claim.FAILED, provider_task_id=f"job-{task.id}"))
    assert told.outcome is Outcome.IGNORED
    assert await still.bells() == 0
    assert still.batches[-1].arrivals == {}
    [(kept,)] = await still.rows("SELECT count(*) FROM observations WHERE source = 'callback'")
    assert kept == 1


async def test_a_push_nobody_knows_is_kept_once_and_not_without_end(
    still: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "ORPHANS_KEPT", 3)
    for number in (0, 0, 1, 2, 3, 4):
        told = await still.recorder.record(still.callback("sub_restored", Claim.SUCCEEDED, body=str(number).encode()))
        assert (told.outcome, told.task) == (Outcome.IGNORED, None)
    assert await still.rows("SELECT raw FROM callbacks ORDER BY received_at, raw") == [(b"0",), (b"1",), (b"2",)]


async def test_what_is_kept_of_a_push_is_bounded(still: Rig) -> None:
    _, submission = await bound_task(still)
    await still.recorder.record(still.callback(submission, Claim.UNKNOWN, body=b"x" * 200_000))
    await still.recorder.record(still.callback("sub_gone", Claim.UNKNOWN, body=b"x" * 200_000))
    assert await still.rows("SELECT length(raw) FROM observations WHERE source = 'callback'") == [(16_384,)]
    assert await still.rows("SELECT length(raw) FROM callbacks") == [(16_384,)]


async def test_a_repeated_push_in_its_batch_costs_an_orphan_neither_its_place_nor_its_alarm(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task, submission = await bound_task(still)
    push = still.callback(submission, Claim.RUNNING, provider_task_id=f"job-{task.id}", body=b"1")
    stranger = still.callback("sub_restored", Claim.RUNNING, body=b"1")
    await still.recorder.record(still.callback(submission, Claim.UNKNOWN, body=b"1"))
    await still.recorder.record_all([push, stranger])
    assert still.recorder.orphans == {"cloudsway": 1}
    assert await still.rows("SELECT count(*) FROM callbacks") == [(1,)]


async def test_a_push_that_another_message_of_its_batch_makes_untrue_rings_as_it_would_alone(still: Rig) -> None:
    """It names the job first, by our id; in the same batch the reply names another, and stands before it."""
    still.account(callbacks=Callbacks.TRUST)
    task = await still.task(await still.project())
    submission = await still.intend(task)
    reply = still.seen(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT)
    push = still.callback(submission, Claim.SUCCEEDED, provider_task_id="19", external_id=task.id, outputs=VIDEO)
    _, told = await still.recorder.record_all([reply, push])
    assert told.outcome is Outcome.SCHEDULED
    assert await still.bells() == 1
