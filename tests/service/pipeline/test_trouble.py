"""An account in trouble: its key refused, told to slow down, its provider gone. Nothing is lost, nobody is hammered, everything ends."""

from __future__ import annotations

from collections import Counter

import pytest

from service.core.fallback import Candidate, dump
from service.core.holding import Holds
from service.core.observation import Claim, Source
from service.core.schedule import Breaker
from service.sandbox.jobs import Asked
from service.sandbox.script import Step
from storage.database import T, Unit
from storage.records import Charge, FailureCode, LaneKind, Task, TaskStatus
from tests.service.pipeline.parties import SECOND, Wrapped
from tests.service.pipeline.rig import Rig, open_rig

pytestmark = pytest.mark.slow

CLOUDSWAY = (LaneKind.ACCOUNT, "cloudsway")
QUIET = "A boat. [sandbox: no-push]"


def asked(rig: Rig, kind: str | None = None, since: float = 0.0) -> list[Asked]:
    return [one for one in rig.world.requests if kind in (None, one.kind) and one.at >= since]


def most_in(rig: Rig, seconds: float, kind: str | None = None, since: float = 0.0) -> int:
    """The most requests that any stretch of so many seconds holds, both its ends included."""
    at = sorted(one.at for one in asked(rig, kind, since))
    return max((sum(begin <= other <= begin + seconds for other in at) for begin in at), default=0)


async def statuses(rig: Rig) -> Counter[str]:
    return Counter(str(status) for (status,) in await rig.rows("SELECT status FROM tasks"))


async def holds(rig: Rig) -> Holds:
    return Holds.load((await rig.lane(*CLOUDSWAY)).holds)


async def restart(rig: Rig) -> None:
    """The process dies and another one starts."""
    for worker in rig.workers.values():
        await worker.stop()
    rig.workers.clear()
    await rig.run("UPDATE lanes SET owner = NULL, until = 0, next_due_at = 0")


# The key or the balance is refused


@pytest.mark.parametrize(
    ("fault", "code"),
    [("status=401", FailureCode.CREDENTIALS_REFUSED), ("status=429, code=1102", FailureCode.INSUFFICIENT_CREDIT)],
)
async def test_every_queued_task_of_a_refused_account_fails_after_a_quarter_of_an_hour_and_costs_nothing(
    rig: Rig, fault: str, code: FailureCode
) -> None:
    rig.world.script.creates.append(Step(directive=fault, times=1000))
    project = await rig.project()
    await rig.endpoint(project)
    made = [await rig.task(project)]
    await rig.settle()
    made += [await rig.task(project) for _ in range(249)]
    await rig.stretch(899)
    assert await statuses(rig) == {"queued": 250}
    assert len(asked(rig)) == 3, "at 0, 300 and 600 s, by one task each"
    await rig.stretch(2)
    assert await statuses(rig) == {"failed": 250}
    assert len(asked(rig)) == 4
    for task in made:
        ended = await rig.now(task)
        assert (ended.final, ended.charge) == (True, Charge.NONE)
        assert ended.failure is not None and (ended.failure.code, ended.failure.retryable) == (code, True)
    assert len(rig.received("task.failed")) == 250


async def test_a_task_that_arrives_at_a_refused_account_gets_its_own_quarter_of_an_hour(rig: Rig) -> None:
    rig.world.knobs.api_key = "another"
    project = await rig.project()
    await rig.task(project)
    await rig.stretch(850)
    late = await rig.task(project)
    await rig.stretch(895)
    assert (await rig.now(late)).status is TaskStatus.QUEUED
    await rig.stretch(10)
    assert (await rig.now(late)).status is TaskStatus.FAILED
    assert most_in(rig, 600) <= 3


async def test_a_refused_account_is_called_three_times_in_ten_minutes_also_when_it_refuses_every_question(
    rig: Rig,
) -> None:
    project = await rig.project()
    bound = [await rig.task(project, prompt=QUIET, deadline_seconds=86_400)]
    await rig.stretch(10)
    bound += [await rig.task(project, prompt=QUIET, deadline_seconds=86_400) for _ in range(49)]  # asked after later
    await rig.stretch(10)
    assert (await statuses(rig))["processing"] == 50
    rig.world.knobs.api_key = "another"
    rig.clock.advance(5)
    since = rig.clock() / SECOND
    await rig.task(project, deadline_seconds=86_400)
    await rig.settle()
    for _ in range(50):
        await rig.task(project, deadline_seconds=86_400)
    await rig.stretch(3600)
    assert most_in(rig, 600, since=since) <= 3
    assert {one.kind for one in asked(rig, since=since)} == {"create", "query"}
    assert {(await rig.now(task)).status for task in bound} == {TaskStatus.PROCESSING}, (
        "a refused question fails nothing"
    )
    held = await holds(rig)
    assert held.both_refused and held.submits.reason and held.queries.reason
    assert "401" in held.queries.reason
    rig.world.knobs.api_key = None
    for task in bound:
        rig.world.finish(rig.job(task).id)
    await rig.stretch(310)
    assert {(await rig.now(task)).status for task in bound} == {TaskStatus.SUCCEEDED}
    new = await rig.task(project)
    await rig.settle()
    assert (await rig.now(new)).status is TaskStatus.PROCESSING, "an answered question shows that the key works"
    assert (await holds(rig)).free


