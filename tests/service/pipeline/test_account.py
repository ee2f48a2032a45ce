from __future__ import annotations

import asyncio
from collections import Counter

import orjson
import pytest

from service.core.holding import Holds
from service.core.observation import Claim, Source
from service.pipeline.account import AccountLane
from service.sandbox.jobs import Asked
from service.sandbox.script import Step
from storage.records import Charge, FailureCode, LaneKind, Streak, SubmissionStatus, TaskStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig, open_rig

CLOUDSWAY = (LaneKind.ACCOUNT, "cloudsway")


def creates(rig: Rig) -> list[Asked]:
    return [asked for asked in rig.world.requests if asked.kind == "create"]


def queries(rig: Rig) -> list[Asked]:
    return [asked for asked in rig.world.requests if asked.kind == "query"]


# Purchases of unknown fate


async def test_a_purchase_whose_reply_was_lost_is_found_again_and_not_bought_twice(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project, events="task.*")
    task = await rig.task(project, prompt="A boat. [sandbox: lost-reply, no-push]")
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    assert (await rig.now(task)).charge is Charge.POSSIBLE
    assert queries(rig) == [], "the first look-up comes after the deadline at the socket"
    await rig.stretch(40)
    found = await rig.now(task)
    assert (found.status, found.provider_task_id) == (TaskStatus.PROCESSING, rig.job(task).id)
    rig.world.finish(rig.job(task).id)
    await rig.stretch(200)
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED
    assert await rig.events(task) == ["task.unconfirmed", "task.submitted", "task.succeeded"]
    assert len(creates(rig)) == 1


async def test_a_push_that_overtakes_the_lost_reply_finds_the_purchase_at_once(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: lost-reply]")
    await rig.settle()
    rig.world.begin(rig.job(task).id)
    assert await rig.pushes() == 2
    await rig.settle()
    assert (await rig.now(task)).provider_task_id == rig.job(task).id
    assert [query.by for query in rig.job(task).queries] == ["external_id"]
    assert await rig.bells() == 0


async def test_a_push_before_the_reply_of_its_own_purchase_is_no_second_truth(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project, events="task.*")
    task = await rig.task(project, prompt="A boat. [sandbox: push-before-reply]")
    await rig.settle()
    await rig.pushes()
    await rig.settle()
    assert await rig.events(task) == ["task.submitted"]
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    assert await rig.bells() == 0


async def test_what_a_dead_process_left_submitting_is_looked_for(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: no-push]")
    await rig.settle()
    # As if the process had died before the reply was stored: what its successor sees is the intent alone.
    rig.touched = True
    await rig.run(
        "UPDATE tasks SET status = 'submitting', provider_task_id = NULL, due_at = NULL, phase = NULL, submitted_at = NULL"
    )
    await rig.run("UPDATE submissions SET status = 'intended', provider_task_id = NULL")
    await rig.run("DELETE FROM events")
    await rig.run("UPDATE lanes SET owner = NULL, until = 0, next_due_at = 0")
    rig.workers.clear()
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    assert [made.status for made in await rig.submissions(task)] == [SubmissionStatus.AMBIGUOUS]
    await rig.stretch(40)
    assert (await rig.now(task)).provider_task_id == rig.job(task).id
    assert len(creates(rig)) == 1


async def test_a_purchase_that_is_let_go_when_we_stop_is_looked_for_by_the_next_owner(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: no-push, hang-after]")
    worker = await rig.worker(*CLOUDSWAY)
    rig.clock.advance(0.01)  # an owner starts with an empty bucket
    await rig.turn(worker)
    async with asyncio.timeout(60):
        while not creates(rig):  # noqa: ASYNC110 (the sandbox rings nobody)
            await asyncio.sleep(0.005)
        worker.let_go()
        await worker.stop()
    assert worker.idle and (await rig.now(task)).status is TaskStatus.SUBMITTING
    due = await rig.database.read(worker.next_due)
    assert due == rig.clock(), "else nobody would ever claim the lane for it"
    await rig.run("UPDATE lanes SET owner = NULL, until = 0, next_due_at = :due", due=due)
    rig.workers.clear()
    await rig.stretch(40)
    assert (await rig.now(task)).provider_task_id == rig.job(task).id
    assert len(creates(rig)) == 1


