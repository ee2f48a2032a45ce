from __future__ import annotations

import asyncio

import httpx
import orjson
import pytest

from service.sandbox import world as module
from service.sandbox.directives import Directives
from service.sandbox.jobs import Contract, Job, Knobs, Phase
from service.sandbox.rules import Scope
from service.sandbox.script import Step
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from tests.service.sandbox.conftest import Arrived, HandClock, statuses
from tests.service.sandbox.test_cloudsway import TEXT, body, create, query
from tests.service.sandbox.test_ulazai import create as create_at_ulazai


async def test_job_lives_by_the_clock(
    client: httpx.AsyncClient, world: World, clock: HandClock, callback_url: str, arrived: Arrived
) -> None:
    world.knobs.job_seconds = 60.0
    job_id = await create(client, "A boat", callback_url)
    began = clock.now
    await clock.move(15)
    await arrived(2)
    await clock.move(45)
    pushes = await arrived(3)
    assert statuses(pushes) == ["submitted", "processing", "succeeded"]
    job = world.jobs[job_id]
    assert [change.at - began for change in job.changes] == [0, 15, 60]
    assert job.finished_at == began + 60


async def test_seconds_in_a_prompt_outrank_the_knob(client: httpx.AsyncClient, world: World, clock: HandClock) -> None:
    await create(client, "A boat [sandbox: seconds=8]")
    await clock.move(2)
    await clock.move(6)
    async with asyncio.timeout(30):
        await world.until(lambda: not world.open["cloudsway"])


async def test_job_of_no_seconds_has_ended_before_its_reply(client: httpx.AsyncClient, world: World) -> None:
    reply = await client.post(TEXT, json=body("A boat [sandbox: seconds=0]"))
    assert reply.json()["data"]["status"] == "submitted"
    assert [change.word for change in world.jobs[reply.json()["data"]["id"]].changes] == [
        "submitted",
        "processing",
        "succeeded",
    ]


async def test_stuck_job_is_worked_on_and_never_ends(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client, "A boat [sandbox: stuck, seconds=0]")
    assert world.jobs[job_id].word == "processing"


async def test_no_push_is_written_down_as_dropped(
    client: httpx.AsyncClient, world: World, receiver: Subscriber, callback_url: str
) -> None:
    job_id = await create(client, "A boat [sandbox: no-push, seconds=0]", callback_url)
    await world.quiet()
    assert [(push.word, push.dropped, push.attempts) for push in world.jobs[job_id].pushes] == [
        ("submitted", True, []),
        ("processing", True, []),
        ("succeeded", True, []),
    ]
    assert not receiver.received


async def test_late_push_leaves_that_long_after_the_change(
    client: httpx.AsyncClient, world: World, clock: HandClock, receiver: Subscriber, callback_url: str, arrived: Arrived
) -> None:
    job_id = await create(client, "A boat [sandbox: late-push=3, seconds=0]", callback_url)
    await clock.move(2.9)
    assert not receiver.received
    await clock.move(0.2)
    await arrived(3)
    await world.quiet()
    job = world.jobs[job_id]
    assert {round(push.attempts[0].at - push.at, 1) for push in job.pushes} == {3.1}


async def test_push_twice_sends_the_same_bytes_twice(
    client: httpx.AsyncClient, world: World, callback_url: str, arrived: Arrived
) -> None:
    await create(client, "A boat [sandbox: push-twice, seconds=0]", callback_url)
    pushes = await arrived(6)
    assert [first.sha256 == second.sha256 for first, second in zip(pushes[::2], pushes[1::2], strict=True)] == [
        True
    ] * 3
    assert len({push.sha256 for push in pushes}) == 3


async def test_push_waits_until_the_one_before_it_is_given_up(
    client: httpx.AsyncClient, world: World, receiver: Subscriber, callback_url: str, arrived: Arrived
) -> None:
    world.knobs.push_timeout_seconds = 0.2
    receiver.answers.status, receiver.answers.times = None, 1
    job_id = await create(client, "A boat [sandbox: seconds=0]", callback_url)
    await arrived(2)
    assert [attempt.error for attempt in world.jobs[job_id].pushes[0].attempts] == ["TimeoutError"]


async def test_out_of_order_brings_the_end_first(
    client: httpx.AsyncClient, callback_url: str, arrived: Arrived
) -> None:
    await create(client, "A boat [sandbox: out-of-order, seconds=0]", callback_url)
    assert statuses(await arrived(3)) == ["succeeded", "processing", "submitted"]


async def test_push_before_reply_has_arrived_when_the_create_answers(
    client: httpx.AsyncClient, world: World, receiver: Subscriber, callback_url: str
) -> None:
    job_id = await create(client, "A boat [sandbox: push-before-reply, seconds=0]", callback_url)
    assert statuses(list(receiver.received)) == ["submitted", "processing", "succeeded"]
    assert [len(push.attempts) for push in world.jobs[job_id].pushes] == [1, 1, 1]


