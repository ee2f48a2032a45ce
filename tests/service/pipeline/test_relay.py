from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import replace

import orjson
import pytest
from standardwebhooks import Webhook

from service.core import signature
from service.core.observation import Claim
from service.core.schedule import RETRY_SCHEDULE
from service.pipeline import backlog, redelivery
from service.pipeline.audit_trail import Act
from service.sandbox.subscriber import Answers
from storage import endpoint_secrets
from storage.records import EndpointStatus
from tests.service.net.servers import OK, Peer, serving
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig, digest
from tests.service.pipeline.steps import ended, sending, soon


async def test_what_is_sent_verifies_with_the_published_library(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project)
    hidden = await rig.endpoint(project, url="http://127.0.0.1", hidden=True)
    assert rig.network is not None
    await ended(rig, project, webhook=(hidden, f"{rig.network.subscriber_url}/per-task?k=1", None))
    await rig.settle()
    received = {one.path: one for one in rig.received()}
    assert set(received) == {"/hook", "/per-task"}
    [project_secret, endpoint_secret] = rig.trusted
    for path, secret in (("/hook", endpoint_secret), ("/per-task", project_secret)):
        one = received[path]
        told = Webhook(secret).verify(one.body.encode(), dict(one.headers))
        assert told["type"] == "task.failed"
    [(body,)] = await rig.rows("SELECT body FROM events WHERE type = 'task.failed'")
    assert {one.sha256 for one in rig.received()} == {digest(body)}  # type: ignore[arg-type]


async def test_a_failing_subscriber_is_retried_by_the_schedule_and_given_up(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=100)
    await rig.settle()
    waits = []
    for attempt in range(1, len(RETRY_SCHEDULE)):
        assert await rig.deliveries(endpoint) == [("pending", attempt)]
        [(due,)] = await rig.rows("SELECT due_at FROM deliveries")
        waits.append(round((int(str(due)) - rig.clock()) / SECOND))
        rig.clock.now = max(int(str(due)), rig.clock() + 70 * SECOND)  # past a breaker's pause too
        await rig.settle()
    assert waits[:3] == [5, 300, 1800]
    assert await rig.deliveries(endpoint) == [("exhausted", 10)]
    assert len({one.webhook_id for one in rig.received()}) == len({one.sha256 for one in rig.received()}) == 1
    assert [one.headers["taskrelay-attempt"] for one in rig.received()] == [str(n) for n in range(1, 11)]
    kept = await rig.rows("SELECT number, status_code, error_class FROM attempts ORDER BY number")
    assert kept == [(number, 500, "http") for number in range(1, 11)]
    await rig.stretch(86_400)
    assert len(rig.received()) == 10


@pytest.mark.parametrize(("made", "last"), [(0, False), (9, True)])
async def test_sending_again_by_hand_is_not_undone_by_the_attempt_under_way(rig: Rig, made: int, last: bool) -> None:
    answering = asyncio.Event()

    async def slow(peer: Peer) -> None:
        while await peer.request():
            await answering.wait()
            await peer.say(b"HTTP/1.1 500 Sorry\r\ncontent-length: 0\r\n\r\n" if len(seen.requests) == 1 else OK)

    project = await rig.project()
    async with serving(slow) as seen:
        endpoint = await rig.endpoint(project, url=f"http://127.0.0.1:{seen.port}/")
        await ended(rig, project)
        await rig.run("UPDATE deliveries SET attempts = :made", made=made)
        worker = await sending(rig, endpoint)
        while not seen.requests:
            await worker.run_once()
            await worker.wait(0.01)
        rig.clock.now += SECOND
        [(id,)] = await rig.rows("SELECT id FROM deliveries")
        act = Act(action="retry", key_id="key_1")
        await redelivery.retry(rig.recorder, str(id), project, act)
        answering.set()
        await rig.settle()
        assert await rig.deliveries(endpoint) == [("delivered", made + 2)]


