from __future__ import annotations

import asyncio
from collections import Counter

import orjson
import pytest

from service.pipeline.settling import SETTLE_WITHIN, Settling
from service.sandbox.subscriber import Answers
from storage import endpoints
from storage.errors import StorageError
from storage.outbox import Settled
from storage.records import Attempt, LaneKind
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig, open_rig
from tests.service.pipeline.steps import ended, sending, soon
from tests.traps import lift_trap, set_trap


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
    while not worker._settling.giving_up:
        await worker.run_once()
        await worker.wait(0.05)
    while len(worker._senders) > 1:  # the first one hangs
        await asyncio.wait(worker._senders, return_when=asyncio.FIRST_COMPLETED)
    assert await worker.run_once() == 0
    for sender in list(worker._senders):
        sender.cancel()


async def test_gone_from_a_url_that_was_left_meanwhile_is_a_failure_and_tried_again_at_the_new_one(rig: Rig) -> None:
    project = await rig.project()
    assert rig.network is not None
    endpoint = await rig.endpoint(project, url=f"{rig.network.subscriber_url}/old")
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=410, times=1)
    worker = await sending(rig, endpoint)
    while not worker._settling.giving_up:
        await worker.run_once()
        await worker.wait(0.05)
    await rig.run("UPDATE endpoints SET url = :url", url=f"{rig.network.subscriber_url}/new")
    while worker._settling:
        await worker.run_once()
    assert await rig.rows("SELECT status FROM endpoints") == [("active",)]
    assert await rig.deliveries(endpoint) == [("pending", 1)]
    await rig.stretch(60)
    assert [(one.path, one.status) for one in rig.received()] == [("/old", 410), ("/new", 204)]
    assert await rig.deliveries(endpoint) == [("delivered", 2)]


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


async def test_a_lost_lane_settles_nothing_and_keeps_the_history_of_its_attempts(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    worker = await sending(rig, endpoint)
    await worker.run_once()
    await soon(rig.subscriber.until(1))
    await rig.run("UPDATE lanes SET epoch = epoch + 1, owner = 'another' WHERE kind = 'endpoint'")
    rig.clock.advance(1)
    async with asyncio.timeout(30):
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
    await set_trap(rig.database, "BEFORE INSERT", "attempts", text="disk full")
    rig.clock.advance(1)
    with pytest.raises(StorageError, match="disk full"):
        async with asyncio.timeout(30):
            while True:
                await worker.wait(0.1)
                await worker.run_once()
    assert not worker.idle
    await lift_trap(rig.database, "attempts")
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 1)]
    assert len(rig.received()) == 1


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
    await set_trap(rig.database, "BEFORE UPDATE OF health", "endpoints", text="health is written")
    for _ in range(5):
        await ended(rig, project)
    await rig.settle()
    assert Counter(status for status, _ in await rig.deliveries(endpoint)) == {"delivered": 6}


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


async def test_failures_that_a_person_forgave_meanwhile_are_neither_written_nor_acted_upon(still: Rig) -> None:
    endpoint = await still.endpoint(await still.project(), health='{"since":1}')
    worker = await still.worker(LaneKind.ENDPOINT, endpoint)
    stands = await still.database.read(lambda tx: endpoints.by_id(tx, endpoint))
    assert stands is not None
    settling = Settling(still.recorder)
    settling.follow(stands)
    settling._batch.disable = "no success for 5 days"
    await still.run("UPDATE endpoints SET health = NULL")
    await settling.write(worker.lane, worker.lane, stands, now=still.clock())
    assert await still.rows("SELECT status, health FROM endpoints") == [("active", None)]


def test_results_wait_for_company_by_no_clock_that_was_set_back(rig: Rig) -> None:
    attempt = Attempt(
        delivery_id="dlv_1", number=1, at=0, duration_ms=1, status_code=204, error_class=None, response_head=None
    )
    settling, now = Settling(rig.recorder), 10 * SECOND
    settling.add(Settled(delivery_id="dlv_1", was=0, since=None, status="delivered", due_at=None, attempt=attempt), now)
    assert settling.due_at(now + 1, more_to_come=True) == now + SETTLE_WITHIN
    assert settling.due_at(now - SECOND, more_to_come=True) == now - SECOND
