from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import outbox
from storage.database import Connection, Database
from storage.errors import Duplicate
from storage.outbox import Settled
from storage.records import Delivery, DeliveryStatus, Event
from tests.storage.builders import FUTURE, NOW, PAST, attempt, delivery, event
from tests.storage.strategies import INTEGER, ON_ONE_DATABASE, TEXT

example = iter(range(1_000_000))


async def publish(database: Database, events: Sequence[Event], deliveries: Sequence[Delivery]) -> None:
    await database.write(lambda tx: outbox.publish(tx, events, deliveries))


async def owe(database: Database, *deliveries: Delivery) -> None:
    """Deliveries of one event each."""
    of = [replace(one, event_id=f"evt of {one.id}") for one in deliveries]
    await publish(database, [event(one.event_id) for one in of], of)


async def states(database: Database) -> dict[str, tuple[object, ...]]:
    """Delivery id → status, attempts, due_at, updated_at."""
    rows = await database.read(lambda tx: tx.fetch("SELECT id, status, attempts, due_at, updated_at FROM deliveries"))
    return {str(row[0]): row[1:] for row in rows}


async def history(database: Database) -> list[tuple[object, ...]]:
    text = "SELECT delivery_id, number, at, duration_ms, status_code, error_class, response_head FROM attempts ORDER BY 1, 2"
    return [tuple(row) for row in await database.read(lambda tx: tx.fetch(text))]


def delivered(id: str = "dlv_1", *, was: int = 0, **more: object) -> Settled:
    row: dict[str, object] = {
        "delivery_id": id,
        "was": was,
        "since": None,
        "status": DeliveryStatus.DELIVERED.value,
        "due_at": None,
        "attempt": attempt(id, was + 1),
    }
    return Settled(**{**row, **more})  # type: ignore[arg-type]


def failed(id: str = "dlv_1", *, was: int = 0, due_at: int = FUTURE) -> Settled:
    return delivered(id, was=was, status=DeliveryStatus.PENDING.value, due_at=due_at)


# Events


@ON_ONE_DATABASE
@given(body=st.binary(max_size=200), url=TEXT | st.none(), created_at=INTEGER, attempts=st.integers(0, 2**63 - 1))
async def test_what_is_sent_comes_back_byte_for_byte(
    database: Database, body: bytes, url: str | None, created_at: int, attempts: int
) -> None:
    n = next(example)
    owed = delivery(
        f"dlv_{n}", event_id=f"evt_{n}", endpoint_id=f"ep_{n}", url=url, created_at=created_at, attempts=attempts
    )
    await publish(database, [event(f"evt_{n}", body=body)], [owed])
    [found] = await database.read(lambda tx: outbox.due(tx, f"ep_{n}", now=NOW, batch=2, again=attempts > 0))
    assert found == outbox.Due(owed.id, owed.event_id, owed.event_type, attempts, url, created_at, body)


async def test_the_feed_numbers_events_as_they_come(database: Database, other_handle: Database) -> None:
    for n, handle in enumerate((database, other_handle, database)):
        await publish(handle, [event(f"evt_{n}a"), event(f"evt_{n}b")], [])
    rows = await database.read(lambda tx: tx.fetch("SELECT id FROM events ORDER BY position"))
    assert [row[0] for row in rows] == ["evt_0a", "evt_0b", "evt_1a", "evt_1b", "evt_2a", "evt_2b"]


async def test_a_place_in_the_feed_is_never_given_again(database: Database) -> None:
    async def last(tx: Connection) -> object:
        return (await tx.fetch("SELECT max(position) FROM events"))[0][0]

    await publish(database, [event("evt_a"), event("evt_b")], [])
    before = await database.read(last)
    await database.write(lambda tx: tx.fetch("DELETE FROM events"))
    await publish(database, [event("evt_c")], [])
    after = await database.read(last)
    assert isinstance(before, int) and isinstance(after, int) and after > before


async def test_known_events_are_told_from_new_ones(database: Database) -> None:
    await publish(database, [event("evt_a"), event("evt_b")], [])
    assert await database.read(lambda tx: outbox.existing(tx, ["evt_b", "evt_c"])) == {"evt_b"}
    assert await database.read(lambda tx: outbox.existing(tx, [])) == set()


