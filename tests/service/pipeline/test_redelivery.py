from __future__ import annotations

import pytest

from service.core.observation import Claim
from service.pipeline import redelivery
from service.pipeline.audit_trail import Act
from service.pipeline.redelivery import Inactive, Replayed, TooSoon, replay_failed, replay_missing, retry, send_sample
from service.sandbox.subscriber import Answers
from storage import endpoints
from storage.records import Endpoint, EndpointStatus, LaneKind
from tests.service.net.servers import Peer, closed_port, serving
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended

BY_HAND = Act(action="retry", key_id="key_1")


async def stored(rig: Rig, endpoint: str) -> Endpoint:
    found = await rig.database.read(lambda tx: endpoints.by_id(tx, endpoint))
    assert found is not None
    return found


async def missing(rig: Rig, endpoint: str, since: int) -> Replayed:
    return await replay_missing(rig.recorder, rig.database, await stored(rig, endpoint), since)


@pytest.mark.parametrize("batch", [1, 2, 500])
async def test_what_was_missed_is_sent_once_and_nothing_else(
    rig: Rig, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "BATCH", batch)
    project, stranger = await rig.project(), await rig.project()
    for owner in (project, stranger, project):
        rig.clock.advance(1)
        await ended(rig, owner)
    rig.clock.advance(1)
    since = rig.clock()
    late = await rig.endpoint(project, filter='{"metadata":{"shop":["eu"]}}')
    everything = await rig.endpoint(project, events="task.failed")
    await ended(rig, project)
    for metadata in ('{"shop":"eu"}', '{"shop":"us"}'):
        task = await rig.task(project, metadata=metadata)
        await rig.bound(task, task.id)
        await rig.run("UPDATE endpoints SET status = 'disabled'")
        await rig.see(task, Claim.FAILED, job=task.id)
        await rig.run("UPDATE endpoints SET status = 'active'")
    await rig.run("UPDATE lanes SET next_due_at = NULL WHERE kind = 'account'")
    assert await missing(rig, late, 0) == Replayed(count=1)
    assert await missing(rig, everything, since) == Replayed(count=2)
    assert await missing(rig, everything, since) == Replayed(count=0)
    assert await missing(rig, everything, 0) == Replayed(count=2), "those of before"
    await rig.settle()
    ids = [one.webhook_id for one in rig.received() if one.headers["taskrelay-event"] == "task.failed"]
    assert len(set(ids)) == 5 and len(ids) == 6


async def test_a_large_replay_stops_and_says_where_to_go_on(still: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redelivery, "BATCH", 2)
    monkeypatch.setattr(redelivery, "MOST_OWED", 2)
    project = await still.project()
    for _ in range(3):
        still.clock.advance(1)
        await ended(still, project)
    endpoint = await still.endpoint(project, events="task.failed")
    counts, since = [], 0
    while True:
        done = await missing(still, endpoint, since)
        counts.append(done.count)
        if done.next_since is None:
            break
        assert done.next_since > since
        since = done.next_since
    assert sum(counts) == 3 and len(counts) > 1


async def test_what_was_given_up_is_sent_again_with_its_id_bytes_and_a_whole_schedule(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, retry_schedule="[1]")
    start = rig.clock()
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=3)
    await rig.stretch(60)
    assert await rig.deliveries(endpoint) == [("exhausted", 2)]
    assert (await replay_failed(rig.recorder, await stored(rig, endpoint), start)).count == 1
    assert (await replay_failed(rig.recorder, await stored(rig, endpoint), start)).count == 0
    await rig.stretch(60)
    assert await rig.deliveries(endpoint) == [("delivered", 4)]
    assert len({(one.webhook_id, one.sha256) for one in rig.received()}) == 1
    assert [one.headers["taskrelay-attempt"] for one in rig.received()] == ["1", "2", "3", "4"]


async def test_a_delivery_is_retried_by_hand_though_it_was_delivered(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    await rig.settle()
    [(id,)] = await rig.rows("SELECT id FROM deliveries")
    again = await retry(rig.recorder, str(id), project, BY_HAND)
    assert again is not None and again.status == "pending"
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("delivered", 2)]
    first, second = rig.received()
    assert (first.webhook_id, first.sha256) == (second.webhook_id, second.sha256)
    assert await retry(rig.recorder, str(id), await rig.project(), BY_HAND) is None


async def test_a_per_task_urls_delivery_is_retried_by_hand(rig: Rig) -> None:
    project = await rig.project()
    hidden = await rig.endpoint(project, url="http://127.0.0.1", hidden=True)
    assert rig.network is not None
    await ended(rig, project, webhook=(hidden, f"{rig.network.subscriber_url}/mine", None))
    await rig.settle()
    [(id,)] = await rig.rows("SELECT id FROM deliveries")
    await retry(rig.recorder, str(id), project, BY_HAND)
    await rig.settle()
    assert [one.path for one in rig.received()] == ["/mine", "/mine"]


