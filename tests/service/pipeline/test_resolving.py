"""A purchase in doubt, settled by a person or a policy, through the whole flow: never bought once more than was allowed."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from service.core.observation import Actor, Claim, Observation, Reading, Source
from service.core.resolving import why_not
from service.pipeline.ledger import Recorded
from service.sandbox.script import Step
from storage import audit
from storage.records import AuditEntry, LaneKind, OnAmbiguous, SubmissionStatus, Task, TaskStatus
from tests.service.core.builders import rules
from tests.service.pipeline.rig import Rig

ANNA = Actor(key_id="key_1", name="anna")


async def in_doubt(rig: Rig, account: str = "ulazai", fault: str = "lost-reply", **more: object) -> Task:
    """A task whose purchase was made, its reply lost; 30 s later nothing of it can still leave."""
    rig.account(account)
    rig.world.script.creates.append(Step(directive=fault))
    task = await rig.task(await rig.project(), account=account, **more)  # type: ignore[arg-type]
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    rig.clock.advance(31)
    return task


async def say(rig: Rig, task: Task, claim: Claim, job: str | None = None) -> Recorded:
    reading = Reading(claim=claim, provider_task_id=job)
    return await rig.recorder.record(
        Observation(task_id=task.id, source=Source.OPERATOR, reading=reading, at=rig.clock(), by=ANNA)
    )


async def kinds(rig: Rig, task: Task) -> list[str]:
    return [entry.kind for entry in await rig.timeline(task)]


async def audited(rig: Rig, task: Task) -> list[AuditEntry]:
    return await rig.database.read(lambda tx: audit.of_task(tx, task.id))


async def new_owner(rig: Rig, account: str = "ulazai") -> None:
    """The lane's owner dies and another takes over: nothing is left but the rows."""
    worker = rig.workers.pop((LaneKind.ACCOUNT, account))
    await worker.stop()
    await rig.run(
        "UPDATE lanes SET owner = NULL, until = 0, next_due_at = :now WHERE key = :key", now=rig.clock(), key=account
    )


async def test_a_permission_is_sent_at_once_and_once_only(rig: Rig) -> None:
    task = await in_doubt(rig)
    await say(rig, task, Claim.RESUBMIT)
    await rig.settle()
    now = await rig.now(task)
    assert (now.status, now.resends, now.permitted_at) == (TaskStatus.PROCESSING, 1, None)
    await rig.stretch(3600)
    assert rig.requests("create") == 2
    assert [one.status for one in await rig.submissions(task)] == [
        SubmissionStatus.AMBIGUOUS,
        SubmissionStatus.ACCEPTED,
    ]


async def test_a_permission_outlives_whoever_was_to_use_it_and_still_buys_once(rig: Rig) -> None:
    """kill -9 between the permission and the intent: another owner of the lane finds it with the task."""
    task = await in_doubt(rig)
    worker = rig.workers.pop((LaneKind.ACCOUNT, "ulazai"))
    await worker.stop()
    await say(rig, task, Claim.RESUBMIT)
    assert rig.requests("create") == 1
    rig.workers[LaneKind.ACCOUNT, "ulazai"] = worker
    await new_owner(rig)
    await rig.settle()
    await new_owner(rig)
    await rig.settle()
    assert rig.requests("create") == 2
    assert (await rig.now(task)).status is TaskStatus.PROCESSING


async def test_a_permission_whose_intent_is_on_disk_is_used_up_whatever_became_of_the_request(rig: Rig) -> None:
    """kill -9 between the intent and the first byte: nobody knows whether it left, so it is not sent again."""
    task = await in_doubt(rig)
    await say(rig, task, Claim.RESUBMIT)
    await rig.intend(task)
    await new_owner(rig)
    await rig.settle()
    assert rig.requests("create") == 1
    now = await rig.now(task)
    assert (now.status, now.submissions, now.permitted_at) == (TaskStatus.UNCONFIRMED, 2, None)


async def test_two_workers_use_one_permission_once(rig: Rig) -> None:
    task = await in_doubt(rig)
    await say(rig, task, Claim.RESUBMIT)
    first = rig.workers[LaneKind.ACCOUNT, "ulazai"]
    second = rig.make(first.lane)
    await asyncio.gather(first.run_once(), second.run_once())
    await asyncio.gather(first.stop(), second.stop())
    assert rig.requests("create") == 2
    assert (await rig.now(task)).submissions == 2


async def test_a_resend_whose_reply_is_lost_too_is_held_until_the_next_word(rig: Rig) -> None:
    task = await in_doubt(rig)
    rig.world.script.creates.append(Step(directive="lost-reply"))
    await say(rig, task, Claim.RESUBMIT)
    await rig.stretch(600)
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    assert rig.requests("create") == 2
    await say(rig, task, Claim.RESUBMIT)
    await rig.settle()
    assert rig.requests("create") == 3
    assert await rig.events(task) == ["task.unconfirmed", "task.submitted"]