@pytest.mark.parametrize(
    ("second", "what"),
    [
        (event("evt_a", task_id="task_2", sequence=7), r"\bid\b"),
        (event("evt_b", task_id="task_1", sequence=1), "sequence"),
        (event("evt_b", task_id="task_1", sequence=2, hard=True), "task_id"),
    ],
    ids=["its id", "its number in the task", "a second hard end"],
)
async def test_a_contradicting_event_is_refused_by_the_database(database: Database, second: Event, what: str) -> None:
    await publish(database, [event("evt_a", task_id="task_1", hard=True)], [])
    with pytest.raises(Duplicate, match=what):
        await publish(database, [second], [])


async def test_soft_events_of_one_task_and_ends_of_others_are_welcome(database: Database) -> None:
    await publish(database, [event("evt_a", task_id="task_1", hard=True)], [])
    await publish(database, [event("evt_b", task_id="task_1", sequence=2)], [])
    await publish(database, [event("evt_c", task_id="task_2", hard=True)], [])
    await publish(database, [event("evt_d", task_id=None), event("evt_e", task_id=None)], [])


async def test_an_event_is_owed_to_an_endpoint_once(database: Database) -> None:
    await publish(database, [event()], [delivery("dlv_1"), delivery("dlv_2", endpoint_id="ep_2")])
    with pytest.raises(Duplicate, match="endpoint_id"):
        await publish(database, [], [delivery("dlv_3")])


# What is due


async def test_due_deliveries_come_oldest_first_and_capped(database: Database) -> None:
    await owe(
        database,
        delivery("dlv_now"),
        delivery("dlv_old", due_at=PAST),
        delivery("dlv_later", due_at=NOW + 1),
        delivery("dlv_done", due_at=PAST, status=DeliveryStatus.DELIVERED),
        delivery("dlv_other", due_at=PAST, endpoint_id="ep_2"),
    )

    async def ids(batch: int) -> list[str]:
        return [one.id for one in await database.read(lambda tx: outbox.due(tx, "ep_1", now=NOW, batch=batch))]

    assert await ids(10) == ["dlv_old", "dlv_now"]
    assert await ids(1) == ["dlv_old"]


async def test_what_was_never_tried_is_found_apart_from_what_was(database: Database) -> None:
    await owe(database, delivery("dlv_1"), delivery("dlv_2", attempts=1), delivery("dlv_3", attempts=9, due_at=PAST))

    async def ids(again: bool) -> list[str]:
        found = await database.read(lambda tx: outbox.due(tx, "ep_1", now=NOW, batch=9, again=again))
        return [one.id for one in found]

    assert (await ids(False), await ids(True)) == (["dlv_1"], ["dlv_3", "dlv_2"])


@pytest.mark.parametrize("status", DeliveryStatus)
async def test_a_delivery_is_restarted_whatever_became_of_it(database: Database, status: DeliveryStatus) -> None:
    await owe(database, delivery("dlv_1", status=status, attempts=10, due_at=None, created_at=PAST))

    async def restart(project_id: str) -> str | None:
        return await database.write(lambda tx: outbox.restart(tx, "dlv_1", project_id, now=NOW))

    assert await restart("prj_2") is None
    assert await restart("prj_1") == "ep_1"
    [found] = await database.read(lambda tx: outbox.due(tx, "ep_1", now=NOW, batch=9, again=True))
    assert (found.attempts, found.spent, found.since) == (10, 10, NOW)


@pytest.mark.parametrize("status", [DeliveryStatus.PENDING, DeliveryStatus.EXHAUSTED])
async def test_an_attempt_that_a_restart_overtook_counts_and_decides_nothing(
    database: Database, status: DeliveryStatus
) -> None:
    await owe(database, *(delivery(id, attempts=9, due_at=PAST, created_at=PAST) for id in ("dlv_1", "dlv_2")))
    await database.write(lambda tx: outbox.restart(tx, "dlv_1", "prj_1", now=NOW))
    results = [delivered(id, was=9, since=PAST, status=status.value, due_at=FUTURE) for id in ("dlv_1", "dlv_2")]
    assert await database.write(lambda tx: outbox.settle(tx, results, now=NOW + 1)) == 2
    assert await states(database) == {
        "dlv_1": ("pending", 10, NOW, NOW + 1),
        "dlv_2": (status.value, 10, FUTURE, NOW + 1),
    }
    [found] = await database.read(lambda tx: outbox.due(tx, "ep_1", now=NOW, batch=9, again=True))
    assert (found.id, found.attempts, found.spent, found.since) == ("dlv_1", 10, 10, NOW)
    assert len(await history(database)) == 2