async def test_a_submission_that_died_of_a_bug_of_ours_does_not_hang_for_ever(rig: Rig) -> None:
    """Between its intent and its reply something of ours failed: nobody waits for the reply any more."""
    task = await rig.task(await rig.project())
    worker = await rig.worker(*CLOUDSWAY)
    assert isinstance(worker, AccountLane)

    def broken(provider: str, submission: str) -> str:
        raise ValueError("no token")

    object.__setattr__(worker._submitting, "callback_token", broken)
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    assert creates(rig) == []


async def test_a_purchase_that_never_arrived_is_sent_once_more_after_the_settle_window_and_never_again(
    rig: Rig,
) -> None:
    rig.world.script.creates.append(Step(directive="close", times=2))
    task = await rig.task(await rig.project(), deadline_seconds=7200)
    await rig.settle()
    begun = rig.clock()
    while len(creates(rig)) < 2:
        assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
        await rig.stretch(5)
        assert rig.clock() < begun + 300 * SECOND
    assert rig.clock() - begun >= 150 * SECOND, "the deadline of 30 s and the settle window of 120 s"
    assert len(queries(rig)) >= 3
    await rig.stretch(6900)
    assert len(creates(rig)) == 2
    assert {orjson.loads(asked.body)["options"]["external_task_id"] for asked in creates(rig)} == {task.id}
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    await rig.stretch(400)
    ended = await rig.now(task)
    assert (ended.status, ended.final, ended.charge) == (TaskStatus.EXPIRED, False, Charge.POSSIBLE)
    assert len(creates(rig)) == 2


async def test_a_resent_purchase_that_is_taken_goes_on_as_any_other(rig: Rig) -> None:
    rig.world.script.creates.append(Step(directive="close"))
    task = await rig.task(await rig.project())
    await rig.stretch(400)
    assert len(creates(rig)) == 2
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    assert [made.status for made in await rig.submissions(task)] == [
        SubmissionStatus.AMBIGUOUS,
        SubmissionStatus.ACCEPTED,
    ]


async def test_where_nobody_can_be_asked_an_unknown_purchase_is_held_until_its_deadline(rig: Rig) -> None:
    rig.account("ulazai")
    project = await rig.project()
    await rig.endpoint(project)
    task = await rig.task(project, account="ulazai", prompt="A boat. [sandbox: lost-reply]", deadline_seconds=3600)
    await rig.stretch(3590)
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED
    await rig.stretch(20)
    ended = await rig.now(task)
    assert (ended.status, ended.charge) == (TaskStatus.EXPIRED, Charge.POSSIBLE)
    assert len(rig.world.requests) == 1
    assert [one.headers["taskrelay-event"] for one in rig.received()] == ["task.expired"]


# Refusals


async def test_a_purchase_that_never_left_is_tried_again_with_pauses(rig: Rig) -> None:
    rig.account(base_url="http://127.0.0.1:9")
    task = await rig.task(await rig.project())
    await rig.settle()
    waiting = await rig.now(task)
    assert (waiting.status, waiting.streak, waiting.charge) == (TaskStatus.QUEUED, Streak.DEFERRED, Charge.NONE)
    assert waiting.due_at is not None and waiting.due_at >= rig.clock() + 2 * SECOND
    await rig.stretch(60)
    tries = len(await rig.submissions(task))
    assert 3 <= tries <= 6
    rig.account()
    rig.workers.clear()
    await rig.run("UPDATE lanes SET owner = NULL, until = 0")
    await rig.stretch(70)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING


async def test_a_refusal_for_good_ends_the_task_and_costs_nothing(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: refuse]")
    await rig.settle()
    ended = await rig.now(task)
    assert (ended.status, ended.final, ended.charge) == (TaskStatus.FAILED, True, Charge.NONE)
    assert ended.failure is not None and ended.failure.code is FailureCode.CONTENT_REJECTED


async def test_being_told_to_wait_holds_every_purchase_and_no_query(rig: Rig) -> None:
    rig.world.script.creates.append(Step(directive="status=429, code=1302, retry-after=120"))
    project = await rig.project()
    first = await rig.task(project)
    await rig.settle()
    rig.clock.advance(5)
    others = [await rig.task(project) for _ in range(3)]
    bound = await rig.task(project)
    await rig.bound(bound, "18")
    await rig.stretch(110)
    assert len(creates(rig)) == 1
    assert len(queries(rig)) >= 1
    held = Holds.load((await rig.lane(*CLOUDSWAY)).holds).submits
    assert held.held(rig.clock()) and held.reason
    await rig.stretch(60)
    assert {(await rig.now(task)).status for task in (first, *others)} == {TaskStatus.PROCESSING}
    assert Holds.load((await rig.lane(*CLOUDSWAY)).holds).free


