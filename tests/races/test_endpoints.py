"""What people order of endpoints and accounts at one replica, while another settles, sweeps, records or orders the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from service.core.events import EventType
from service.core.observation import Claim
from service.pipeline import account_events
from service.pipeline.ledger import Ledger
from service.pipeline.redelivery import TooSoon, send_sample
from service.pipeline.settling import Settling
from service.pipeline.sweep import Sweep
from storage import durations, endpoint_secrets, endpoints, outbox, signing_keys
from storage.database import Connection
from storage.durations import Kind
from storage.records import Endpoint, EndpointSecret, LaneKind, Output, SigningKey
from tests.races.replicas import hand
from tests.service.pipeline.rig import Rig

pytestmark = pytest.mark.slow

VIDEO = (Output(url="https://cdn.example.net/a.mp4"),)


def made(rig: Rig, project: str) -> Endpoint:
    now = rig.clock()
    return Endpoint(id=rig.mint("ep"), project_id=project, url="https://a.example/", created_at=now, updated_at=now)


async def test_a_project_has_no_endpoint_more_than_it_may(replicas: tuple[Rig, Rig], address: str) -> None:
    one, two = replicas
    project = await one.project()
    async with hand(address) as third:
        await third.run("LOCK TABLE subscriptions IN EXCLUSIVE MODE")  # whoever has counted stops here
        adding = [
            asyncio.create_task(
                rig.database.write(lambda tx, rig=rig: endpoints.insert_within(tx, made(rig, project), most=1))  # type: ignore[misc]
            )
            for rig in (one, two)
        ]
        await third.stopped(2)
    assert sorted(await asyncio.gather(*adding)) == [False, True]
    assert await one.database.read(lambda tx: endpoints.count(tx, project)) == 1


async def test_what_is_owed_to_an_endpoint_while_it_goes_is_canceled_by_its_lane(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    project = await one.project()
    endpoint = await one.endpoint(project)
    task = await one.task(project)
    await one.bound(task)
    async with hand(address) as third:
        await third.run("LOCK TABLE events IN EXCLUSIVE MODE")  # who wants it has been read, and it is not stored yet
        telling = asyncio.create_task(one.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO))
        await third.stopped()

        async def delete(tx: Connection) -> None:
            assert await endpoints.delete(tx, endpoint, project, now=two.clock())
            await outbox.cancel_pending(tx, endpoint, now=two.clock())

        await two.database.write(delete)
    await telling
    assert await one.deliveries(endpoint) == [("pending", 0)]
    worker = await two.worker(LaneKind.ENDPOINT, endpoint)
    await worker.run_once()
    assert await two.database.write(worker.next_due) is None
    assert await one.deliveries(endpoint) == [("canceled", 0)]


async def test_a_lease_that_is_renewed_while_it_is_swept_stays(replicas: tuple[Rig, Rig], address: str) -> None:
    one, _ = replicas
    project = await one.project()
    endpoint = await one.endpoint(project, expires_at=one.clock() + 1)
    one.clock.advance(1)
    async with hand(address) as third:
        await third.run("UPDATE endpoints SET expires_at = $2 WHERE id = $1", endpoint, 2**62)
        sweeping = asyncio.create_task(Sweep(one.database, one.recorder, clock=one.clock).run_once())
        await third.stopped()
    assert await sweeping == 0
    assert await one.rows("SELECT status FROM endpoints") == [("active",)]


async def disabling(
    rig: Rig, endpoint: str, prepare: Callable[[Settling], None]
) -> Callable[[], Coroutine[None, None, object]]:
    """A settle of an endpoint's lane that would give it up."""
    worker = await rig.worker(LaneKind.ENDPOINT, endpoint)
    stands = await rig.database.read(lambda tx: endpoints.by_id(tx, endpoint))
    assert stands is not None
    settling = Settling(rig.recorder)
    settling.follow(stands)
    prepare(settling)
    return lambda: settling.write(worker.lane, worker.lane, stands, now=rig.clock())