@pytest.mark.parametrize("more", [{"status": EndpointStatus.DISABLED}, {"expires_at": 1}])
async def test_nothing_is_owed_to_one_that_is_not_sent_to(still: Rig, more: dict[str, object]) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project)
    await ended(still, project)
    [(id,)] = await still.rows("SELECT id FROM deliveries")
    for column, value in more.items():
        await still.run(f"UPDATE endpoints SET {column} = :value", value=value)  # noqa: S608
    with pytest.raises(Inactive):
        await retry(still.recorder, str(id), project, BY_HAND)
    with pytest.raises(Inactive):
        await send_sample(still.recorder, endpoint, project)


@pytest.mark.parametrize("gone", ["deleted", "disabled"])
async def test_a_replay_owes_nothing_to_one_that_went_away_since_it_was_read(still: Rig, gone: str) -> None:
    project = await still.project()
    await ended(still, project)
    endpoint = await still.endpoint(project)
    as_read = await stored(still, endpoint)
    await ended(still, project)
    await still.run("UPDATE deliveries SET status = 'canceled', due_at = NULL")
    await still.run("UPDATE endpoints SET status = 'disabled'" + (", deleted_at = 1" if gone == "deleted" else ""))  # noqa: S608
    with pytest.raises(Inactive):
        await replay_missing(still.recorder, still.database, as_read, 0)
    with pytest.raises(Inactive):
        await replay_failed(still.recorder, as_read, 0)
    assert await still.rows("SELECT id FROM deliveries WHERE status = 'pending'") == []


async def test_a_sample_goes_the_way_of_events_once_and_leaves_no_trace_of_the_receiver(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, filter='{"model":["none"]}')
    other = await rig.endpoint(project, events="*")
    made = await send_sample(rig.recorder, endpoint, project)
    assert made is not None
    await rig.settle()
    [one] = rig.received()
    assert one.valid and one.headers["taskrelay-event"] == "task.succeeded"
    assert '"test":true' in one.body
    assert (await missing(rig, other, 0)).count == 0
    assert await rig.deliveries(other) == []
    with pytest.raises(TooSoon) as soon:
        await send_sample(rig.recorder, endpoint, project)
    assert soon.value.seconds == 6
    rig.clock.advance(6)
    rig.subscriber.answers = Answers(status=500, times=1)
    await send_sample(rig.recorder, endpoint, project)
    await rig.stretch(86_400)
    assert await rig.deliveries(endpoint) == [("delivered", 1), ("exhausted", 1)]
    rows = await rig.rows("SELECT duration_ms, response_head, error_class FROM attempts ORDER BY at")
    assert rows == [(None, None, None), (None, None, "http")]
    assert (await stored(rig, endpoint)).health is None, "a test says nothing about its health"
    assert await send_sample(rig.recorder, endpoint, await rig.project()) is None


async def test_a_sample_cannot_be_repeated_past_its_rate(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, url=f"http://127.0.0.1:{closed_port()}/")
    made = await send_sample(rig.recorder, endpoint, project)
    assert made is not None
    await rig.settle()
    with pytest.raises(Inactive, match="It was a test"):
        await retry(rig.recorder, made.id, project, BY_HAND)
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("exhausted", 1)]


@pytest.mark.parametrize("trouble", ["refused", "reset", "timeout"])
async def test_of_a_sample_nobody_learns_why_there_was_no_connection(rig: Rig, trouble: str) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.gone() if trouble == "timeout" else peer.reset()

    rig.sender._timeout_seconds = 0.2
    async with serving(behave) as seen:
        port = closed_port() if trouble == "refused" else seen.port
        project = await rig.project()
        endpoint = await rig.endpoint(project, url=f"http://127.0.0.1:{port}/")
        await send_sample(rig.recorder, endpoint, project)
        await rig.settle()
    rows = await rig.rows("SELECT status_code, duration_ms, response_head, error_class FROM attempts")
    assert rows == [(None, None, None, "connect")]


async def test_a_sample_handed_to_a_running_lane_is_marked_too(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    await ended(rig, project)
    await rig.settle()
    assert (LaneKind.ENDPOINT, endpoint) in rig.workers
    sample = await send_sample(rig.recorder, endpoint, project)
    await rig.settle()
    assert sample is not None
    assert await rig.rows("SELECT duration_ms FROM attempts WHERE delivery_id = :id", id=sample.id) == [(None,)]