async def test_a_permission_given_while_the_first_request_may_still_leave_waits_for_its_deadline(rig: Rig) -> None:
    task = await in_doubt(rig)
    rig.clock.advance(-25)
    await say(rig, task, Claim.RESUBMIT)
    await rig.settle()
    assert rig.requests("create") == 1
    await rig.stretch(30)
    assert rig.requests("create") == 2


async def test_an_adopted_job_is_asked_after_at_once_and_followed_to_its_end(rig: Rig) -> None:
    task = await in_doubt(rig)
    job = rig.job(task)
    endpoint = await rig.endpoint(task.project_id, events="task.*")
    await say(rig, task, Claim.ADOPT, job.id)
    rig.world.finish(job.id)
    await rig.settle()
    now = await rig.now(task)
    assert (now.status, now.provider_task_id, rig.requests("create")) == (TaskStatus.SUCCEEDED, job.id, 1)
    assert [orjson.loads(one.body)["type"] for one in rig.received()] == ["task.submitted", "task.succeeded"]
    assert [status for status, _ in await rig.deliveries(endpoint)] == ["delivered"] * 2


async def test_an_adopted_job_that_the_provider_does_not_know_is_taken_off_within_one_query(rig: Rig) -> None:
    task = await in_doubt(rig)
    await say(rig, task, Claim.ADOPT, "123456")
    await rig.settle()
    now = await rig.now(task)
    assert (now.status, now.provider_task_id, now.due_at) == (TaskStatus.UNCONFIRMED, None, now.deadline_at)
    assert (await kinds(rig, task))[-2:] == ["adopted", "released"]
    assert await rig.events(task) == ["task.unconfirmed", "task.conflict"]
    await say(rig, task, Claim.ADOPT, rig.job(task).id)
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.PROCESSING


async def test_an_adopted_job_is_verified_after_a_restart_too(rig: Rig) -> None:
    task = await in_doubt(rig)
    await say(rig, task, Claim.ADOPT, "123456")
    await new_owner(rig)
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED


async def test_after_its_end_an_abandoned_task_may_still_get_its_job(rig: Rig) -> None:
    task = await in_doubt(rig)
    job = rig.job(task)
    await say(rig, task, Claim.ABANDON)
    rig.world.finish(job.id)
    await say(rig, task, Claim.ADOPT, job.id)
    await rig.settle()
    now = await rig.now(task)
    assert (now.status, now.late, now.final) == (TaskStatus.SUCCEEDED, True, True)
    assert await rig.events(task) == ["task.unconfirmed", "task.failed", "task.succeeded"]


async def test_c15_one_job_is_one_tasks_even_when_two_are_told_so_in_one_batch(rig: Rig) -> None:
    first, second = await in_doubt(rig), await in_doubt(rig)
    job = rig.jobs(first)[0].id
    told = await asyncio.gather(say(rig, first, Claim.ADOPT, job), say(rig, second, Claim.ADOPT, job))
    assert sorted(one.outcome.value for one in told) == ["changed", "ignored"]
    assert [len(await audited(rig, task)) for task in (first, second)] in ([1, 0], [0, 1])
    await rig.settle()
    assert {(await rig.now(task)).provider_task_id for task in (first, second)} == {job, None}


@pytest.mark.parametrize("account", ["ulazai", "apiinone"])
async def test_a_policy_sends_once_more_after_the_settle_window_and_is_audited(rig: Rig, account: str) -> None:
    task = await in_doubt(rig, account, "close", on_ambiguous=OnAmbiguous.RESUBMIT)
    await rig.stretch(118)
    assert rig.requests("create") == 1
    await rig.stretch(5)
    assert rig.requests("create") == 2
    now = await rig.now(task)
    assert (now.status, now.resends) == (TaskStatus.PROCESSING, 1)
    [entry] = await audited(rig, task)
    assert (entry.key_id, entry.action) == (None, "resubmit")
    assert orjson.loads(entry.detail) == {"by": "policy", "submission": 2}


async def test_a_policy_is_good_for_one_more_submission_and_then_holds(rig: Rig) -> None:
    rig.account("ulazai")
    task = await in_doubt(rig, on_ambiguous=OnAmbiguous.RESUBMIT)
    rig.world.script.creates.append(Step(directive="close"))
    await rig.stretch(3600)
    assert rig.requests("create") == 2
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED


async def test_held_is_held(rig: Rig) -> None:
    task = await in_doubt(rig)
    await rig.stretch(3600)
    assert rig.requests("create") == 1
    assert await audited(rig, task) == []
    assert why_not(await rig.now(task), Claim.RESUBMIT, rules(rig.clock())) is None