async def test_unknown_word_is_pushed_and_told_in_place_of_processing(
    client: httpx.AsyncClient, world: World, callback_url: str, arrived: Arrived
) -> None:
    job_id = await create(client, "A boat [sandbox: unknown-word]", callback_url)
    world.begin(job_id)
    [item] = await query(client, task_ids=job_id)
    world.finish(job_id)
    assert statuses(await arrived(3)) == ["submitted", "reviewing", "succeeded"]
    assert item["status"] == "reviewing"


async def test_no_output_succeeds_with_an_empty_list(client: httpx.AsyncClient, world: World) -> None:
    job_id = await create(client, "A boat [sandbox: no-output, seconds=0]")
    [item] = await query(client, task_ids=job_id)
    assert (item["status"], item["outputs"]) == ("succeeded", [])


async def test_push_by_hand_may_lie_and_returns_what_was_answered(
    client: httpx.AsyncClient, world: World, receiver: Subscriber, callback_url: str, arrived: Arrived
) -> None:
    job_id = await create(client, "A boat", callback_url)
    await arrived(1)
    receiver.answers.status, receiver.answers.times = 503, 1
    push = await world.push(job_id, "succeeded")
    assert push.attempts[0].status == 503
    assert orjson.loads(push.body)["outputs"]
    assert world.jobs[job_id].word == "submitted"


async def test_push_by_hand_needs_somewhere_to_push(client: httpx.AsyncClient, world: World) -> None:
    made = await create_at_ulazai(client)
    with pytest.raises(ValueError, match="nowhere to push"):
        await world.push(made["task_id"], "completed")


async def test_ended_job_takes_a_contradicting_verdict_by_hand(
    client: httpx.AsyncClient, world: World, callback_url: str, arrived: Arrived
) -> None:
    job_id = await create(client, "A boat", callback_url)
    world.finish(job_id)
    world.finish(job_id, failed=True)
    assert statuses(await arrived(3)) == ["submitted", "succeeded", "failed"]
    assert world.open["cloudsway"] == 0


async def test_step_of_the_script_serves_the_next_create(client: httpx.AsyncClient, world: World) -> None:
    world.script.creates.append(Step(directive="status=500"))
    assert (await client.post(TEXT, json=body())).status_code == 500
    assert (await client.post(TEXT, json=body())).status_code == 200


async def test_misspelt_prompt_uses_up_no_step(client: httpx.AsyncClient, world: World) -> None:
    world.script.creates.append(Step(directive="status=500"))
    assert (await client.post(TEXT, json=body("A boat [sandbox: oops]"))).status_code == 400
    assert (await client.post(TEXT, json=body())).status_code == 500


async def test_full_sandbox_refuses_rather_than_forgets(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_JOBS", 1)
    await create(client)
    reply = await client.post(TEXT, json={"prompt": "Another boat"})
    assert reply.status_code == 503 and "_sandbox/reset" in reply.json()["message"]


async def test_reset_forgets_all_but_never_reuses_an_id(client: httpx.AsyncClient, world: World) -> None:
    first = await create(client, "A boat [sandbox: seconds=600]")
    world.knobs.credits = 1
    world.book.change(Scope("acedata"), {"credits": 0})
    await world.reset()
    assert (world.jobs, world.accepted, world.accounts, world.book.own) == ({}, {}, {}, {})
    assert world.knobs.credits == Knobs().credits
    assert await query(client, task_ids=first) == []
    assert int(await create(client)) > int(first)


def plain_job(world: World, callback_url: str) -> Job:
    words = {phase: phase.value for phase in Phase}
    contract = Contract(
        name="plain", words=words, first=Phase.WAITING, counts_by="prompt", pushed=lambda job: {"status": job.word}
    )
    account = world.account("plain", "k")
    assert account is not None
    return Job(
        contract=contract,
        account=account,
        id=world.new_id(),
        prompt="A boat",
        asked={},
        directives=Directives(seconds=60),
        accepted_at=world.clock(),
        callback_url=callback_url,
    )


async def test_close_ends_jobs_and_pushes_under_way(world: World, receiver: Subscriber, callback_url: str) -> None:
    receiver.answers.status, receiver.answers.times = None, 1
    job = world.accept(plain_job(world, callback_url))
    async with asyncio.timeout(30):
        await receiver.until(1)
        await world.close()
    left = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "").startswith("World.")]
    assert left == []
    assert job.pushes[0].attempts == []


async def test_closed_world_counts_a_purchase_but_starts_nothing(world: World, callback_url: str) -> None:
    await world.close()
    job = world.accept(plain_job(world, callback_url))
    assert (world.accepted["plain"]["A boat"], job.pushes) == (1, [])
    world.open_up()
    assert world.accept(plain_job(world, callback_url)).pushes
    await world.close()
