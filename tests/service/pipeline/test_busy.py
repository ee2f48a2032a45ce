"""A lane that can do nothing now is left alone: in every state in which it is stuck it is turned about once in two seconds at most."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service.core.holding import Holds
from service.core.observation import Claim, Source
from service.pipeline import backlog
from service.pipeline.relay import EndpointLane
from service.sandbox.script import Step
from service.sandbox.subscriber import Answers
from storage.records import EndpointStatus, LaneKind, TaskStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.virtual import turns_in
from tests.traps import lift_trap, set_trap

MINUTES = 300.0
FEW = 200  # in five minutes


async def owe(rig: Rig, endpoint_status: EndpointStatus = EndpointStatus.ACTIVE, *, count: int = 1) -> str:
    """An endpoint that is owed events, without a provider."""
    project = await rig.project()
    endpoint = await rig.endpoint(project, status=endpoint_status)
    for _ in range(count):
        task = await rig.task(project)
        await rig.bound(task)
        await rig.see(task, Claim.FAILED, job=f"job-{task.id}")
    await rig.run("UPDATE lanes SET next_due_at = NULL WHERE kind = 'account'")
    return endpoint


@pytest.mark.parametrize(
    ("status", "left"), [(EndpointStatus.PAUSED, "pending"), (EndpointStatus.DISABLED, "canceled")]
)
async def test_the_lane_of_an_endpoint_that_is_not_sent_to_rests(rig: Rig, status: EndpointStatus, left: str) -> None:
    endpoint = await owe(rig)
    await rig.run("UPDATE endpoints SET status = :status WHERE id = :id", status=status.value, id=endpoint)
    assert await turns_in(rig, MINUTES) < 10
    assert rig.received() == []
    assert await rig.deliveries(endpoint) == [(left, 0)]


async def test_the_lane_of_a_deleted_endpoint_rests(rig: Rig) -> None:
    endpoint = await owe(rig)
    await rig.run("UPDATE endpoints SET deleted_at = 1 WHERE id = :id", id=endpoint)
    assert await turns_in(rig, MINUTES) < 10


async def test_an_endpoint_with_an_open_breaker_gets_one_probe_at_a_time(rig: Rig) -> None:
    endpoint = await owe(rig, count=30)
    rig.subscriber.answers = Answers(status=500, times=1000)
    turns = await turns_in(rig, MINUTES)
    assert turns < FEW + 60, turns
    assert 10 + 4 <= len(rig.received()) <= 10 + 8 + 10, len(rig.received())
    assert (await rig.lane(LaneKind.ENDPOINT, endpoint)).breaker is not None


async def test_an_endpoint_that_asks_for_a_pause_is_left_alone(rig: Rig) -> None:
    endpoint = await owe(rig, count=20)
    rig.subscriber.answers = Answers(status=503, times=8, headers={"retry-after": "3600"})
    turns = await turns_in(rig, MINUTES)
    assert turns < FEW
    assert len(rig.received()) <= 8
    lane = await rig.lane(LaneKind.ENDPOINT, endpoint)
    assert lane.next_due_at is not None and lane.next_due_at > rig.clock() + 3000 * SECOND


async def test_a_lease_too_short_to_send_within_is_waited_out(rig: Rig) -> None:
    await owe(rig)

    def short(lane):  # type: ignore[no-untyped-def]
        return rig.make(replace(lane, until=rig.clock() + SECOND))

    assert await turns_in(rig, MINUTES, make=short) < FEW
    assert rig.received() == []


async def test_a_lease_too_short_to_buy_within_is_waited_out(rig: Rig) -> None:
    await rig.task(await rig.project())

    def short(lane):  # type: ignore[no-untyped-def]
        return rig.make(replace(lane, until=rig.clock() + SECOND))

    assert await turns_in(rig, MINUTES, make=short) < FEW
    assert rig.requests("create") == 0


async def test_a_secret_that_cannot_be_opened_does_not_spin_its_lane(rig: Rig) -> None:
    endpoint = await owe(rig)
    [(secret,)] = await rig.rows("SELECT sealed FROM endpoint_secrets WHERE endpoint_id = :id", id=endpoint)
    await rig.run("UPDATE endpoint_secrets SET sealed = 'k1.00000000.AAAA' WHERE endpoint_id = :id", id=endpoint)
    assert 5 <= await turns_in(rig, MINUTES) < 50, "tried again, ever more seldom"
    assert await rig.deliveries(endpoint) == [("pending", 0)]
    await rig.run("UPDATE endpoint_secrets SET sealed = :secret WHERE endpoint_id = :id", secret=secret, id=endpoint)
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 1)]


async def test_an_empty_bucket_is_waited_for(rig: Rig) -> None:
    rig.account(rate=0.02)  # one in 50 s
    project = await rig.project()
    for _ in range(30):
        await rig.task(project)
    assert await turns_in(rig, MINUTES) < FEW
    assert 4 <= len(rig.world.requests) <= 7


async def test_an_account_with_an_open_breaker_is_probed(rig: Rig) -> None:
    rig.account("ulazai")
    project = await rig.project()
    for number in range(30):
        task = await rig.task(project, account="ulazai", prompt=f"Boat {number}.")
        await rig.bound(task, f"unknown-{number}")
    rig.world.script.queries.append(Step(directive="status=500", times=10_000))
    rig.clock.advance(3600)
    turns = await turns_in(rig, MINUTES)
    assert turns < FEW + 60
    assert 12 <= rig.requests("query") <= 30, rig.requests("query")


async def test_an_account_at_its_cap_of_open_tasks_is_not_turned_for_nothing(rig: Rig) -> None:
    rig.account(max_open_tasks=1)
    project = await rig.project()
    for _ in range(5):
        await rig.task(project)
    assert await turns_in(rig, MINUTES) < FEW
    assert rig.requests("create") == 1


async def test_an_account_whose_key_is_refused_is_left_alone(rig: Rig) -> None:
    rig.world.knobs.api_key = "another"
    project = await rig.project()
    for _ in range(3):
        await rig.task(project)
    assert await turns_in(rig, 290) < FEW
    assert rig.requests("create") <= 3
    held = Holds.load((await rig.lane(LaneKind.ACCOUNT, "cloudsway")).holds).submits
    assert held.held(rig.clock()) and held.reason


async def test_a_bell_that_cannot_be_answered_does_not_spin(rig: Rig) -> None:
    """An unconfirmed task at a provider without look-up: nobody can be asked, whatever rings."""
    rig.account("ulazai")
    task = await rig.task(await rig.project(), account="ulazai")
    submission = await rig.intend(task)
    await rig.see(task, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
    await rig.recorder.record(rig.callback(submission, Claim.SUCCEEDED))
    assert await turns_in(rig, MINUTES) < FEW
    assert (await rig.now(task)).status is TaskStatus.UNCONFIRMED


async def test_a_look_up_that_is_answered_in_riddles_is_not_repeated_at_full_speed(rig: Rig) -> None:
    """An answer that is no answer leaves the task due; the provider must not be asked again at once, for hours."""
    stranger = await rig.task(await rig.project())
    await rig.settle()
    task = await rig.task(await rig.project())
    rig.world.by_external_id["cloudsway", task.id] = [rig.job(stranger)]  # a job that does not state our id
    submission = await rig.intend(task)
    await rig.see(task, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
    await rig.run("UPDATE lanes SET owner = NULL, until = 0")
    rig.workers.clear()
    before = rig.requests("query")
    turns = await turns_in(rig, MINUTES)
    assert turns < 2 * FEW, turns
    assert rig.requests("query") - before < 20, rig.requests("query") - before


async def test_an_answer_that_cannot_be_stored_is_not_asked_for_at_full_speed(rig: Rig) -> None:
    task = await rig.task(await rig.project())
    await rig.settle()
    await rig.run("UPDATE lanes SET owner = NULL, until = 0")
    rig.workers.clear()
    await set_trap(rig.database, "BEFORE UPDATE", "tasks", when="new.status = 'processing'", text="poison")
    rig.clock.advance(95)
    before = rig.requests("query")
    turns = await turns_in(rig, 60.0)
    assert rig.requests("query") - before <= 32, (rig.requests("query"), turns)
    await lift_trap(rig.database, "tasks")
    assert (await rig.now(task)).status is TaskStatus.PROCESSING


async def test_a_full_memory_and_busy_senders_do_not_spin(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "FIRST_ROOM", 30)
    endpoint = await owe(rig, count=50)
    rig.subscriber.answers = Answers(status=None, times=8)  # every sender hangs
    await rig.claim()
    worker = rig.workers[LaneKind.ENDPOINT, endpoint]
    assert isinstance(worker, EndpointLane)
    while await worker.run_once():
        pass
    async with asyncio.timeout(30):
        await rig.subscriber.until(8)
    for _ in range(20):
        assert await worker.run_once() == 0
        at = worker.next_at()
        assert at is None or at > rig.clock()
    rig.subscriber.answers = Answers()
    worker.lost = True
    for sender in list(worker._senders):
        sender.cancel()