async def test_refused_credentials_hold_the_account_and_end_its_tasks_after_a_quarter_of_an_hour(rig: Rig) -> None:
    rig.world.knobs.api_key = "another"
    task = await rig.task(await rig.project())
    await rig.stretch(850)
    assert (await rig.now(task)).status is TaskStatus.QUEUED
    assert len(creates(rig)) == 3, "at 0, 300 and 600 s"
    await rig.stretch(400)
    ended = await rig.now(task)
    assert (ended.status, ended.final) == (TaskStatus.FAILED, True)
    assert ended.failure is not None and ended.failure.code is FailureCode.CREDENTIALS_REFUSED
    assert len(creates(rig)) == 4


async def test_a_queued_task_whose_deadline_passes_while_the_account_is_held_expires_unbought(rig: Rig) -> None:
    rig.world.knobs.api_key = "another"
    project = await rig.project()
    await rig.task(project)
    await rig.settle()
    late = await rig.task(project, deadline_seconds=100)
    await rig.stretch(101)
    ended = await rig.now(late)
    assert (ended.status, ended.final, ended.charge) == (TaskStatus.EXPIRED, True, Charge.NONE)
    assert len(creates(rig)) == 1


# Limits


@pytest.mark.parametrize("cap", [1, 3])
async def test_no_more_tasks_are_open_at_the_provider_than_allowed(rig: Rig, cap: int) -> None:
    rig.account(max_open_tasks=cap)
    project = await rig.project()
    made = [await rig.task(project) for _ in range(3 * cap)]
    for round_number in range(1, 4):
        await rig.settle()
        assert rig.world.open["cloudsway"] == cap
        assert len(creates(rig)) == round_number * cap
        for job in list(rig.world.jobs.values()):
            if not job.phase.ended:
                rig.world.finish(job.id)
        await rig.pushes()
        rig.clock.advance(2)
    await rig.settle()
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.SUCCEEDED}


async def test_the_rate_of_an_account_is_never_exceeded(rig: Rig) -> None:
    rig.account(rate=2.0)
    project = await rig.project()
    for number in range(30):
        await rig.task(project, prompt=f"Boat {number}. [sandbox: no-push]")
    await rig.stretch(60)
    at = [asked.at for asked in rig.world.requests]
    assert len(creates(rig)) == 30
    for begin in at:
        assert sum(begin <= one < begin + 10 for one in at) <= 2.0 * 10 * 1.1
    spent = at[29] - at[0]
    assert 13 <= spent <= 16, "and it is used"


async def test_an_account_that_fails_is_probed_and_recovers(rig: Rig) -> None:
    project = await rig.project()
    for number in range(12):
        await rig.bound(await rig.task(project), str(number))
    rig.world.script.queries.append(Step(directive="status=500", times=30))
    rig.clock.advance(100)
    await rig.stretch(10_000)
    statuses = await rig.rows("SELECT DISTINCT status FROM tasks")
    assert statuses == [("expired",)], "the sandbox knows none of these jobs, and said so in the end"
    assert (await rig.lane(*CLOUDSWAY)).breaker is None


# Questions


async def test_one_question_asks_after_many_tasks_and_each_gets_its_own_answer(rig: Rig) -> None:
    project = await rig.project()
    made = [await rig.task(project, prompt=f"Boat {number}. [sandbox: no-push]") for number in range(25)]
    await rig.settle()
    for number, task in enumerate(made):
        if number % 3 == 0:
            rig.world.finish(rig.job(task).id)
        elif number % 3 == 1:
            rig.world.finish(rig.job(task).id, failed=True)
    rig.clock.advance(96)
    await rig.settle()
    statuses = [(await rig.now(task)).status for task in made]
    wanted = [TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.PROCESSING]
    assert statuses == [wanted[number % 3] for number in range(25)]
    assert len(queries(rig)) == 2, "25 tasks, 20 a question"
    for task in made:
        now = await rig.now(task)
        assert not now.outputs or rig.job(task).id in now.outputs[0].url


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [("status=500", 400), ("garbage", 400), ("close", 400), ("status=429, retry-after=5", 400), ("status=401", 1100)],
)
async def test_a_question_that_fails_never_fails_a_task(rig: Rig, fault: str, seconds: int) -> None:
    project = await rig.project()
    task = await rig.task(project, prompt="A boat. [sandbox: no-push]")
    await rig.settle()
    rig.world.script.queries.append(Step(directive=fault, times=3))
    rig.world.finish(rig.job(task).id)
    await rig.stretch(100)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    await rig.stretch(seconds - 100)
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED


