"""C10 and C12 to C16: whose job it is, what becomes of one that is not shown any more, and who may decide."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from service.core import fallback
from service.core.lifecycle import Outcome
from service.core.observation import Claim, Reading, Source
from service.net.client import FateUnknown
from service.pipeline.accounts import Callbacks
from service.sandbox.script import Step
from storage.records import Charge, FailureCode, LaneKind, SubmissionStatus, Task, TaskStatus
from tests.service.pipeline.conflicts.scene import (
    asked,
    before_the_reply_is_recorded,
    bought,
    conflicts,
    ended_once,
    hand_over,
    in_every_mode,
    kinds,
    owed,
    pushed,
)
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig, open_rig
from tests.service.pipeline.test_failover import candidate

CLOUDSWAY = (LaneKind.ACCOUNT, "cloudsway")


async def bought_twice(rig: Rig, mode: Callbacks) -> Task:
    """Two jobs at the provider under one id of ours, and the replies to both lost."""
    rig.world.knobs.unique_external_id = False
    task = await bought(rig, mode, "lost-reply, no-push")
    account = rig.accounts["cloudsway"]
    rig.clock.advance(1)
    with pytest.raises(FateUnknown):
        await rig.client.drive(
            account.provider.submit(account.account, await rig.now(task), None), account.channel, timeout_seconds=5
        )
    assert len(rig.jobs(task)) == 2
    return task


@in_every_mode
async def test_c10_of_two_jobs_the_older_is_ours_and_the_other_is_told_and_never_relayed(
    rig: Rig, mode: Callbacks
) -> None:
    task = await bought_twice(rig, mode)
    older, younger = sorted(rig.jobs(task), key=lambda job: job.accepted_at)
    await rig.stretch(60)
    assert (await rig.now(task)).provider_task_id == older.id
    assert set(await conflicts(rig, task)) == {"surplus"}
    rig.world.finish(younger.id)
    await pushed(rig, task, "succeeded", id=younger.id)  # as its provider would, at the URL of our submission
    await rig.stretch(10)
    now = await rig.now(task)
    assert (now.status, now.provider_task_id, now.outputs) == (TaskStatus.PROCESSING, older.id, ())
    rig.world.finish(older.id)
    await rig.stretch(300)
    ended = await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert older.id in ended.outputs[0].url
    assert (await rig.events(task)).count("task.conflict") == 1
    assert len(rig.received("task.conflict")) == 1
    assert not any(younger.id in str(orjson.loads(one.body)["data"]["outputs"]) for one in rig.received())


@in_every_mode
async def test_c10_a_late_reply_with_a_second_id_is_told_once_even_after_the_end(rig: Rig, mode: Callbacks) -> None:
    task = await bought(rig, mode)
    [made] = await rig.submissions(task)
    rig.world.finish(rig.job(task).id)
    await rig.stretch(120)
    ended = await ended_once(rig, task, TaskStatus.SUCCEEDED)
    for _ in range(3):
        told = await rig.see(task, Claim.ACCEPTED, job="911", submission=made.id, source=Source.SUBMIT)
        assert told.outcome is Outcome.CONFLICT
    now = await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert [one.provider_task_id for one in now.surplus] == ["911"], "it is named once, since it may be charged"
    assert replace(now, version=0, sequence=0, surplus=()) == replace(ended, version=0, sequence=0)
    assert (await rig.events(task)).count("task.conflict") == 1


@in_every_mode
async def test_c12_a_success_without_an_output_is_asked_ten_more_times_over_ten_minutes(
    rig: Rig, mode: Callbacks
) -> None:
    task = await bought(rig, mode, "no-push, no-output")
    rig.world.finish(rig.job(task).id)
    begun = rig.clock()
    await pushed(rig, task, "succeeded", outputs=[])
    await rig.settle()
    for number in range(20):  # a push that repeats itself shortens nothing
        await pushed(rig, task, "succeeded", outputs=[], message=str(number))
        await rig.stretch(25)
        assert (await rig.now(task)).status is TaskStatus.PROCESSING
    await rig.stretch(700)
    ended = await ended_once(rig, task, TaskStatus.FAILED)
    assert ended.finished_at is not None and ended.finished_at - begun >= 600 * SECOND
    assert len([query for query in rig.job(task).queries if query.at * SECOND <= ended.finished_at]) >= 10
    assert ended.failure is not None and ended.failure.code is FailureCode.NO_OUTPUT
    assert (ended.final, ended.charge is Charge.NONE) == (False, False)
    assert await rig.rows(
        "SELECT raw FROM observations WHERE source = 'callback'"
        " AND /*sqlite:*/ CAST(raw AS TEXT) /*postgres: convert_from(raw, 'UTF8') */ LIKE '%succeeded%'"
    )


@in_every_mode
async def test_c12_an_output_that_follows_its_word_is_the_end(rig: Rig, mode: Callbacks) -> None:
    task = await bought(rig, mode, "no-push, no-output")
    job = rig.job(task)
    rig.world.finish(job.id)
    await rig.stretch(300)
    assert "no_output" in await kinds(rig, task)
    job.directives = replace(job.directives, no_output=False)
    await rig.stretch(120)
    ended = await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert job.id in ended.outputs[0].url


@in_every_mode
async def test_c13_a_job_that_is_not_found_three_times_in_ten_minutes_expires_and_never_fails(
    rig: Rig, mode: Callbacks
) -> None:
    task = await bought(rig, mode)
    rig.world.script.queries.append(Step(directive="empty", times=1000))
    for number in range(5):  # ringing makes us ask more often, and no sooner believe it
        await pushed(rig, task, "failed", message=str(number), id=None)
        await rig.stretch(3)
    missed = [query.at * SECOND for query in asked(rig, "query")]
    assert len(missed) >= 3
    await rig.stretch((missed[0] + 599 * SECOND - rig.clock()) / SECOND)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    await rig.stretch(400)
    ended = await ended_once(rig, task, TaskStatus.EXPIRED)
    assert (ended.final, ended.charge) == (False, Charge.POSSIBLE)
    rig.world.script.queries.clear()
    rig.world.finish(rig.job(task).id)
    await rig.stretch(3700)
    late = await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert (late.final, late.late) == (True, True)


@in_every_mode
async def test_c13_ten_minutes_alone_are_not_three_answers(rig: Rig, mode: Callbacks) -> None:
    """Queries that fail in between say nothing of the job, however long they do."""
    task = await bought(rig, mode)
    for told in range(3):
        assert (await rig.now(task)).status is TaskStatus.PROCESSING
        rig.world.script.queries[:] = [Step(directive="empty", times=1), Step(directive="status=500", times=1000)]
        while rig.world.script.queries[0].times == 1:
            await rig.stretch(20)
        if told < 2:
            await rig.stretch(700)
    ended = await ended_once(rig, task, TaskStatus.EXPIRED)
    assert not ended.final


@in_every_mode
async def test_c13_one_answer_that_shows_the_job_begins_the_count_anew(rig: Rig, mode: Callbacks) -> None:
    task = await bought(rig, mode, deadline_seconds=86_400)
    rig.world.begin(rig.job(task).id)
    while rig.clock() - task.created_at < 1800 * SECOND:
        rig.world.script.queries.clear()
        rig.world.script.queries.append(Step(directive="empty", times=2))
        queries = len(asked(rig, "query"))
        while len(asked(rig, "query")) < queries + 3:
            await rig.stretch(20)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING


@in_every_mode
@pytest.mark.parametrize("late", [Claim.ACCEPTED, Claim.REFUSED, Claim.DEFERRED])
async def test_c14_a_fenced_off_workers_evidence_is_kept_and_its_decision_is_not(
    rig: Rig, mode: Callbacks, late: Claim
) -> None:
    """Its lane is another's by now, who found the purchase without an answer; only then does the answer arrive."""
    asking, go_on = asyncio.Event(), asyncio.Event()

    async def paused() -> Reading | None:
        asking.set()
        await go_on.wait()
        return None if late is Claim.ACCEPTED else Reading(claim=late, detail="no")

    rig.account(callbacks=mode)
    before_the_reply_is_recorded(rig, paused)
    project = await rig.project()
    await rig.endpoint(project, events="task.*")
    await rig.endpoint(project)
    task = await rig.task(project, prompt="A boat. [sandbox: no-push]")
    turning = asyncio.create_task(rig.settle())
    async with asyncio.timeout(60):
        await asking.wait()
    turning.cancel()
    fenced = rig.workers.pop(CLOUDSWAY)
    await hand_over(rig)
    successor = await open_rig(rig.path, rig.clock, rig.network, owner="successor")
    try:
        successor.account(callbacks=mode)
        await successor.settle()
        assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
        go_on.set()
        await fenced.stop()
        now = await rig.now(task)
        [made] = await rig.submissions(task)
        if late is Claim.ACCEPTED:
            assert (now.status, now.provider_task_id) == (TaskStatus.PROCESSING, rig.job(task).id)
            assert (made.status, made.provider_task_id) == (SubmissionStatus.ACCEPTED, rig.job(task).id)
        else:
            assert (now.status, now.charge) == (TaskStatus.UNCONFIRMED, Charge.POSSIBLE)
            assert made.status.value == late.value, "what it was told is kept"
        rig.world.finish(rig.job(task).id)
        await successor.stretch(300)
    finally:
        await successor.close()
    await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert len(asked(rig, "create")) == 1