async def test_what_waits_long_is_forgotten_and_its_lane_can_be_given_back(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=1)
    for _ in range(5):
        await ended(rig, project)
    rig.subscriber.answers = Answers(status=503, times=1, headers={"retry-after": "600"})
    await rig.settle()
    worker = await sending(rig, endpoint)
    assert worker.idle
    due = await rig.database.read(worker.next_due)
    assert due is not None and due >= rig.clock() + 590 * SECOND


async def test_no_more_attempts_are_in_flight_than_the_endpoint_allows(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=3)
    for _ in range(10):
        await ended(rig, project)
    rig.subscriber.answers = Answers(status=None, times=100)  # each hangs
    worker = await sending(rig, endpoint)
    while await worker.run_once():
        pass
    await soon(rig.subscriber.until(3))
    assert await worker.run_once() == 0
    assert len(rig.received()) == 3
    assert worker.next_at() is None
    for sender in list(worker._senders):
        sender.cancel()


async def test_a_cap_that_is_lowered_holds_for_what_waits_already(rig: Rig) -> None:
    answering = asyncio.Semaphore(0)

    async def slow(peer: Peer) -> None:
        while await peer.request():
            await answering.acquire()
            await peer.say(OK)

    async def turn_until_asked(times: int) -> None:
        while len(seen.requests) < times:
            await worker.run_once()
            await worker.wait(0.01)

    project = await rig.project()
    async with serving(slow) as seen:
        endpoint = await rig.endpoint(project, url=f"http://127.0.0.1:{seen.port}/", max_in_flight=4)
        for _ in range(12):
            await ended(rig, project)
        worker = await sending(rig, endpoint)
        await soon(turn_until_asked(4))
        await rig.run("UPDATE endpoints SET max_in_flight = 1")
        worker.ring(rig.clock())
        await worker.run_once()
        for _ in range(4):
            answering.release()
        await soon(turn_until_asked(5))
        assert len(worker._senders) == 1
        for _ in range(8):
            answering.release()
        await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 1)] * 12


async def test_events_of_a_task_start_in_order_however_they_come(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project, events="task.*", max_in_flight=1)
    made = [await rig.task(project) for _ in range(20)]
    await rig.run("UPDATE lanes SET next_due_at = NULL WHERE kind = 'account'")
    dice = random.Random(5)
    for step in range(3):
        for task in made:
            if step == 0:
                await rig.bound(task, f"job-{task.id}")
            else:
                await rig.see(task, (Claim.RUNNING, Claim.FAILED)[step - 1], job=f"job-{task.id}")
            await rig.run("UPDATE lanes SET next_due_at = NULL WHERE kind = 'account'")
            if dice.random() < 0.2:
                await rig.settle()
    await rig.settle()
    seen: dict[str, list[int]] = defaultdict(list)
    for one in rig.received():
        told = orjson.loads(one.body)["data"]
        seen[told["id"]].append(told["sequence"])
    assert list(seen.values()) == [[1, 2, 3]] * 20