async def test_tasks_of_a_refused_account_go_on_to_their_fallback(rig: Rig) -> None:
    rig.account("ulazai")
    rig.world.script.creates.append(Step(directive="status=401", times=1000, contract="cloudsway"))
    project = await rig.project()
    spare = await rig.task(project, account="ulazai")
    await rig.settle()
    candidate = Candidate(
        account="ulazai",
        provider="ulazai",
        model=spare.model,
        input=spare.input,
        provider_options=spare.provider_options,
    )
    made = [await rig.task(project, fallbacks=dump([candidate])) for _ in range(5)]
    await rig.stretch(905)
    found = [await rig.now(task) for task in made]
    assert {(task.account, task.status) for task in found} == {("ulazai", TaskStatus.PROCESSING)}


async def test_the_hold_of_a_refused_account_survives_a_restart(rig: Rig) -> None:
    rig.world.knobs.api_key = "another"
    project = await rig.project()
    made = [await rig.task(project)]
    await rig.settle()
    made += [await rig.task(project) for _ in range(3)]
    await rig.stretch(400)
    await restart(rig)
    await rig.stretch(499)
    assert len(asked(rig)) == 3
    assert await statuses(rig) == {"queued": 4}
    await rig.stretch(10)
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.FAILED}


async def test_a_refusal_told_late_never_fails_a_task_that_is_being_bought(rig: Rig) -> None:
    """Two owners for a moment: the one tells of the refusal while the other's purchase is on its way."""
    task = await rig.task(await rig.project())
    await rig.intend(task)
    rig.clock.advance(1000)
    await rig.see(task, Claim.DEFERRED, source=Source.SUBMIT, account_refused=True, refused_since=1)
    assert (await rig.now(task)).status is TaskStatus.SUBMITTING


async def test_a_key_that_works_again_is_noticed_and_used_at_once_for_all(rig: Rig) -> None:
    rig.world.script.creates.append(Step(directive="status=401", times=2))
    project = await rig.project()
    made = [await rig.task(project) for _ in range(20)]
    await rig.stretch(610)
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.PROCESSING}
    assert (await holds(rig)).free


# Told to slow down


async def test_an_hour_of_too_many_requests_fails_nothing_and_keeps_to_the_rate(rig: Rig) -> None:
    rig.account(rate=5.0)
    rig.world.script.creates.append(Step(directive="status=429, code=1302", times=1_000_000))
    project = await rig.project()
    made = [await rig.task(project, deadline_seconds=7200) for _ in range(60)]
    await rig.stretch(3600)
    assert await statuses(rig) == {"queued": 60}
    assert most_in(rig, 10) <= 5 * 10 * 1.1
    assert len(asked(rig)) < 200, "one on trial at a time, half a minute apart at last"
    rig.world.script.creates.clear()
    await rig.stretch(100)
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.PROCESSING}
    assert most_in(rig, 10) <= 5 * 10 * 1.1


@pytest.mark.parametrize("fault", ["status=429, retry-after=120", "status=503, retry-after=120"])
async def test_questions_wait_as_long_as_the_provider_asks_and_purchases_do_not(rig: Rig, fault: str) -> None:
    project = await rig.project()
    made = [await rig.task(project, prompt=QUIET) for _ in range(30)]
    await rig.settle()
    rig.clock.advance(95)
    rig.world.script.queries.append(Step(directive=fault, times=2))
    await rig.settle()
    told_at = rig.clock() / SECOND
    for task in made:
        rig.world.finish(rig.job(task).id)
    bought = await rig.task(project)
    await rig.stretch(118)
    assert asked(rig, "query", since=told_at + 0.001) == []
    assert (await rig.now(bought)).status is TaskStatus.PROCESSING
    assert (await holds(rig)).queries.reason
    await rig.stretch(130)
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.SUCCEEDED}
    assert (await holds(rig)).free


async def test_look_ups_wait_as_long_as_the_provider_asks(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt="A boat. [sandbox: lost-reply, no-push]")
    await rig.settle()
    rig.world.script.queries.append(Step(directive="status=429, retry-after=600"))
    await rig.stretch(500)
    assert len(asked(rig, "query")) == 1
    await rig.stretch(300)
    assert (await rig.now(task)).provider_task_id == rig.job(task).id