@in_every_mode
async def test_c15_a_reply_that_names_another_tasks_job_binds_nothing_and_is_told(rig: Rig, mode: Callbacks) -> None:
    owner = await bought(rig, mode)
    job = rig.job(owner).id

    async def stolen() -> Reading:
        return Reading(claim=Claim.ACCEPTED, provider_task_id=job)

    before_the_reply_is_recorded(rig, stolen)
    task = await rig.task(owner.project_id, prompt="A tram. [sandbox: no-push]")
    await rig.settle()
    now = await rig.now(task)
    assert (now.status, now.provider_task_id, now.charge) == (TaskStatus.UNCONFIRMED, None, Charge.POSSIBLE)
    assert await conflicts(rig, task) == ["binding"]
    assert (await owed(rig, task))[0] == ["task.conflict", "task.unconfirmed"]
    await rig.stretch(60)
    mine = rig.job(await rig.now(task))
    assert (await rig.now(task)).provider_task_id == mine.id != job
    rig.world.finish(job)
    rig.world.finish(mine.id, failed=True)
    await rig.stretch(300)
    await ended_once(rig, owner, TaskStatus.SUCCEEDED)
    await ended_once(rig, task, TaskStatus.FAILED)


@in_every_mode
async def test_c15_a_push_that_names_another_tasks_job_binds_nothing(rig: Rig, mode: Callbacks) -> None:
    owner = await bought(rig, mode)

    async def stolen() -> Reading:
        await pushed(rig, task, "succeeded", id=rig.job(owner).id)  # with our own id: as far as a forger gets
        return Reading(claim=Claim.AMBIGUOUS, detail="the reply was lost")

    before_the_reply_is_recorded(rig, stolen)
    task = await rig.task(owner.project_id, prompt="A tram. [sandbox: no-push]")
    await rig.settle()
    assert (await rig.now(task)).provider_task_id != rig.job(owner).id
    assert await conflicts(rig, task) == (["binding"] if mode is Callbacks.TRUST else [])
    await rig.stretch(60)
    rig.world.finish(rig.job(task).id)
    await rig.stretch(300)
    await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert (await rig.now(owner)).status is TaskStatus.PROCESSING