@pytest.mark.parametrize(
    ("change", "status"),
    [("health = NULL", "active"), ("description = 'x'", "disabled")],
)
async def test_an_endpoint_whose_failures_a_person_forgave_meanwhile_is_not_given_up_for_them(
    replicas: tuple[Rig, Rig], address: str, change: str, status: str
) -> None:
    one, _ = replicas
    endpoint = await one.endpoint(await one.project(), health='{"since":1}')

    def given_up(settling: Settling) -> None:
        settling._batch.disable = "no success for 5 days"

    settle = await disabling(one, endpoint, given_up)
    async with hand(address) as third:
        await third.run(f"UPDATE endpoints SET {change} WHERE id = $1", endpoint)  # noqa: S608 (ours)
        settled = asyncio.create_task(settle())
        await third.stopped()
    await settled
    assert await one.rows("SELECT status FROM endpoints") == [(status,)]


async def test_two_people_who_pause_an_account_at_once_pause_it_once(replicas: tuple[Rig, Rig], address: str) -> None:
    one, two = replicas
    await one.endpoint(await one.project(), events="account.*")

    async def pause(rig: Rig) -> bool:
        async def unit(tx: Connection, ledger: Ledger) -> bool:
            return await account_events.pause(tx, ledger, rig.accounts["cloudsway"])

        return await rig.recorder.write(unit)

    async with hand(address) as third:
        await third.run("LOCK TABLE lanes IN ACCESS EXCLUSIVE MODE")
        pausing = [asyncio.create_task(pause(one)), asyncio.create_task(pause(two))]
        await third.stopped(2)
    assert sorted(await asyncio.gather(*pausing)) == [False, True]
    assert await one.rows("SELECT type FROM events") == [("account.paused",)]


async def test_two_replicas_that_see_the_first_ends_of_a_kind_at_once_lose_none(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    kind = Kind("cloudsway", "m", 5, "pro")

    async def add(tx: Connection) -> None:
        known = await durations.lock(tx, [kind])
        await durations.save(tx, {kind: known.get(kind, "") + "+1"}, now=1)

    async with hand(address) as third:
        await third.run("LOCK TABLE durations IN ACCESS EXCLUSIVE MODE")
        adding = [asyncio.create_task(rig.database.write(add)) for rig in (one, two)]
        await third.stopped(2)
    await asyncio.gather(*adding)
    assert await one.database.read(lambda tx: durations.every(tx, bound=9)) == {kind: "+1+1"}


async def test_secrets_rotated_by_two_at_once_leave_ten_old_ones_at_most(replicas: tuple[Rig, Rig]) -> None:
    project = await replicas[0].project()
    endpoint = await replicas[0].endpoint(project)

    async def rotate(rig: Rig) -> EndpointSecret:
        async def unit(tx: Connection) -> EndpointSecret:
            assert await endpoints.lock(tx, endpoint, project) is not None
            return await endpoint_secrets.rotate(tx, endpoint, "sealed", now=1, retires_at=9, most=10)

        return await rig.database.write(unit)

    numbers = [made.number for made in await asyncio.gather(*(rotate(rig) for rig in replicas * 15))]
    assert sorted(numbers) == list(range(2, 32))
    live = await replicas[0].database.read(lambda tx: endpoint_secrets.live(tx, endpoint, now=2))
    assert [one.number for one in live] == list(range(31, 20, -1))


async def test_signing_keys_made_by_two_at_once_are_one(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    spare = SigningKey(id="key_1", project_id=project, public_key="p", sealed="s", created_at=1)
    await asyncio.gather(
        one.database.write(lambda tx: signing_keys.need(tx, spare)),
        two.database.write(lambda tx: signing_keys.need(tx, replace(spare, id="key_2"))),
    )
    assert len(await one.database.read(lambda tx: signing_keys.live(tx, project, now=2))) == 1


async def test_an_endpoint_is_tested_once_in_six_seconds_wherever_it_is_asked_for(replicas: tuple[Rig, Rig]) -> None:
    project = await replicas[0].project()
    endpoint = await replicas[0].endpoint(project)
    asked = (send_sample(rig.recorder, endpoint, project, EventType.TASK_SUCCEEDED) for rig in replicas * 5)
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, TooSoon) for one in told) == 9
    assert await replicas[0].deliveries(endpoint) == [("pending", 0)]