async def test_a_permission_that_a_found_job_overtook_buys_nothing(rig: Rig) -> None:
    """A push rings before the submission's deadline, the look-up finds the first purchase: the second is not made."""
    task = await in_doubt(rig, "cloudsway", "lost-reply")
    rig.clock.advance(-25)
    assert (await say(rig, task, Claim.RESUBMIT)).outcome != "ignored"
    assert await rig.pushes()
    await rig.stretch(600)
    now = await rig.now(task)
    assert (now.status, now.permitted_at) == (TaskStatus.PROCESSING, None)
    assert rig.requests("create") == 1


async def test_two_jobs_under_our_id_are_one_task_and_one_more_on_its_bill(rig: Rig) -> None:
    task = await in_doubt(rig, "cloudsway", "lost-reply", cost_unit="unit", cost_estimated="4")
    [first] = rig.jobs(task)
    submission = await _resubmit_beside(rig, task)
    job = Reading(claim=Claim.RUNNING, provider_task_id=first.id, external_id=task.id, also=("surplus-1",))
    seen = Observation(task_id=task.id, source=Source.LOOK_UP, reading=job, at=rig.clock())
    await rig.recorder.record(seen)
    now = await rig.now(task)
    assert now.provider_task_id == first.id
    assert [(one.provider_task_id, one.estimated) for one in now.surplus] == [("surplus-1", "4")]
    assert "task.conflict" in await rig.events(task)
    [(body,)] = await rig.rows("SELECT body FROM events WHERE task_id = :id AND type = 'task.conflict'", id=task.id)
    assert isinstance(body, bytes)
    shown = orjson.loads(body)["data"]
    assert [one["provider_task_id"] for one in shown["cost"]["surplus"]] == ["surplus-1"]
    assert submission


async def test_the_push_of_a_job_too_many_makes_us_look_it_up_and_its_result_is_not_relayed(rig: Rig) -> None:
    """Both submissions were made. The first one's push names a job that is not the task's: only a look-up can tell whose."""
    rig.world.knobs.unique_external_id = False
    task = await in_doubt(rig, "cloudsway", "lost-reply", cost_unit="unit", cost_estimated="4")
    [first] = rig.jobs(task)
    await say(rig, task, Claim.RESUBMIT)
    await rig.settle()
    [second] = [job for job in rig.jobs(task) if job is not first]
    assert (await rig.now(task)).provider_task_id == second.id
    rig.world.finish(first.id)
    await rig.pushes()
    await rig.settle()
    now = await rig.now(task)
    assert (now.status, [one.provider_task_id for one in now.surplus]) == (TaskStatus.PROCESSING, [first.id])
    assert await rig.bells() == 0
    rig.world.finish(second.id)
    await rig.pushes()
    await rig.stretch(10)
    now = await rig.now(task)
    assert (now.status, now.provider_task_id, now.outputs[0].url.count(second.id) > 0) == (
        TaskStatus.SUCCEEDED, second.id, True,
    )  # fmt: skip
    assert (await rig.events(task)).count("task.conflict") == 1


async def test_a_push_that_names_a_job_of_nobody_costs_one_look_up_and_one_query(rig: Rig) -> None:
    rig.account("cloudsway")
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: no-push]")
    await rig.settle()
    [made] = await rig.submissions(task)
    before = rig.requests("query")
    await rig.recorder.record(rig.callback(made.id, Claim.SUCCEEDED, provider_task_id="911"))
    rig.clock.advance(3)
    await rig.stretch(3)
    now = await rig.now(task)
    assert (now.status, now.surplus, await rig.bells()) == (TaskStatus.PROCESSING, (), 0)
    assert rig.requests("query") - before <= 2


async def _resubmit_beside(rig: Rig, task: Task) -> str:
    """A second submission by permission, whose fate is unknown as well."""
    await say(rig, task, Claim.RESUBMIT)
    submission = await rig.intend(task)
    await rig.see(task, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
    return submission


async def test_every_word_stands_in_the_timeline_in_the_commit_in_which_it_counts(rig: Rig) -> None:
    task = await in_doubt(rig)
    await say(rig, task, Claim.RESUBMIT)
    rig.clock.advance(1)
    await say(rig, task, Claim.ABANDON)
    assert (await kinds(rig, task))[-2:] == ["resubmit_allowed", "abandoned"]
    entries = await audited(rig, task)
    assert [(entry.action, entry.key_id, entry.project_id) for entry in entries] == [
        ("resubmit", "key_1", task.project_id),
        ("abandon", "key_1", task.project_id),
    ]
    await rig.stretch(600)
    assert rig.requests("create") == 1
