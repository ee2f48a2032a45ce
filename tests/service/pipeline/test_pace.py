from __future__ import annotations

from collections import Counter

from service.pipeline.pace import Pace
from service.sandbox.subscriber import Answers
from storage.records import Lane, LaneKind
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended


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
