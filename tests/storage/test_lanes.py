"""Leases are tried with times that mean the same to an injected clock and to a database's own: LONG_AGO is due, a lease
of a negative length has lapsed the moment it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from storage import account_tasks, clocks, dialect, lanes, outbox, tasks
from storage.database import Connection, Database
from storage.lanes import Policy
from storage.records import DeliveryStatus, EndpointStatus, Lane, LaneKind, OnAmbiguous, TaskStatus
from tests.storage.builders import (
    ACCOUNT,
    ACCOUNT_LANE,
    FUTURE,
    LONG_AGO,
    NEVER,
    NOW,
    delivery,
    endpoint,
    event,
    plant,
    project,
    task,
)

ACCOUNTS = [ACCOUNT]
LAPSED = -60.0
HOUR = 3600.0


async def arrive(
    database: Database, due_at: int = LONG_AGO, kind: LaneKind = LaneKind.ACCOUNT, key: str = ACCOUNT
) -> None:
    await database.write(lambda tx: lanes.arrive(tx, {(kind, key): due_at}))


async def claim(
    database: Database,
    owner: str = "a",
    *,
    accounts: Sequence[str] = ACCOUNTS,
    ttl_seconds: float = HOUR,
    batch: int = 10,
) -> list[Lane]:
    return await database.write(
        lambda tx: lanes.claim(tx, owner=owner, accounts=accounts, now=NOW, ttl_seconds=ttl_seconds, batch=batch)
    )


async def claim_one(database: Database, owner: str = "a", *, ttl_seconds: float = HOUR) -> Lane:
    [lane] = await claim(database, owner, ttl_seconds=ttl_seconds)
    return lane


async def look(database: Database, kind: LaneKind = LaneKind.ACCOUNT, key: str = ACCOUNT) -> Lane:
    found = await database.read(lambda tx: lanes.get(tx, kind, key))
    assert found is not None
    return found


async def hold(database: Database, lane: Lane) -> bool:
    return await database.write(lambda tx: lanes.hold(tx, lane))


async def release(database: Database, lane: Lane) -> bool:
    """As an owner does: lock first, then the time from the rows."""

    async def unit(tx: Connection) -> bool:
        if not await lanes.hold_still(tx, lane):
            return False
        return await lanes.release(tx, lane, next_due_at=await account_tasks.next_due(tx, lane.key, TaskStatus.QUEUED))

    return await database.write(unit)


async def add_task(database: Database, id: str, due_at: int) -> None:
    """As whoever adds work does: the row, then the lane, in one transaction."""

    async def unit(tx: Connection) -> None:
        await tasks.insert(tx, task(id, due_at=due_at))
        await lanes.arrive(tx, {ACCOUNT_LANE: due_at})

    await database.write(unit)


# Arrival


async def test_the_first_arrival_makes_the_lane(database: Database, other_handle: Database) -> None:
    assert await database.read(lambda tx: lanes.get(tx, *ACCOUNT_LANE)) is None
    await arrive(database, NOW)
    assert await look(other_handle) == Lane(kind=LaneKind.ACCOUNT, key=ACCOUNT, epoch=0, next_due_at=NOW)


async def test_arrival_lowers_the_time_and_never_raises_it(database: Database) -> None:
    for due_at, expected in ((NOW, NOW), (NOW + 1, NOW), (NOW - 1, NOW - 1), (NOW, NOW - 1)):
        await arrive(database, due_at)
        assert (await look(database)).next_due_at == expected


async def test_arrival_leaves_lease_and_health_alone(database: Database) -> None:
    await arrive(database, LONG_AGO + 1)
    lane = await claim_one(database)
    sick = replace(lane, breaker='{"open":true}', held_until=NOW, holds='{"submits":1}')
    await database.write(lambda tx: lanes.save_health(tx, sick))
    await arrive(database, LONG_AGO)
    assert await look(database) == replace(sick, next_due_at=LONG_AGO)


async def test_arrival_at_a_released_lane_gives_it_a_time(database: Database) -> None:
    await arrive(database)
    assert await release(database, await claim_one(database))
    assert (await look(database)).next_due_at is None
    await arrive(database, NOW)
    assert (await look(database)).next_due_at == NOW


async def test_an_account_and_an_endpoint_of_one_name_are_two_lanes(database: Database) -> None:
    due = {(LaneKind.ENDPOINT, "x"): NOW, (LaneKind.ACCOUNT, "x"): NOW + 1}
    await database.write(lambda tx: lanes.arrive(tx, due))
    assert (await look(database, LaneKind.ENDPOINT, "x")).next_due_at == NOW
    assert (await look(database, LaneKind.ACCOUNT, "x")).next_due_at == NOW + 1


async def test_who_makes_a_task_learns_what_concerns_it(database: Database) -> None:
    jobs = [task(f"task_{n}", status=TaskStatus.PROCESSING) for n in range(3)]
    await plant(database, project("prj_2", on_ambiguous=OnAmbiguous.RESUBMIT), *jobs, task("task_9"))
    ask = partial(lanes.policy, project_id="prj_2", account=ACCOUNT, most=2)
    assert await database.write(ask) == Policy(on_ambiguous=OnAmbiguous.RESUBMIT, open_jobs=2)
    await arrive(database, NOW)
    assert (await database.write(ask)).lane == await look(database)
    assert (await database.write(partial(ask, most=100))).open_jobs == 3
    assert await database.write(partial(ask, project_id="prj_none")) == Policy()


async def test_an_owners_own_health_is_kept_and_a_successors_is_not_overwritten(database: Database) -> None:
    await arrive(database)
    old = await claim_one(database, "a", ttl_seconds=LAPSED)
    await database.write(lambda tx: lanes.save_own_health(tx, replace(old, breaker="open")))
    assert (await look(database)).breaker == "open"
    await claim_one(database, "b")
    await database.write(lambda tx: lanes.save_own_health(tx, replace(old, breaker="late")))
    assert (await look(database)).breaker == "open"


# Claiming


async def test_due_lanes_are_taken_oldest_first_and_capped(database: Database) -> None:
    for n in (3, 1, 4, 2):
        await arrive(database, LONG_AGO + n, LaneKind.ENDPOINT, f"ep_{n}")
    assert [lane.key for lane in await claim(database, batch=3)] == ["ep_1", "ep_2", "ep_3"]
    assert [lane.key for lane in await claim(database, batch=3)] == ["ep_4"]
    assert await claim(database) == []


async def test_a_claim_gives_the_next_epoch_and_a_lease(database: Database) -> None:
    await arrive(database)
    lane = await claim_one(database, "a")
    assert lane == await look(database)
    assert (lane.owner, lane.epoch, lane.next_due_at) == ("a", 1, LONG_AGO)
    assert lane.until > NOW


async def test_what_is_not_due_is_not_taken(database: Database) -> None:
    await arrive(database, NEVER)
    await arrive(database, LONG_AGO, LaneKind.ENDPOINT, "ep_1")
    await database.write(lambda tx: tx.fetch("UPDATE lanes SET next_due_at = NULL WHERE kind = 'endpoint'"))
    assert await claim(database) == []


async def test_only_accounts_that_are_configured_are_taken_and_any_endpoint(database: Database) -> None:
    for key in ("mine", "unknown"):
        await arrive(database, LONG_AGO, LaneKind.ACCOUNT, key)
        await arrive(database, LONG_AGO, LaneKind.ENDPOINT, key)
    taken = {(lane.kind, lane.key) for lane in await claim(database, accounts=["mine", "other"])}
    assert taken == {(LaneKind.ACCOUNT, "mine"), (LaneKind.ENDPOINT, "mine"), (LaneKind.ENDPOINT, "unknown")}
    assert await claim(database, accounts=[]) == []


async def test_a_live_owners_lane_is_left_to_it(database: Database, other_handle: Database) -> None:
    await arrive(database)
    lane = await claim_one(database, "a")
    assert await claim(other_handle, "b") == []
    assert await claim(database, "a") == []  # nor does it take its own a second time
    assert await look(database) == lane


async def test_a_lapsed_lease_is_taken_over_with_the_next_epoch(database: Database, other_handle: Database) -> None:
    await arrive(database)
    old = await claim_one(database, "a", ttl_seconds=LAPSED)
    new = await claim_one(other_handle, "b")
    assert (new.owner, new.epoch, old.epoch) == ("b", 2, 1)


async def test_health_goes_with_the_lane(database: Database, other_handle: Database) -> None:
    await arrive(database)
    old = await claim_one(database, "a", ttl_seconds=LAPSED)
    sick = replace(old, breaker='{"open":true}', held_until=NOW, holds='{"submits":1}')
    await database.write(lambda tx: lanes.save_health(tx, sick))
    new = await claim_one(other_handle, "b")
    assert (new.breaker, new.held_until, new.holds) == ('{"open":true}', NOW, '{"submits":1}')
    await database.write(lambda tx: lanes.save_health(tx, replace(sick, breaker="late")))  # fenced off
    assert await look(database) == new


async def test_every_lane_is_claimed_by_one_of_two_handles(database: Database, other_handle: Database) -> None:
    keys = {f"ep_{n}" for n in range(40)}
    for key in keys:
        await arrive(database, LONG_AGO, LaneKind.ENDPOINT, key)
    taken = await asyncio.gather(
        *(claim(handle, owner, batch=3) for _ in range(12) for handle, owner in ((database, "a"), (other_handle, "b")))
    )
    assert sorted(lane.key for some in taken for lane in some) == sorted(keys)
    assert {lane.epoch for some in taken for lane in some} == {1}


async def test_an_owner_is_told_when_the_next_lane_of_somebody_else_can_be_claimed(database: Database) -> None:
    async def next_claim(owner: str) -> int | None:
        """As an instant; statements take their moments."""

        async def unit(tx: Connection) -> int | None:
            span = await lanes.next_claim(tx, owner=owner, accounts=ACCOUNTS, now=NOW)
            return None if span is None else await clocks.now(tx, now=NOW) + span

        return await database.read(unit)

    def at(instant: int) -> object:
        return pytest.approx(instant, abs=5_000_000, rel=0)

    assert await next_claim("a") is None
    await arrive(database)
    await arrive(database, LONG_AGO, LaneKind.ACCOUNT, "unknown")
    mine = await claim_one(database, "a")
    assert await next_claim("a") is None
    assert await next_claim("b") == at(mine.until)  # due, and leased until then
    await arrive(database, NOW + 60_000_000, LaneKind.ENDPOINT, "ep_1")
    assert await next_claim("a") == at(NOW + 60_000_000)
    await database.write(lanes.void_leases)
    assert await next_claim("a") == at(LONG_AGO)


async def test_an_arrival_at_a_lane_that_is_owned_shows_though_it_changes_nothing(
    database: Database, other_handle: Database, url: str
) -> None:
    async def versions(owner: str) -> dict[tuple[LaneKind, str], int]:
        return await database.read(lambda tx: lanes.versions(tx, owner=owner))

    await arrive(database)
    mine = await claim_one(database, "a")
    before = await versions("a")
    assert list(before) == [(mine.kind, mine.key)] and await versions("b") == {}
    await arrive(other_handle, FUTURE)  # later than what it knows
    found = await database.read(lambda tx: lanes.get(tx, mine.kind, mine.key))
    assert found is not None and found.next_due_at == mine.next_due_at
    # SQLite has one owner, who hears of every commit by itself.
    assert (await versions("a") != before) is not url.startswith("sqlite:")


# Heartbeats


async def test_a_heartbeat_extends_every_living_lease_of_its_owner(database: Database, other_handle: Database) -> None:
    await arrive(database)
    await arrive(database, LONG_AGO, LaneKind.ENDPOINT, "ep_1")
    await claim(database, "a", ttl_seconds=HOUR)
    await arrive(database, LONG_AGO, LaneKind.ENDPOINT, "ep_2")
    [foreign] = await claim(other_handle, "b")
    before = (await look(database)).until
    alive = await database.write(lambda tx: lanes.heartbeat(tx, owner="a", now=NOW, ttl_seconds=2 * HOUR))
    assert alive == {(LaneKind.ACCOUNT, ACCOUNT, 1), (LaneKind.ENDPOINT, "ep_1", 1)}
    assert (await look(database)).until > before
    assert await look(database, LaneKind.ENDPOINT, "ep_2") == foreign


async def test_a_heartbeat_does_not_revive_a_lapsed_lease(database: Database) -> None:
    await arrive(database)
    lane = await claim_one(database, "a", ttl_seconds=LAPSED)
    assert await database.write(lambda tx: lanes.heartbeat(tx, owner="a", now=NOW, ttl_seconds=HOUR)) == set()
    assert await look(database) == lane


async def test_a_process_that_serves_alone_voids_the_leases_of_its_predecessor(database: Database) -> None:
    await arrive(database)
    old = await claim_one(database, "a")
    await database.write(lanes.void_leases)
    assert not await hold(database, old)
    assert (await claim_one(database, "b")).epoch == 2


# Holding and releasing


async def test_a_lane_is_held_until_somebody_takes_it_over(database: Database, other_handle: Database) -> None:
    await arrive(database)
    old = await claim_one(database, "a", ttl_seconds=LAPSED)
    assert await hold(database, old)  # lapsed, but nobody else has it: the results may still be written
    new = await claim_one(other_handle, "a")  # the same owner's next claim is another one
    assert not await hold(database, old)
    assert await hold(database, new)
    assert not await hold(database, replace(new, owner="c"))


async def test_releasing_takes_the_time_from_the_rows_and_keeps_health(database: Database) -> None:
    await plant(database)
    await add_task(database, "task_1", NOW)
    await arrive(database)
    lane = replace(await claim_one(database), breaker='{"open":false}', held_until=NOW, holds='{"queries":1}')
    assert await release(database, lane)
    assert await look(database) == replace(lane, owner=None, until=0, next_due_at=NOW)


async def test_a_lane_is_released_once_and_by_its_owner(database: Database, other_handle: Database) -> None:
    await arrive(database)
    old = await claim_one(database, "a", ttl_seconds=LAPSED)
    new = await claim_one(other_handle, "b")
    assert not await database.write(lambda tx: lanes.release(tx, old, next_due_at=None))
    assert await look(database) == new
    assert await release(other_handle, new)
    assert not await release(other_handle, new)


async def test_an_arrival_before_the_release_is_seen_by_it(database: Database, other_handle: Database) -> None:
    await plant(database)
    await arrive(database)
    lane = await claim_one(database)
    await add_task(other_handle, "task_1", NOW)
    assert await release(database, lane)
    assert (await look(database)).next_due_at == NOW


async def test_an_arrival_after_the_release_lowers_its_time(database: Database, other_handle: Database) -> None:
    await plant(database)
    await add_task(database, "task_1", NEVER)
    await arrive(database)
    assert await release(database, await claim_one(database))
    await add_task(other_handle, "task_2", NOW)
    assert (await look(database)).next_due_at == NOW


async def test_no_arrival_is_lost_in_a_race_with_the_release(database: Database, other_handle: Database) -> None:
    await plant(database)
    await add_task(database, "task_0", NEVER)
    for n in range(1, 21):
        await arrive(database)
        lane = await claim_one(database)
        work = [release(database, lane), add_task(other_handle, f"task_{n}", NEVER - n)]
        await asyncio.gather(*(work if n % 2 else reversed(work)))
        assert (await look(database)).next_due_at == NEVER - n


# Mending


async def strand(database: Database, kind: LaneKind, key: str) -> None:
    """A lane without a time, whatever its rows say."""
    await arrive(database, LONG_AGO, kind, key)
    await database.write(lambda tx: tx.fetch("UPDATE lanes SET next_due_at = NULL WHERE key = :key", {"key": key}))


async def owe(database: Database, endpoint_id: str, *due: int, status: DeliveryStatus = DeliveryStatus.PENDING) -> None:
    await database.write(
        lambda tx: outbox.publish(
            tx,
            [event(f"evt_{endpoint_id}_{at}") for at in due],
            [
                delivery(f"dlv_{endpoint_id}_{at}", event_id=f"evt_{endpoint_id}_{at}", endpoint_id=endpoint_id, due_at=at, status=status)
                for at in due
            ],
        )
    )  # fmt: skip


async def test_stranded_lanes_are_found_and_given_the_time_of_their_oldest_row(database: Database) -> None:
    await plant(database, endpoint("ep_1"), task("task_1", due_at=NOW + 1), task("task_2", due_at=NOW + 2))
    await owe(database, "ep_1", NOW + 4, NOW + 3)
    await strand(database, LaneKind.ENDPOINT, "ep_1")
    await strand(database, *ACCOUNT_LANE)
    assert sorted(await database.write(lanes.mend)) == [ACCOUNT, "ep_1"]
    assert (await look(database)).next_due_at == NOW + 1
    assert (await look(database, LaneKind.ENDPOINT, "ep_1")).next_due_at == NOW + 3
    assert await database.write(lanes.mend) == []


async def test_lanes_without_work_are_not_mended(database: Database) -> None:
    await plant(
        database,
        task("task_idle", due_at=None),
        endpoint("ep_done"),
        endpoint("ep_paused", status=EndpointStatus.PAUSED),
        endpoint("ep_off", status=EndpointStatus.DISABLED),
    )
    await owe(database, "ep_done", NOW, status=DeliveryStatus.DELIVERED)
    for key in ("ep_paused", "ep_off"):
        await owe(database, key, NOW)
    for key in ("ep_done", "ep_paused", "ep_off"):
        await strand(database, LaneKind.ENDPOINT, key)
    await strand(database, *ACCOUNT_LANE)
    assert await database.write(lanes.mend) == []


async def test_a_lane_with_an_owner_or_a_time_is_not_mended(database: Database) -> None:
    await plant(database, task("task_1", due_at=NOW), endpoint("ep_1"))
    await owe(database, "ep_1", NOW)
    await arrive(database, NEVER, LaneKind.ENDPOINT, "ep_1")
    await arrive(database)
    await claim_one(database)
    await database.write(lambda tx: tx.fetch("UPDATE lanes SET next_due_at = NULL WHERE kind = 'account'"))
    assert await database.write(lanes.mend) == []
    assert (await look(database, LaneKind.ENDPOINT, "ep_1")).next_due_at == NEVER


@pytest.mark.parametrize("statement", [lanes.CLAIM, lanes.HEARTBEAT], ids=["claim", "heartbeat"])
def test_between_replicas_leases_run_by_the_databases_clock_alone(statement: str) -> None:
    """A replica whose clock is fast would otherwise take lanes from those that work them."""
    text, names = dialect.postgres(statement)
    assert "clock_timestamp()" in text
    assert "now" not in names


async def test_an_order_stands_beside_what_the_owner_keeps_and_neither_overwrites_the_other(database: Database) -> None:
    await database.write(lambda tx: lanes.order(tx, ACCOUNT, care='{"paused_at":1}', holds=None))
    assert await database.read(lambda tx: lanes.care(tx, ACCOUNT)) == '{"paused_at":1}'
    await database.write(lambda tx: lanes.arrive(tx, {ACCOUNT_LANE: LONG_AGO}))
    lane = await claim_one(database)
    assert lane.care == '{"paused_at":1}'
    await database.write(lambda tx: lanes.order(tx, ACCOUNT, care='{"paused_at":2}', holds=lane.holds))
    kept = replace(lane, holds='{"submits":1}')
    await database.write(lambda tx: lanes.save_health(tx, kept))
    assert await database.write(lambda tx: lanes.release(tx, kept, next_due_at=None))
    stored = await database.write(lambda tx: lanes.lock(tx, *ACCOUNT_LANE))
    assert stored is not None and (stored.care, stored.holds) == ('{"paused_at":2}', '{"submits":1}')
    assert await database.read(lambda tx: lanes.care(tx, "nobody")) is None
    assert await database.write(lambda tx: lanes.lock(tx, LaneKind.ACCOUNT, "nobody")) is None
    made = Lane(kind=LaneKind.ACCOUNT, key="nobody", epoch=0)
    for _ in range(2):
        assert await database.write(lambda tx: lanes.lock_made(tx, LaneKind.ACCOUNT, "nobody")) == made
