from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable
from dataclasses import replace
from itertools import pairwise

import orjson
import pytest
from standardwebhooks import Webhook

from service.core import signature
from service.core.observation import Claim
from service.core.schedule import RETRY_SCHEDULE
from service.pipeline import backlog
from service.pipeline.redelivery import send_sample
from service.pipeline.relay import EndpointLane
from service.sandbox.subscriber import Answers
from storage import endpoint_secrets
from storage.errors import StorageError
from storage.records import EndpointStatus, LaneKind, Task
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig, digest, open_rig


async def ended(rig: Rig, project: str, *, webhook: tuple[str, str, str | None] | None = None) -> Task:
    """A task that has just failed: one event that every endpoint wants. Its account's lane rests."""
    task = await rig.task(project, webhook=webhook)
    await rig.bound(task, f"job-{task.id}")
    await rig.see(task, Claim.FAILED, job=f"job-{task.id}")
    await rig.run("UPDATE lanes SET next_due_at = NULL WHERE kind = 'account'")
    return task


async def sending(rig: Rig, endpoint: str) -> EndpointLane:
    worker = await rig.worker(LaneKind.ENDPOINT, endpoint)
    assert isinstance(worker, EndpointLane)
    return worker


async def soon(awaited: Awaitable[object]) -> None:
    async with asyncio.timeout(5):
        await awaited


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


async def test_retry_after_slows_the_whole_endpoint_and_outlives_its_owner(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=1)
    for _ in range(5):
        await ended(rig, project)
    rig.subscriber.answers = Answers(status=429, times=1, headers={"retry-after": "600"})
    await rig.stretch(599)
    assert len(rig.received()) == 1
    lane = await rig.lane(LaneKind.ENDPOINT, endpoint)
    assert lane.held_until is not None and lane.held_until > rig.clock()
    rig.workers.clear()  # its owner dies; a successor starts with what is stored
    await rig.run("UPDATE lanes SET owner = NULL, until = 0")
    await rig.settle()
    assert len(rig.received()) == 1
    await rig.stretch(70)
    assert Counter(await rig.deliveries(endpoint)) == {("delivered", 1): 4, ("delivered", 2): 1}


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


async def test_gone_disables_the_endpoint_and_cancels_what_it_is_owed(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=1)
    for _ in range(4):
        await ended(rig, project)
    rig.subscriber.answers = Answers(status=410, times=1)
    await rig.stretch(600)
    assert len(rig.received()) == 1
    assert Counter(await rig.deliveries(endpoint)) == {("canceled", 1): 1, ("canceled", 0): 3}
    [(status, reason)] = await rig.rows("SELECT status, disabled_reason FROM endpoints WHERE id = :id", id=endpoint)
    assert status == "disabled" and "410" in str(reason)
    await ended(rig, project)
    await rig.settle()
    assert len(await rig.deliveries(endpoint)) == 4, "a disabled endpoint is owed nothing more"


async def test_after_gone_nothing_more_is_started_while_another_attempt_is_still_out(rig: Rig) -> None:
    """Its result waits for company, and a sender that is started only to find that out is a busy loop (simulation, seed 1094)."""
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=2)
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=None, times=1)
    worker = await sending(rig, endpoint)
    while await worker.run_once():
        pass
    await soon(rig.subscriber.until(1))
    rig.subscriber.answers = Answers(status=410, times=1)
    for _ in range(3):
        await ended(rig, project)
    while not worker._disable:
        await worker.run_once()
        await worker.wait(0.05)
    while len(worker._senders) > 1:  # the first one hangs
        await asyncio.wait(worker._senders, return_when=asyncio.FIRST_COMPLETED)
    assert await worker.run_once() == 0
    for sender in list(worker._senders):
        sender.cancel()


async def test_gone_never_disables_the_hidden_endpoint_of_many_urls(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    hidden = await rig.endpoint(project, url=rig.network.subscriber_url, hidden=True)
    first = (hidden, f"{rig.network.subscriber_url}/one", None)
    second = (hidden, f"{rig.network.subscriber_url}/two", None)
    rig.subscriber.answers = Answers(status=410, times=1)
    await ended(rig, project, webhook=first)
    await rig.settle()
    await ended(rig, project, webhook=second)
    await rig.settle()
    assert [(one.path, one.status) for one in rig.received()] == [("/one", 410), ("/two", 204)]
    assert await rig.deliveries(hidden) == [("canceled", 1), ("delivered", 1)]
    assert await rig.rows("SELECT status FROM endpoints WHERE id = :id", id=hidden) == [("active",)]


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


async def test_an_open_breaker_lets_one_probe_through_and_a_success_closes_it(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=4)
    for _ in range(40):
        await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=13)
    await rig.settle()
    opened = len(rig.received())
    assert 10 <= opened <= 13
    await rig.stretch(29)
    assert len(rig.received()) == opened
    while rig.subscriber.answers.times:
        before = len(rig.received())
        await rig.stretch(61)
        assert len(rig.received()) == before + 1 or not rig.subscriber.answers.times, "one probe at a time"
    await rig.stretch(400)
    assert Counter(status for status, _ in await rig.deliveries(endpoint)) == {"delivered": 40}
    assert (await rig.lane(LaneKind.ENDPOINT, endpoint)).breaker is None


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
    async with asyncio.timeout(10):
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