async def test_what_a_restarted_delivery_was_for_may_be_done_by_the_attempt_before(database: Database) -> None:
    await owe(database, delivery("dlv_1", due_at=PAST, created_at=PAST))
    await database.write(lambda tx: outbox.restart(tx, "dlv_1", "prj_1", now=NOW))
    assert await database.write(lambda tx: outbox.settle(tx, [delivered()], now=NOW + 1)) == 1
    assert (await states(database))["dlv_1"][0] == "delivered"


async def test_the_next_due_time_is_of_what_is_pending(database: Database) -> None:
    await owe(
        database,
        delivery("dlv_done", due_at=PAST - 1, status=DeliveryStatus.EXHAUSTED),
        delivery("dlv_gone", due_at=NOW + 1, status=DeliveryStatus.CANCELED),
        delivery("dlv_a", due_at=PAST),
        delivery("dlv_b", due_at=NOW),
        delivery("dlv_c", due_at=FUTURE),
        delivery("dlv_other", due_at=PAST - 2, endpoint_id="ep_2"),
    )
    assert await database.read(lambda tx: outbox.next_due(tx, "ep_1")) == PAST
    assert await database.read(lambda tx: outbox.next_due_after(tx, "ep_1", now=NOW)) == FUTURE
    assert await database.read(lambda tx: outbox.next_due(tx, "ep_3")) is None
    assert await database.read(lambda tx: outbox.next_due_after(tx, "ep_2", now=NOW)) is None


# Settling


async def settle(database: Database, *settled: Settled) -> int:
    return await database.write(lambda tx: outbox.settle(tx, settled, now=NOW + 5))


async def test_a_result_is_written_with_its_attempt(database: Database) -> None:
    await owe(database, delivery("dlv_1"), delivery("dlv_2"))
    assert await settle(database, delivered("dlv_1"), failed("dlv_2")) == 2
    assert await states(database) == {
        "dlv_1": ("delivered", 1, None, NOW + 5),
        "dlv_2": ("pending", 1, FUTURE, NOW + 5),
    }
    assert await history(database) == [(id, 1, NOW, 12, 200, None, "ok") for id in ("dlv_1", "dlv_2")]


@pytest.mark.parametrize("was", [0, 2])
async def test_a_result_of_another_attempt_changes_nothing_but_history(database: Database, was: int) -> None:
    await owe(database, delivery("dlv_1", attempts=1))
    assert await settle(database, delivered(was=was)) == 0
    assert await states(database) == {"dlv_1": ("pending", 1, NOW, NOW)}
    assert [row[1] for row in await history(database)] == [was + 1]


@pytest.mark.parametrize("status", [status for status in DeliveryStatus if status is not DeliveryStatus.PENDING])
async def test_an_end_of_a_delivery_is_its_end(database: Database, status: DeliveryStatus) -> None:
    await owe(database, delivery(status=status, due_at=None))
    assert await settle(database, failed()) == 0
    assert await states(database) == {"dlv_1": (status.value, 0, None, NOW)}


async def test_only_the_winners_of_a_batch_are_counted(database: Database) -> None:
    await owe(database, delivery("dlv_1"), delivery("dlv_2", attempts=3))
    assert await settle(database, delivered("dlv_1"), delivered("dlv_2"), delivered("dlv_none")) == 1


async def test_the_same_result_twice_is_one_attempt(database: Database) -> None:
    await owe(database, delivery())
    assert await settle(database, failed()) == 1
    assert await settle(database, failed(due_at=PAST)) == 0
    assert await states(database) == {"dlv_1": ("pending", 1, FUTURE, NOW + 5)}
    assert len(await history(database)) == 1


async def test_of_two_handles_that_settle_one_attempt_one_wins(database: Database, other_handle: Database) -> None:
    await owe(database, *(delivery(f"dlv_{n}") for n in range(20)))
    won = await asyncio.gather(
        *(settle(handle, failed(f"dlv_{n}")) for n in range(20) for handle in (database, other_handle))
    )
    assert [first + second for first, second in zip(won[::2], won[1::2], strict=True)] == [1] * 20
    assert {row[1] for row in (await states(database)).values()} == {1}


async def test_a_deleted_endpoint_is_owed_nothing_more(database: Database) -> None:
    await owe(
        database,
        delivery("dlv_1"),
        delivery("dlv_2", status=DeliveryStatus.DELIVERED, due_at=None),
        delivery("dlv_3", endpoint_id="ep_2"),
    )
    await database.write(lambda tx: outbox.cancel_pending(tx, "ep_1", now=NOW + 5))
    assert await states(database) == {
        "dlv_1": ("canceled", 0, None, NOW + 5),
        "dlv_2": ("delivered", 0, None, NOW),
        "dlv_3": ("pending", 0, NOW, NOW),
    }