@pytest.mark.parametrize("seed", range(4))
async def test_no_delivery_is_sent_twice_whether_handed_over_or_read(
    rig: Rig, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits, reads, sends and settlements in random order, with a memory so small that both ways are used."""
    monkeypatch.setattr(backlog, "FIRST_ROOM", 6)
    monkeypatch.setattr(backlog, "AGAIN_ROOM", 2)
    dice = random.Random(seed)
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=dice.choice((1, 3)))
    worker = await sending(rig, endpoint)
    turning = True

    async def turn() -> None:
        while turning or not worker.idle:
            await worker.run_once()
            rig.clock.now += dice.choice((1, 10_000))
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            if not turning:
                await worker.wait(0.01)

    turns = asyncio.create_task(turn())
    for _ in range(25):
        await ended(rig, project)
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)
    turning = False
    async with asyncio.timeout(60):
        await turns
    await rig.settle()
    assert Counter(await rig.deliveries(endpoint)) == {("delivered", 1): 25}
    assert Counter(Counter(one.webhook_id for one in rig.received()).values()) == {1: 25}


async def test_a_delivery_that_comes_while_the_rows_are_read_is_not_forgotten(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    worker = await sending(rig, endpoint)
    read = rig.database.read

    async def reading(unit):  # type: ignore[no-untyped-def]
        answer = await read(unit)
        rig.database.read = read  # type: ignore[method-assign]
        await ended(rig, project)
        worker._next_due_at = None  # nobody rings for what is handed over
        return answer

    rig.database.read = reading  # type: ignore[method-assign]
    await worker.run_once()
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 1)]


async def test_a_paused_endpoint_is_sent_nothing_more_not_even_what_was_ready(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=1)
    await ended(rig, project)
    await rig.settle()
    worker = await sending(rig, endpoint)
    await rig.run("UPDATE endpoints SET status = 'paused' WHERE id = :id", id=endpoint)
    rig.clock.advance(3)
    for _ in range(3):
        await ended(rig, project)
    await rig.settle()
    assert len(rig.received()) == 1
    assert worker.idle, "its lane can be given back"
    assert await rig.database.read(worker.next_due) is None
    await rig.run("UPDATE endpoints SET status = 'active' WHERE id = :id", id=endpoint)
    worker.ring(rig.clock())
    await rig.settle()
    assert Counter(await rig.deliveries(endpoint)) == {("delivered", 1): 4}


async def test_a_change_of_the_endpoint_is_seen_within_seconds_though_nobody_rings(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    assert rig.network is not None
    await ended(rig, project)
    await rig.settle()
    await rig.run(
        "UPDATE endpoints SET url = :url WHERE id = :id", url=f"{rig.network.subscriber_url}/new", id=endpoint
    )
    rig.clock.advance(3)
    await ended(rig, project)
    await rig.settle()
    assert [one.path for one in rig.received()] == ["/hook", "/new"]


async def test_a_secret_that_cannot_be_read_is_said_and_nothing_is_signed_with_it(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    worker = await sending(rig, endpoint)
    whole = worker._desk
    worker._desk = replace(whole, unseal=lambda sealed, purpose: "whsec_")
    with pytest.raises(ValueError, match="signing secret"):
        await worker.run_once()
    assert rig.received() == []
    worker._desk = whole
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 1)]


async def test_nothing_is_started_that_could_outlive_the_lease(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    worker = await sending(rig, endpoint)
    worker.lane = replace(worker.lane, until=rig.clock() + 19 * SECOND)
    while await worker.run_once():
        pass
    assert rig.received() == [] and not worker._senders
    worker.lane = replace(worker.lane, until=rig.clock() + 60 * SECOND)
    await rig.settle()
    assert len(rig.received()) == 1


async def test_one_hanging_endpoint_holds_nobody_up(rig: Rig) -> None:
    project, other = await rig.project(), await rig.project()
    hanging = await rig.endpoint(project, max_in_flight=2)
    healthy = await rig.endpoint(other)
    for _ in range(5):
        await ended(rig, project)
    rig.subscriber.answers = Answers(status=None, times=2)
    worker = await sending(rig, hanging)
    while await worker.run_once():
        pass
    await soon(rig.subscriber.until(2))
    for _ in range(5):
        await ended(rig, other)
    second = await sending(rig, healthy)
    async with asyncio.timeout(30):
        while await rig.deliveries(healthy) != [("delivered", 1)] * 5:
            rig.clock.now += 10_000
            await second.run_once()
            await second.wait(0.05)
    for sender in list(worker._senders):
        sender.cancel()


async def test_an_endpoint_paused_before_it_was_ever_sent_to_keeps_what_it_is_owed(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, status=EndpointStatus.PAUSED)
    await ended(rig, project)
    await rig.stretch(3600)
    assert rig.received() == []
    assert await rig.deliveries(endpoint) == [("pending", 0)]


# Manners and health of an endpoint


async def test_first_attempts_are_not_starved_by_retries_nor_retries_by_them(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=1)
    for _ in range(150):
        await ended(rig, project)
    await rig.run("UPDATE deliveries SET attempts = 1, due_at = due_at - 1000000000")
    for _ in range(150):
        await ended(rig, project)
    await rig.settle()
    assert {status for status, _ in await rig.deliveries(endpoint)} == {"delivered"}
    order = [one.headers["taskrelay-attempt"] for one in rig.received()]
    assert 20 <= order[:100].count("2") <= 30, "every fourth"


async def test_an_event_that_cannot_be_made_is_quarantined_and_holds_nobody_up(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=1)
    await ended(rig, project)
    rig.touched = True
    await rig.run("UPDATE events SET id = 'evt.bad' WHERE type = 'task.failed'")
    await rig.run("UPDATE deliveries SET event_id = 'evt.bad'")
    for _ in range(3):
        await ended(rig, project)
    await rig.stretch(1)
    assert Counter(await rig.deliveries(endpoint)) == {("pending", 1): 1, ("delivered", 1): 3}
    await rig.stretch(3600)
    assert Counter(await rig.deliveries(endpoint)) == {("quarantined", 3): 1, ("delivered", 1): 3}
    assert len(rig.received()) == 3
    [(health,)] = await rig.rows("SELECT health FROM endpoints WHERE id = :id", id=endpoint)
    assert health is None, "the endpoint has done nothing wrong"


async def test_nothing_leaves_after_the_lease_though_it_was_ready(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, expires_at=rig.clock() + 60 * SECOND)
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=1)
    await rig.settle()
    await rig.stretch(4)
    await rig.run("UPDATE endpoints SET expires_at = :now WHERE id = :id", now=rig.clock(), id=endpoint)
    await rig.stretch(60)
    assert len(rig.received()) == 1
    assert await rig.deliveries(endpoint) == [("pending", 1)]


async def test_a_rotation_is_followed_by_a_running_lane_to_the_end_of_its_overlap(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    await rig.settle()
    new = signature.new_secret(b"n" * 24)
    sealed = rig.keyring.seal(new, purpose="endpoint-secret", nonce=b"n" * 12)
    now = rig.clock()
    await rig.database.write(
        lambda tx: endpoint_secrets.rotate(tx, endpoint, sealed, now=now, retires_at=now + 9 * SECOND, most=10)
    )
    for seconds in (3, 6):
        rig.clock.advance(seconds)
        await ended(rig, project)
        await rig.settle()
    before, during, after = [one.headers["webhook-signature"].split() for one in rig.received()]
    assert [len(one) for one in (before, during, after)] == [1, 2, 1]
    last = rig.received()[-1]
    assert Webhook(new).verify(last.body.encode(), dict(last.headers))


@pytest.mark.parametrize("rung", [True, False])
async def test_a_pause_is_heard_within_seconds_however_much_waits_in_memory(
    rig: Rig, rung: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "FIRST_ROOM", 4)
    monkeypatch.setattr(backlog, "AGAIN_ROOM", 4)
    project = await rig.project()
    endpoint = await rig.endpoint(project, rate_limit=1)
    for _ in range(4):
        await ended(rig, project)
    await rig.run("UPDATE deliveries SET attempts = 1")
    for _ in range(4):
        await ended(rig, project)
    worker = await sending(rig, endpoint)
    await rig.settle()
    await rig.stretch(1)
    assert len(rig.received()) == 1 and len(worker._backlog) == 7
    await rig.run("UPDATE endpoints SET status = 'paused' WHERE id = :id", id=endpoint)
    if rung:
        worker.ring(rig.clock())
    else:
        rig.clock.advance(2)
    await rig.stretch(60)
    assert len(rig.received()) == 1
    assert worker.idle, "its lane can be given back"


async def test_one_delivery_starts_one_sender(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=8)
    await ended(rig, project)
    worker = await sending(rig, endpoint)
    while await worker.run_once():
        pass
    assert len(worker._senders) == 1
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 1)]