async def test_a_lost_lane_settles_nothing_and_keeps_the_history_of_its_attempts(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    worker = await sending(rig, endpoint)
    await worker.run_once()
    await soon(rig.subscriber.until(1))
    await rig.run("UPDATE lanes SET epoch = epoch + 1, owner = 'another' WHERE kind = 'endpoint'")
    rig.clock.advance(1)
    async with asyncio.timeout(5):
        while not worker.lost:
            await worker.wait(0.1)
            await worker.run_once()
    assert await rig.deliveries(endpoint) == [("pending", 0)]
    assert await rig.rows("SELECT number, status_code FROM attempts") == [(1, 204)]
    await rig.run("UPDATE lanes SET owner = NULL, until = 0")
    rig.workers.clear()
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 1)]
    assert await rig.rows("SELECT number, status_code FROM attempts") == [(1, 204)]
    first, second = rig.received()
    assert (first.webhook_id, first.sha256) == (second.webhook_id, second.sha256)


async def test_after_a_crash_between_the_answer_and_its_settlement_the_same_bytes_go_out_again(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    worker = await sending(rig, endpoint)
    await worker.run_once()
    await soon(rig.subscriber.until(1))
    rig.workers.clear()  # the process dies here
    second = await open_rig(rig.path, rig.clock, rig.network, owner="successor")
    try:
        await second.run("UPDATE lanes SET owner = NULL, until = 0")
        await second.settle()
    finally:
        await second.close()
    one, again = rig.received()
    assert (one.webhook_id, one.sha256) == (again.webhook_id, again.sha256)
    assert one.valid and again.valid
    assert await rig.deliveries(endpoint) == [("delivered", 1)]


async def test_results_that_cannot_be_written_are_kept_and_written_later(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    worker = await sending(rig, endpoint)
    await worker.run_once()
    await soon(rig.subscriber.until(1))
    await rig.run("CREATE TRIGGER full BEFORE INSERT ON attempts BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    rig.clock.advance(1)
    with pytest.raises(StorageError, match="disk full"):
        async with asyncio.timeout(5):
            while True:
                await worker.wait(0.1)
                await worker.run_once()
    assert not worker.idle
    await rig.run("DROP TRIGGER full")
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 1)]
    assert len(rig.received()) == 1


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


async def test_a_blocked_address_is_given_up_at_once(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, url="http://169.254.169.254/latest")
    await ended(rig, project)
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("exhausted", 1)]
    assert await rig.rows("SELECT error_class FROM attempts") == [("blocked",)]


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
    async with asyncio.timeout(5):
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


async def test_a_failing_endpoint_gets_ten_attempts_over_three_days_and_none_too_early(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(3)
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    worker = await sending(rig, endpoint)
    worker._desk = replace(worker._desk, chance=dice.random)
    began = rig.clock()
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=100)
    await rig.stretch(100 * 3600)
    assert await rig.deliveries(endpoint) == [("exhausted", 10)]
    times = [int(str(at)) for (at,) in await rig.rows("SELECT at FROM attempts ORDER BY number")]
    waits = [(after - before) / SECOND for before, after in pairwise(times)]
    for wait, promised in zip(waits, RETRY_SCHEDULE[1:], strict=True):
        assert promised <= wait <= promised * 1.1 + 61, "jitter only adds (and a breaker's pause)"
    assert times[-1] - began >= 72 * 3600 * SECOND


async def test_an_endpoint_has_its_own_schedule_and_headers(rig: Rig) -> None:
    sealed = rig.keyring.seal('{"x-shop":"eu"}', purpose="endpoint-headers", nonce=b"n" * 12)
    project = await rig.project()
    endpoint = await rig.endpoint(project, retry_schedule="[60,120]", headers=sealed)
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=100)
    await rig.stretch(1000)
    assert await rig.deliveries(endpoint) == [("exhausted", 3)]
    times = [int(str(at)) for (at,) in await rig.rows("SELECT at FROM attempts ORDER BY number")]
    assert [round((b - a) / SECOND) for a, b in pairwise(times)] == [60, 120]
    assert {one.headers["x-shop"] for one in rig.received()} == {"eu"}


