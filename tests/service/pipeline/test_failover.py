"""Fail-over through the whole flow: the sandbox refuses at the first account, and the task is made at the second."""

from __future__ import annotations

import orjson
import pytest

from service.core import fallback
from service.core.fallback import Candidate
from service.core.observation import Claim, Source
from service.core.request import TaskRequest
from service.pipeline.accounts import AccountDesk, Callbacks
from service.pipeline.submit import submit
from service.sandbox.script import Step
from storage.records import LaneKind, SubmissionStatus, Task, TaskStatus
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.test_submit import buying

PROMPT = "A paper boat."


def candidate(account: AccountDesk) -> Candidate:
    contract = account.provider
    model = next(iter(contract.models))
    ready = contract.prepare(TaskRequest(provider=contract.name, model=model, input={"prompt": PROMPT}))
    return Candidate(
        account=account.account.name,
        provider=contract.name,
        model=model,
        input=orjson.dumps(ready.input).decode(),
        cost_unit=ready.estimate.unit,
        cost_estimated=str(ready.estimate.amount),
    )


async def ordered(rig: Rig, *accounts: AccountDesk) -> Task:
    return await rig.task(
        await rig.project(), prompt=PROMPT, fallbacks=fallback.dump([candidate(one) for one in accounts])
    )


async def test_a_task_refused_at_one_provider_is_made_and_told_at_the_next(rig: Rig) -> None:
    task = await ordered(rig, rig.account("ulazai"))
    endpoint = await rig.endpoint(task.project_id, events="task.*")
    rig.world.script.creates.append(Step(directive="refuse"))
    await rig.settle()
    moved = await rig.now(task)
    assert (moved.status, moved.account, moved.provider, moved.model) == (
        TaskStatus.PROCESSING, "ulazai", "ulazai", "kling-3.0",
    )  # fmt: skip
    made = await rig.submissions(task)
    assert [(one.number, one.account, one.status) for one in made] == [
        (1, "cloudsway", SubmissionStatus.REFUSED),
        (2, "ulazai", SubmissionStatus.ACCEPTED),
    ]
    assert [asked.contract for asked in rig.world.requests if asked.kind == "create"] == ["cloudsway", "ulazai"]
    rig.world.finish(rig.job(moved).id)
    await rig.stretch(300)
    done = await rig.now(task)
    assert (done.status, done.cost_unit, done.fallbacks) == (TaskStatus.SUCCEEDED, "credit", "[]")
    told = [orjson.loads(one.body) for one in rig.received()]
    assert [one["type"] for one in told] == ["task.submitted", "task.succeeded"]
    assert {one["data"]["account"] for one in told} == {"ulazai"}
    assert [status for status, _ in await rig.deliveries(endpoint)] == ["delivered"] * 2
    assert "failed_over" in [entry.kind for entry in await rig.timeline(task)]


async def test_the_new_accounts_lane_is_rung_in_the_commit_that_moves_the_task(rig: Rig) -> None:
    task = await ordered(rig, rig.account("ulazai"))
    rig.world.script.creates.append(Step(directive="refuse"))
    await rig.settle()
    [batch] = [b for b in rig.batches for one in b.recorded if one.task and one.task.account == "ulazai"][:1]
    assert (LaneKind.ACCOUNT, "ulazai") in batch.arrivals
    assert (await rig.now(task)).status is TaskStatus.PROCESSING


async def test_when_everybody_refuses_the_task_fails_and_was_bought_nowhere(rig: Rig) -> None:
    task = await ordered(rig, rig.account("ulazai"), rig.account("second", provider="cloudsway"))
    rig.world.script.creates.append(Step(directive="refuse", times=3))
    await rig.settle()
    ended = await rig.now(task)
    assert (ended.status, ended.account, ended.submissions) == (TaskStatus.FAILED, "second", 3)
    assert await rig.events(task) == ["task.failed"]
    assert rig.world.jobs == {}


@pytest.mark.parametrize("fault", ["close", "lost-reply", "status-after=500", "garbage"])
async def test_c16_a_purchase_of_unknown_fate_stays_where_it_is(rig: Rig, fault: str) -> None:
    task = await ordered(rig, rig.account("ulazai"))
    rig.world.script.creates.append(Step(directive=fault))
    await rig.stretch(600)
    assert {one.account for one in await rig.submissions(task)} == {"cloudsway"}
    assert {asked.contract for asked in rig.world.requests} == {"cloudsway"}
    assert len(rig.world.jobs) == 1
    assert (await rig.now(task)).account == "cloudsway"


async def test_a_push_from_who_refused_is_asked_after_there_and_never_binds_the_task_elsewhere(rig: Rig) -> None:
    """The refusal was untrue: the job exists. It is told as one too many, and the task runs where it went."""
    task = await ordered(rig, rig.account("ulazai"))
    submission = await rig.intend(task)
    await rig.see(task, Claim.REFUSED, submission=submission, source=Source.SUBMIT)
    moved = await rig.now(task)
    assert (moved.account, moved.status) == ("ulazai", TaskStatus.QUEUED)
    await rig.recorder.record(rig.callback(submission, Claim.SUCCEEDED, provider_task_id="911", external_id=task.id))
    assert (await rig.now(task)).provider_task_id is None
    rows = await rig.rows("SELECT account FROM observations WHERE verified_at IS NULL")
    assert rows == [("cloudsway",)]
    await rig.settle()
    assert await rig.bells() == 0  # cloudsway was asked by our id, and knows of none
    assert "query" in [asked.kind for asked in rig.world.requests if asked.contract == "cloudsway"]
    assert (await rig.now(task)).account == "ulazai"


async def test_a_trusted_push_from_who_refused_only_rings(rig: Rig) -> None:
    rig.account("cloudsway", callbacks=Callbacks.TRUST)
    task = await ordered(rig, rig.account("second", provider="cloudsway", callbacks=Callbacks.TRUST))
    submission = await rig.intend(task)
    await rig.see(task, Claim.REFUSED, submission=submission, source=Source.SUBMIT)
    await rig.recorder.record(rig.callback(submission, Claim.SUCCEEDED, provider_task_id="911", external_id=task.id))
    now = await rig.now(task)
    assert (now.status, now.provider_task_id) == (TaskStatus.QUEUED, None)
    assert await rig.bells() == 1


async def test_a_worker_that_lost_its_lane_cannot_buy_what_has_gone_on(rig: Rig) -> None:
    task = await ordered(rig, rig.account("ulazai"))
    submission = await rig.intend(task)
    await rig.see(task, Claim.REFUSED, submission=submission, source=Source.SUBMIT)
    assert await submit(task, rig.accounts["cloudsway"], buying(rig)) is None
    assert not rig.world.requests
    assert (await rig.now(task)).status is TaskStatus.QUEUED