FATES = [
    # what the first provider does, and whether the second may be asked
    ("refuse", True),
    ("status=400, code=1201", True),
    ("close", False),
    ("lost-reply", False),
    ("status=500", False),
    ("status=503", False),
    ("status-after=502", False),
    ("garbage", False),
]


@pytest.mark.parametrize(("fate", "goes_on"), FATES)
@in_every_mode
async def test_c16_only_a_purchase_that_was_never_made_goes_on_to_another_provider(
    rig: Rig, mode: Callbacks, fate: str, goes_on: bool
) -> None:
    rig.account(callbacks=mode)
    second = rig.account("ulazai")
    rig.world.script.creates.append(Step(directive=fate, contract="cloudsway"))
    task = await rig.task(await rig.project(), prompt="A paper boat.", fallbacks=fallback.dump([candidate(second)]))
    await rig.stretch(240)
    creates = [request.contract for request in asked(rig, "create")]
    assert ("ulazai" in creates) is goes_on
    assert creates.count("cloudsway") == 1 if goes_on else creates.count("cloudsway") <= 2
    assert sum(job.external_id == task.id or job.contract.name == "ulazai" for job in rig.world.jobs.values()) <= 1
    now = await rig.now(task)
    assert (now.account, now.submissions) == (("ulazai", 2) if goes_on else ("cloudsway", len(creates)))