async def test_an_endpoint_is_sent_to_at_its_rate(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, rate_limit=2, max_in_flight=8)
    for _ in range(20):
        await ended(rig, project)
    await rig.stretch(12)
    assert await rig.deliveries(endpoint) == [("delivered", 1)] * 20
    times = sorted(int(str(at)) for (at,) in await rig.rows("SELECT at FROM attempts"))
    assert all(later - earlier >= 4.9 * SECOND for earlier, later in zip(times, times[10:], strict=False))


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


async def test_an_endpoint_that_fails_for_days_is_warned_of_and_disabled_and_the_others_are_told(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    broken = await rig.endpoint(project, events="*")
    watcher = await rig.endpoint(project, url=f"{rig.network.subscriber_url}/watcher", events="endpoint.*")
    dead = f"{rig.network.subscriber_url.rsplit(':', 1)[0]}:9/hook"
    await rig.run("UPDATE endpoints SET url = :url WHERE id = :id", url=dead, id=broken)
    for _ in range(12):
        await ended(rig, project)
        await rig.stretch(12 * 3600)
    told = [orjson.loads(one.body) for one in rig.received()]
    assert [(one["type"], one["data"].get("patience_used")) for one in told] == [
        ("endpoint.failing", 50),
        ("endpoint.failing", 70),
        ("endpoint.failing", 90),
        ("endpoint.disabled", None),
    ]
    assert {one.path for one in rig.received()} == {"/watcher"}
    assert "5 days" in told[-1]["data"]["disabled_reason"]
    assert await rig.deliveries(watcher) == [("delivered", 1)] * 4
    assert {status for status, _ in await rig.deliveries(broken)} == {"exhausted", "canceled"}
    feed = await rig.rows("SELECT count(*) FROM events WHERE type LIKE 'endpoint.%'")
    assert feed == [(4,)]


async def test_one_success_forgets_the_failures_and_success_after_success_writes_nothing(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)

    async def health() -> object:
        [(found,)] = await rig.rows("SELECT health FROM endpoints WHERE id = :id", id=endpoint)
        return found

    await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=1)
    await rig.settle()
    assert await health() is not None
    await rig.stretch(60)
    assert await health() is None
    await rig.run("CREATE TABLE written (health TEXT)")
    await rig.run(
        "CREATE TRIGGER note AFTER UPDATE OF health ON endpoints BEGIN INSERT INTO written VALUES (new.health); END"
    )
    for _ in range(5):
        await ended(rig, project)
    await rig.settle()
    assert Counter(status for status, _ in await rig.deliveries(endpoint)) == {"delivered": 6}
    assert await rig.rows("SELECT count(*) FROM written") == [(0,)]


async def test_failures_are_remembered_by_the_next_owner_of_the_lane(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    rig.subscriber.answers = Answers(status=500, times=1000)
    for _ in range(2):
        await ended(rig, project)
        await rig.settle()
        rig.workers.clear()
        await rig.run("UPDATE lanes SET owner = NULL, until = 0")
        rig.clock.advance(13 * 3600)
    await rig.settle()
    [(found,)] = await rig.rows("SELECT health FROM endpoints WHERE id = :id", id=endpoint)
    assert orjson.loads(str(found))["windows"] == 2


async def test_a_refused_address_is_told_to_the_others_once(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    blocked = await rig.endpoint(project, url="http://169.254.169.254/latest", events="*")
    await rig.endpoint(project, url=f"{rig.network.subscriber_url}/watcher", events="endpoint.*")
    for _ in range(3):
        await ended(rig, project)
        await rig.settle()
    [told] = [orjson.loads(one.body) for one in rig.received()]
    assert (told["type"], told["data"]["id"]) == ("endpoint.failing", blocked)
    assert "blocked" in told["data"]["reason"]


async def test_a_hidden_endpoint_is_never_disabled_however_long_it_fails(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    hidden = await rig.endpoint(project, url="http://127.0.0.1", hidden=True)
    dead = f"{rig.network.subscriber_url.rsplit(':', 1)[0]}:9/hook"
    for _ in range(12):
        await ended(rig, project, webhook=(hidden, dead, None))
        await rig.stretch(12 * 3600)
    rig.subscriber.answers = Answers(status=410, times=1)
    await ended(rig, project, webhook=(hidden, f"{rig.network.subscriber_url}/gone", None))
    await ended(rig, project, webhook=(hidden, "http://169.254.169.254/latest", None))
    await rig.stretch(60)
    row = await rig.rows("SELECT status, health FROM endpoints WHERE id = :id", id=hidden)
    assert row == [("active", None)]
    assert await rig.rows("SELECT count(*) FROM events WHERE type LIKE 'endpoint.%'") == [(0,)]


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


async def test_a_test_that_is_told_the_receiver_is_gone_disables_nothing(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    rig.subscriber.answers = Answers(status=410, times=1)
    await send_sample(rig.recorder, endpoint, project)
    await rig.settle()
    assert await rig.rows("SELECT status FROM endpoints") == [("active",)]