async def test_a_hundred_pushes_cause_one_question_in_two_seconds(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.settle()
    await rig.pushes()
    [submission] = await rig.submissions(task)
    for number in range(100):
        await rig.recorder.record(rig.callback(submission.id, Claim.SUCCEEDED, body=str(number).encode()))
        rig.clock.advance(0.04)
        await rig.settle()
    assert len(queries(rig)) <= 3
    rig.clock.advance(2)
    await rig.settle()
    assert len(queries(rig)) <= 4
    assert await rig.bells() == 0


async def test_a_forged_push_is_asked_about_and_changes_nothing(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.settle()
    await rig.world.push(rig.job(task).id, "succeeded")
    await rig.pushes()
    await rig.stretch(60)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    assert 1 <= len(queries(rig)) <= 6, "once, and a few times more in case the query lags"
    assert await rig.bells() == 0


async def test_a_bell_that_matters_is_not_silenced_by_an_older_one_that_does_not(rig: Rig) -> None:
    """`submitted` and then `processing` are pushed before the reply is stored; by then only the second says something new."""
    project = await rig.project()
    await rig.endpoint(project, events="task.*")
    task = await rig.task(project)
    submission = await rig.intend(task)
    await rig.recorder.record(rig.callback(submission, Claim.WAITING, body=b"1"))
    rig.clock.advance(0.001)
    await rig.recorder.record(rig.callback(submission, Claim.UNKNOWN, body=b"2"))
    await rig.see(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT)
    await rig.settle()
    assert len(queries(rig)) == 1
    assert await rig.bells() == 0


async def test_a_bell_is_found_after_a_restart(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    await rig.pushes()
    rig.workers.clear()  # the process dies with the bell unanswered
    await rig.run("UPDATE lanes SET owner = NULL, until = 0")
    second = await open_rig(rig.path, rig.clock, rig.network, owner="successor")
    try:
        second.account()
        await second.settle()
    finally:
        await second.close()
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED
    assert await rig.bells() == 0


async def test_bells_without_news_are_put_to_rest_unasked(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    submission = await rig.intend(task)
    await rig.recorder.record(rig.callback(submission, Claim.WAITING))
    assert await rig.bells() == 1
    await rig.see(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT)
    await rig.settle()
    assert (await rig.bells(), len(queries(rig))) == (0, 0)


# Ends


async def test_a_job_without_end_is_asked_once_more_past_the_deadline_and_then_expires(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project)
    task = await rig.task(project, prompt="A boat. [sandbox: no-push]", deadline_seconds=600)
    await rig.settle()
    rig.world.begin(rig.job(task).id)
    await rig.stretch(599)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    await rig.stretch(2)
    ended = await rig.now(task)
    assert (ended.status, ended.final) == (TaskStatus.EXPIRED, False)
    last = rig.job(task).queries[-1].at
    assert last * SECOND >= task.deadline_at
    rig.world.finish(rig.job(task).id)
    await rig.stretch(4000)
    late = await rig.now(task)
    assert (late.status, late.final, late.late) == (TaskStatus.SUCCEEDED, True, True)
    assert Counter(await rig.events(task))["task.succeeded"] == 1


async def test_hours_of_downtime_expire_nothing_that_is_well(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: no-push]", deadline_seconds=3600)
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    rig.clock.advance(6 * 3600)
    await rig.settle()
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED


async def test_a_success_without_an_output_is_waited_for_and_then_fails_softly(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: no-output, no-push]")
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    await rig.stretch(600)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    await rig.stretch(400)
    ended = await rig.now(task)
    assert (ended.status, ended.final) == (TaskStatus.FAILED, False)
    assert ended.failure is not None and ended.failure.code is FailureCode.NO_OUTPUT
