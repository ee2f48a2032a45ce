from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from service.pipeline.pace import Pace
from service.sandbox.subscriber import Answers
from storage import lanes
from storage.records import Lane, LaneKind
from tests.service.net.servers import Peer, serving
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended, sending, soon


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


async def test_an_endpoint_is_sent_to_at_its_rate(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, rate_limit=2, max_in_flight=8)
    for _ in range(20):
        await ended(rig, project)
    await rig.stretch(12)
    assert await rig.deliveries(endpoint) == [("delivered", 1)] * 20
    times = sorted(int(str(at)) for (at,) in await rig.rows("SELECT at FROM attempts"))
    assert all(later - earlier >= 4.9 * SECOND for earlier, later in zip(times, times[10:], strict=False))


def test_a_pace_keeps_the_longest_pause_and_what_it_knows_reaches_the_row_only_when_it_changed() -> None:
    lane = Lane(kind=LaneKind.ENDPOINT, key="ep_1", epoch=1)
    pace = Pace(lane)
    assert pace.onto(lane, 0) is lane, "nothing to write"
    pace.slow(10 * SECOND)
    pace.slow(4 * SECOND)
    pace.slow(None)
    assert pace.open_at(0) == 10 * SECOND and not pace.take(9 * SECOND) and pace.take(10 * SECOND)
    stored = pace.onto(lane, 0)
    assert (stored.held_until, stored.breaker) == (10 * SECOND, None)
    assert pace.onto(stored, 0) is stored
    assert pace.onto(stored, 10 * SECOND).held_until is None, "a pause that is over is not kept"
    assert Pace(stored).open_at(0) == 10 * SECOND


def test_a_rate_that_stays_goes_on_and_a_new_owner_starts_with_none_saved_up() -> None:
    pace = Pace(Lane(kind=LaneKind.ENDPOINT, key="ep_1", epoch=1))
    pace.follow(1, 0)
    assert not pace.take(0)
    pace.follow(1, SECOND)  # the endpoint was read again
    assert pace.take(SECOND) and not pace.take(SECOND)
    assert pace.open_at(SECOND) == 2 * SECOND
    pace.follow(None, SECOND)
    assert pace.take(SECOND)


@pytest.mark.parametrize("held", [True, False])
async def test_a_person_s_word_ends_the_pause_that_an_endpoint_asked_for(rig: Rig, held: bool) -> None:
    """`held`: by an owner who has the pause in memory; or nobody owns its lane."""
    project = await rig.project()
    endpoint = await rig.endpoint(project, max_in_flight=1)
    for _ in range(3):
        await ended(rig, project)
    rig.subscriber.answers = Answers(status=503, times=1, headers={"retry-after": "86400"})
    await rig.stretch(60)
    assert len(rig.received()) == 1
    if not held:
        rig.workers.clear()
        await rig.run("UPDATE lanes SET owner = NULL, until = 0 WHERE kind = 'endpoint'")
    await rig.database.write(lambda tx: lanes.forgive(tx, endpoint, now=rig.clock()))
    rig.ring(LaneKind.ENDPOINT, endpoint)
    await rig.stretch(1)
    assert Counter(await rig.deliveries(endpoint)) == {("delivered", 1): 2, ("pending", 1): 1}
    assert (await rig.lane(LaneKind.ENDPOINT, endpoint)).held_until is None


async def test_a_pause_that_is_forgiven_while_the_lane_is_given_back_does_not_come_back(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=503, times=1, headers={"retry-after": "86400"})
    await rig.stretch(60)
    worker = await sending(rig, endpoint)
    await rig.database.write(lambda tx: lanes.forgive(tx, endpoint, now=rig.clock()))
    due = await rig.database.read(worker.next_due)
    assert due is not None and due == int(str((await rig.rows("SELECT due_at FROM deliveries"))[0][0]))
    assert (worker.lane.held_until, worker.lane.breaker) == (None, None)


async def test_what_an_old_url_asks_for_does_not_slow_the_new_one(rig: Rig) -> None:
    asked, moved = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await moved.wait()
        await peer.say(b"HTTP/1.1 429 Slower\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n")

    assert rig.network is not None
    project = await rig.project()
    async with serving(slow) as old:
        endpoint = await rig.endpoint(project, url=f"http://127.0.0.1:{old.port}/old")
        await ended(rig, project)
        worker = await sending(rig, endpoint)
        while await worker.run_once():
            pass
        await soon(asked.wait())
        await rig.run("UPDATE endpoints SET url = :url", url=f"{rig.network.subscriber_url}/new")
        worker.ring(rig.clock())
        await worker.run_once()
        moved.set()
        await rig.settle()
        await ended(rig, project)
        await rig.settle()
    assert await rig.deliveries(endpoint) == [("pending", 1), ("delivered", 1)]
    [(due,)] = await rig.rows("SELECT due_at FROM deliveries WHERE status = 'pending'")
    assert int(str(due)) <= rig.clock() + 5 * SECOND, "it is tried where the endpoint is now"


def test_a_clock_that_is_set_back_shuts_no_endpoint() -> None:
    hour = 3600 * SECOND
    pace = Pace(Lane(kind=LaneKind.ENDPOINT, key="ep_1", epoch=1))
    for _ in range(10):
        pace.answered(100 * hour, well=False)
    assert pace.shut and not pace.take(100 * hour)
    assert pace.open_at(90 * hour) == 90 * hour and pace.take(90 * hour)
    pace.slow(124 * hour)
    assert pace.open_at(90 * hour) == 90 * hour + 24 * hour, "as long as anybody may ask for, and not longer"