async def test_pushes_are_verified_only_after_the_wait_the_provider_asked_for(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.settle()
    rig.world.script.queries.append(Step(directive="status=503, retry-after=90"))
    rig.world.finish(rig.job(task).id)
    await rig.pushes()
    await rig.stretch(85)
    assert len(asked(rig, "query")) == 1
    assert await rig.bells() > 0
    await rig.stretch(10)
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED
    assert await rig.bells() == 0


async def test_a_provider_that_wants_to_be_left_alone_for_a_day_is_asked_once_an_hour(rig: Rig) -> None:
    task = await rig.task(await rig.project(), prompt=QUIET, deadline_seconds=40_000)
    await rig.settle()
    rig.world.script.queries.append(Step(directive="status=429, retry-after=86400", times=4))
    rig.world.finish(rig.job(task).id)
    await rig.stretch(5 * 3600)
    assert len(asked(rig, "query")) == 5
    assert (await rig.now(task)).status is TaskStatus.SUCCEEDED


async def test_a_wish_to_be_left_alone_does_not_keep_tasks_alive_past_their_deadline(rig: Rig) -> None:
    project = await rig.project()
    made = [await rig.task(project, prompt=QUIET, deadline_seconds=600) for _ in range(3)]
    await rig.settle()
    rig.world.script.queries.append(Step(directive="status=429, retry-after=86400", times=100))
    await rig.stretch(600 + 14 * 60)
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.PROCESSING}
    await rig.stretch(4 * 60)
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.EXPIRED}
    assert len(asked(rig, "query")) <= 2


# The provider is gone


@pytest.mark.parametrize(("fault", "outage"), [("status=503", 1800), ("close", 1800), ("hang", 600)])
async def test_half_an_hour_of_outage_loses_nothing_and_is_probed_once_in_half_a_minute(
    rig: Rig, fault: str, outage: int
) -> None:
    seconds = 0.3 if fault == "hang" else 30.0  # of this machine's time
    rig.account(rate=20.0, query_seconds=seconds, submit_deadline_seconds=seconds)
    project = await rig.project()
    bound = [await rig.task(project, prompt=QUIET, deadline_seconds=86_400) for _ in range(40)]
    await rig.stretch(10)
    assert await statuses(rig) == {"processing": 40}
    for task in bound:
        rig.world.finish(rig.job(task).id)
    began = rig.clock() / SECOND + 1
    rig.world.script.creates.append(Step(directive=fault, times=1_000_000))
    rig.world.script.queries.append(Step(directive=fault, times=1_000_000))
    rig.clock.advance(100)
    queued = [await rig.task(project, deadline_seconds=86_400) for _ in range(40)]
    await rig.stretch(outage)
    failures = asked(rig, since=began)
    opening = failures[0].at + 25
    at_first = [one for one in failures if one.at < opening]
    assert len(at_first) <= (24 if fault == "hang" else 10), len(at_first)
    probes = [one for one in failures if one.at >= opening]
    assert outage / 61 - 1 <= len(probes) <= outage / 30
    assert {one.kind for one in probes} == {"query"}, "a probe must not risk a purchase"
    assert most_in(rig, 29.9, since=opening) == 1
    found = await statuses(rig)
    assert found["processing"] == 40 and found["queued"] + found["unconfirmed"] == 40
    rig.world.script.creates.clear()
    rig.world.script.queries.clear()
    recovered = rig.clock() / SECOND
    await rig.stretch(90)  # a probe, then everything
    assert most_in(rig, 10, since=recovered) <= 20 * 10 * 1.1
    assert {(await rig.now(task)).status for task in bound} == {TaskStatus.SUCCEEDED}
    found = Counter([(await rig.now(task)).status for task in queued])
    assert found[TaskStatus.PROCESSING] + found[TaskStatus.UNCONFIRMED] == 40
    assert found[TaskStatus.UNCONFIRMED] <= len(at_first), "what was bought in doubt is still looked for"
    assert not Breaker.load((await rig.lane(*CLOUDSWAY)).breaker).open


class Counting(Wrapped):
    """A database that counts how often it is read."""

    reads = 0

    async def read(self, unit: Unit[T], /) -> T:
        self.reads += 1
        return await super().read(unit)


async def test_what_arrives_while_nothing_can_be_asked_costs_no_look_at_the_rows(rig: Rig) -> None:
    project = await rig.project()
    await rig.task(project)
    shut = Breaker(since=rig.clock(), probe_at=rig.clock() + 25 * SECOND).dump()
    await rig.run("UPDATE lanes SET breaker = :breaker", breaker=shut)
    inner, rig.database = rig.database, Counting(rig.database)
    worker = await rig.worker(*CLOUDSWAY)
    counted, rig.database = rig.database, inner
    await rig.settle()
    for _ in range(200):
        worker.ring(rig.clock())
        await rig.turn(worker)
        rig.clock.advance(0.1)
    assert counted.reads <= 6, counted.reads
    await rig.stretch(10)
    assert (await statuses(rig)) == {"processing": 1}


