"""Several replicas tell at once: nobody is given a place behind which something may still appear, and nothing stays behind for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from storage import endpoints, feed, outbox, subscriptions
from storage.database import Connection, Database
from storage.feed import EventFilter, Stretch
from storage.records import Event
from storage.subscriptions import Span
from tests import postgres
from tests.chaos import feed as chaos
from tests.chaos.feed import run
from tests.chaos.server import serving
from tests.storage.builders import NOW, PROJECT, endpoint, event, plant
from tests.storage.conftest import Clock, emptied, opened

pytestmark = pytest.mark.slow


@pytest.fixture
async def handles(postgres_database: str, clock: Clock) -> AsyncIterator[tuple[Database, Database]]:
    """Two replicas."""
    url = await emptied(postgres_database)
    async with opened(url, clock) as one, opened(url, clock) as other:
        yield one, other


@asynccontextmanager
async def under_way(database: Database, *told: Event) -> AsyncIterator[None]:
    """The database has told these in a transaction that stays open as long as this does."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def unit(tx: Connection) -> None:
        await outbox.publish(tx, told, [])
        reached.set()
        await go_on.wait()

    writing = asyncio.create_task(database.write(unit))
    await asyncio.wait_for(reached.wait(), 30)
    try:
        yield
    finally:
        go_on.set()
        await writing


async def tell(database: Database, *told: Event) -> None:
    await database.write(lambda tx: outbox.publish(tx, told, []))


async def look(database: Database, after: int = 0, task: str | None = None) -> Stretch:
    wanted = EventFilter(task=task)
    return await database.read(lambda tx: feed.page(tx, PROJECT, wanted, after=after, limit=10))


def ids(found: Stretch | Sequence[Event]) -> list[str]:
    return [one.id for one in (found.events if isinstance(found, Stretch) else found)]


async def test_what_was_committed_behind_an_open_transaction_is_held_until_that_has_ended(
    handles: tuple[Database, Database],
) -> None:
    one, other = handles
    await tell(one, event("evt_1"))
    async with under_way(other, event("evt_2", task_id="task_2")):
        await tell(one, event("evt_3", task_id="task_3"))
        first = await look(one)
        assert (ids(first), first.held, first.more) == (["evt_1"], True, False)
    then = await look(one, after=first.end)
    assert (ids(then), then.held) == (["evt_2", "evt_3"], False)


async def test_every_way_to_read_stops_at_the_same_place(handles: tuple[Database, Database]) -> None:
    one, other = handles
    await plant(one)
    await tell(one, event("evt_1"))
    settled = (await look(one)).end
    async with under_way(other, event("evt_2", task_id="task_2")):
        await tell(
            one,
            event("evt_3", task_id="task of evt_1", sequence=2),
            event("evt_x", task_id="task_x", project_id="prj_2"),
        )
        backwards = await one.read(
            lambda tx: feed.newest_first(tx, PROJECT, EventFilter(), before=None, limit=10),
        )
        of_task = await look(one, task="task of evt_1")
        bounds = await one.read(lambda tx: feed.bounds(tx, PROJECT))
        place = await one.read(lambda tx: feed.place_of(tx, PROJECT, NOW + 10**12))
        assert ids(backwards) == ids(of_task) == ["evt_1"]
        assert of_task.held and of_task.end == settled
        assert (bounds.newest, bounds.last, place) == (settled, settled, settled)
    assert ids(await look(one, after=settled)) == ["evt_2", "evt_3"]


async def test_what_was_rolled_back_leaves_no_gap_to_wait_for(handles: tuple[Database, Database]) -> None:
    one, other = handles

    async def unit(tx: Connection) -> None:
        await outbox.publish(tx, [event("evt_1")], [])
        raise LookupError

    with pytest.raises(LookupError):
        await other.write(unit)
    await tell(one, event("evt_2"))
    found = await look(one)
    assert (ids(found), found.held) == (["evt_2"], False)


async def test_within_a_transaction_events_stand_as_they_were_told(handles: tuple[Database, Database]) -> None:
    one, other = handles
    made = [event(f"evt_{n:03}", task_id=f"task_{n}") for n in range(60)]
    async with under_way(other, event("evt_x", task_id="task_x")):
        for n in range(0, 60, 20):
            await tell(one, *made[n : n + 20])
    found = await one.read(lambda tx: feed.page(tx, PROJECT, EventFilter(), after=0, limit=100))
    assert ids(found) == ["evt_x", *(one.id for one in made)]


