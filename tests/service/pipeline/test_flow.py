"""The way of a task through the whole house."""

from __future__ import annotations

import orjson

from service.core.events import EventType
from service.pipeline.accounts import Callbacks
from storage.records import Charge, SubmissionStatus, TaskStatus
from tests.service.pipeline.rig import Rig

EVERYTHING = "task.*"


async def test_a_task_is_bought_pushed_queried_and_told(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, events=EVERYTHING)
    task = await rig.task(project)
    await rig.settle()
    job = rig.job(task)
    assert job.external_id == task.id
    assert (await rig.now(task)).status is TaskStatus.PROCESSING

    rig.world.begin(job.id)
    assert await rig.pushes() == 2
    rig.clock.advance(2)
    await rig.settle()
    rig.world.finish(job.id)
    await rig.pushes()
    rig.clock.advance(2)
    await rig.settle()

    done = await rig.now(task)
    assert (done.status, done.final, done.provider_task_id) == (TaskStatus.SUCCEEDED, True, job.id)
    assert done.outputs[0].url.startswith(f"https://video.sandbox.example/{job.id}.mp4")
    assert done.charge is Charge.CONFIRMED
    assert [one.headers["taskrelay-event"] for one in rig.received()] == [
        "task.submitted",
        "task.processing",
        "task.succeeded",
    ]
    assert all(one.valid for one in rig.received()), [one.reason for one in rig.received()]
    assert await rig.deliveries(endpoint) == [("delivered", 1)] * 3
    assert await rig.bells() == 0
    assert [made.status for made in await rig.submissions(task)] == [SubmissionStatus.ACCEPTED]
    assert sum(rig.world.accepted["cloudsway"].values()) == 1


async def test_a_lost_push_costs_seconds_and_not_the_result(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project)
    task = await rig.task(project, prompt="A boat. [sandbox: no-push]")
    await rig.settle()
    rig.world.finish(rig.job(task).id)

    await rig.stretch(94)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING  # a push is overdue after 1.5 x 60 s + 5 s
    await rig.stretch(2)

    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED
    assert len(rig.received("task.succeeded")) == 1


async def test_a_provider_that_never_pushes_is_polled(rig: Rig) -> None:
    rig.account("ulazai")
    project = await rig.project()
    await rig.endpoint(project)
    task = await rig.task(project, account="ulazai")
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    await rig.stretch(60)
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED
    assert len(rig.received("task.succeeded")) == 1


async def test_in_trust_mode_a_push_decides_without_a_question(rig: Rig) -> None:
    rig.account(callbacks=Callbacks.TRUST)
    project = await rig.project()
    await rig.endpoint(project)
    task = await rig.task(project)
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    await rig.pushes()
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED
    assert rig.requests("query") == 0
    assert len(rig.received("task.succeeded")) == 1


async def test_with_callbacks_off_no_url_is_given_away(rig: Rig) -> None:
    rig.account(callbacks=Callbacks.OFF)
    task = await rig.task(await rig.project())
    await rig.settle()
    assert rig.job(task).callback_url is None


async def test_the_failure_of_a_job_is_told_with_the_providers_reason(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project)
    task = await rig.task(project)
    await rig.settle()
    rig.world.finish(rig.job(task).id, failed=True)
    await rig.pushes()
    rig.clock.advance(2)
    await rig.settle()
    [told] = rig.received(EventType.TASK_FAILED)
    body = orjson.loads(told.body)
    assert body["data"]["error"]["provider_message"] == "The generation failed"
    assert body["data"]["final"] is True