async def test_an_account_with_nothing_to_ask_after_is_probed_by_asking_after_an_old_job(rig: Rig) -> None:
    project = await rig.project()
    old = await rig.task(project, prompt=QUIET)
    await rig.settle()
    rig.world.finish(rig.job(old).id)
    await rig.stretch(100)
    assert (await rig.now(old)).status is TaskStatus.SUCCEEDED
    rig.world.script.creates.append(Step(directive="close", times=1_000_000))
    rig.world.script.queries.append(Step(directive="close", times=1_000_000))
    await rig.run(
        "UPDATE lanes SET breaker = :breaker", breaker=Breaker(since=rig.clock(), probe_at=rig.clock()).dump()
    )
    await restart(rig)
    since = rig.clock() / SECOND
    made = [await rig.task(project) for _ in range(5)]
    await rig.stretch(300)
    assert {one.kind for one in asked(rig, since=since)} == {"query"}
    assert await statuses(rig) == {"succeeded": 1, "queued": 5}
    rig.world.script.creates.clear()
    rig.world.script.queries.clear()
    await rig.stretch(62)
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.PROCESSING}


async def overdue_tasks(rig: Rig, count: int, *, look_up: bool = False) -> None:
    """So many tasks at the provider whose deadline comes in a minute, while it cannot be asked."""
    project = await rig.project()
    for number in range(count):
        task = await rig.task(project, deadline_seconds=60)
        if look_up:
            submission = await rig.intend(task)
            await rig.see(task, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
        else:
            await rig.bound(task, str(number))


@pytest.mark.parametrize("look_up", [False, True])
async def test_thousands_of_overdue_tasks_end_behind_an_open_breaker(rig: Rig, look_up: bool) -> None:
    count = 300  # more than are read at once
    await overdue_tasks(rig, count, look_up=look_up)
    rig.world.script.queries.append(Step(directive="status=500", times=1_000_000))
    await rig.stretch(60 + 13 * 60)
    assert (await statuses(rig))["expired"] == 0
    assert Breaker.load((await rig.lane(*CLOUDSWAY)).breaker).open
    await rig.stretch(6 * 60)
    assert await statuses(rig) == {"expired": count}
    assert len(asked(rig)) < 60


async def test_time_in_which_we_were_down_does_not_count_against_overdue_tasks(rig: Rig) -> None:
    await overdue_tasks(rig, 50)
    rig.world.script.queries.append(Step(directive="status=500", times=1_000_000))
    await rig.stretch(60 + 5 * 60)
    assert Breaker.load((await rig.lane(*CLOUDSWAY)).breaker).open
    await restart(rig)
    rig.clock.advance(6 * 3600)
    await rig.stretch(8 * 60)
    assert await statuses(rig) == {"processing": 50}
    await rig.stretch(5 * 60)
    assert await statuses(rig) == {"expired": 50}


async def test_deadlines_pass_in_time_however_many_tasks_wait_before_them(rig: Rig) -> None:
    """The overdue ones are far behind those that are due first."""
    rig.world.script.queries.append(Step(directive="status=500", times=1_000_000))
    rig.world.script.creates.append(Step(directive="status=500", times=1_000_000))
    project = await rig.project()
    for number in range(400):
        await rig.bound(await rig.task(project, deadline_seconds=86_400), str(number))
    await rig.stretch(200)
    assert Breaker.load((await rig.lane(*CLOUDSWAY)).breaker).open
    soon: list[Task] = []
    for number in range(5):
        soon.append(await rig.task(project, deadline_seconds=300))
        await rig.bound(soon[-1], f"soon-{number}")
    unbought = [await rig.task(project, deadline_seconds=300) for _ in range(5)]
    await rig.stretch(310)
    assert {(await rig.now(task)).status for task in unbought} == {TaskStatus.EXPIRED}
    await rig.stretch(17 * 60)
    assert {(await rig.now(task)).status for task in soon} == {TaskStatus.EXPIRED}
    assert (await statuses(rig))["processing"] == 400


async def test_a_breaker_that_was_open_at_the_end_of_a_process_is_open_at_the_start_of_the_next(rig: Rig) -> None:
    await overdue_tasks(rig, 20)
    rig.world.script.queries.append(Step(directive="status=500", times=1_000_000))
    await rig.stretch(100)
    before = len(asked(rig))
    second = await open_rig(rig.path, rig.clock, rig.network, owner="successor")
    try:
        await restart(rig)
        second.account()
        await second.settle()
        assert len(asked(rig)) == before
    finally:
        await second.close()