# Who was subscribed when


async def spans(database: Database) -> list[Span]:
    return await database.read(lambda tx: subscriptions.between(tx, PROJECT, after=0, upto=subscriptions.STILL))


async def owed(database: Database) -> dict[str, bool]:
    """Of each event, whether it was told while a subscription was in force."""
    found = await spans(database)
    return {one.id: any(span.holds(feed.position(one)) for span in found) for one in (await look(database)).events}


async def test_what_is_committed_after_an_endpoint_was_made_counts_although_it_got_its_place_before(
    handles: tuple[Database, Database],
) -> None:
    one, other = handles
    await plant(one)
    async with under_way(other, event("evt_1")):
        await tell(one, event("evt_2", task_id="task_2"))  # of a later transaction, so its place is the higher one
        await plant(one, endpoint())
    await tell(other, event("evt_3", task_id="task_3"))
    assert await owed(one) == {"evt_1": True, "evt_2": False, "evt_3": True}


async def test_what_is_committed_after_an_endpoint_was_deleted_counts_no_more(
    handles: tuple[Database, Database],
) -> None:
    one, other = handles
    await plant(one, endpoint())
    async with under_way(other, event("evt_1")):
        await tell(one, event("evt_2", task_id="task_2"))
        await one.write(lambda tx: endpoints.delete(tx, "ep_1", PROJECT, now=NOW))
    await tell(other, event("evt_3", task_id="task_3"))
    assert await owed(one) == {"evt_1": False, "evt_2": True, "evt_3": False}


async def test_what_the_same_transaction_tells_before_and_after_is_told_apart(
    handles: tuple[Database, Database],
) -> None:
    """Units of one group share a transaction, and another replica's later one may have been through meanwhile."""
    one, other = handles
    await plant(one)

    async def unit(tx: Connection) -> None:
        await outbox.publish(tx, [event("evt_1")], [])
        await tell(other, event("evt_2", task_id="task_2"))
        await endpoints.insert(tx, endpoint())
        await outbox.publish(tx, [event("evt_3", task_id="task_3")], [])

    await one.write(unit)
    assert await owed(one) == {"evt_1": False, "evt_3": True, "evt_2": False}


async def test_two_changes_with_nothing_between_them_but_one_under_way_both_count(
    handles: tuple[Database, Database],
) -> None:
    one, other = handles
    await plant(one)
    async with under_way(other, event("evt_1")):
        await tell(one, event("evt_2", task_id="task_2"))
        await plant(one, endpoint(events="task.failed"))
    await one.write(lambda tx: endpoints.save(tx, endpoint(events="*")))
    first = (await look(one)).events[0]
    assert [span.events for span in await spans(one) if span.holds(feed.position(first))] == ["task.failed"]


# Real processes


async def test_three_writers_and_a_reader_agree_on_every_event(postgres_database: str) -> None:
    ledger = await run(await emptied(postgres_database), 20_000)
    assert ledger.kept, ledger
    assert (ledger.told, ledger.read, ledger.held > 0) == (20_000, 20_000, True)


async def test_the_reader_of_this_suite_sees_what_a_naive_feed_skips(postgres_server: str) -> None:
    ledger = await run(await postgres.database(postgres_server, "taskrelay_naive"), 6_000, naive=True)
    assert ledger.skipped > 0 and not ledger.kept


async def test_positions_go_on_while_the_server_is_restarted_under_writers_and_reader() -> None:
    with serving(durable=False) as server:  # a crash of the server is none of the machine
        await server.make([])
        async with opened(server.url, Clock()) as database:
            reading = asyncio.create_task(run(server.url, 20_000))
            for mode in ("fast", "immediate"):
                before = await newest(database)
                while await newest(database) <= before:
                    assert not reading.done()  # or nothing was restarted under anybody
                await server.restart(mode)
            ledger = await reading
    assert ledger.kept, ledger
    assert ledger.told == 20_000


async def newest(database: Database) -> int:
    return (await database.read(lambda tx: feed.bounds(tx, chaos.PROJECT))).newest
