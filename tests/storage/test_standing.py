from __future__ import annotations

import pytest

from storage import outbox, standing
from storage.database import Database
from storage.records import DeliveryStatus
from tests.storage.builders import FUTURE, NOW, PAST, attempt, delivery, event


async def test_an_endpoint_stands_as_its_attempts_and_its_backlog_say(database: Database) -> None:
    rows = [
        delivery("dlv_1", event_id="evt_1", status=DeliveryStatus.DELIVERED, due_at=None, attempts=2),
        delivery("dlv_2", event_id="evt_2", due_at=FUTURE, created_at=NOW + 2),
        delivery("dlv_3", event_id="evt_3", attempts=1, due_at=FUTURE + 1),
        delivery("dlv_4", event_id="evt_4", task_id=None, status=DeliveryStatus.EXHAUSTED, due_at=None),
        delivery("dlv_5", event_id="evt_5", endpoint_id="ep_2", due_at=PAST),
    ]
    events = [event(one.event_id, test=one.id == "dlv_4") for one in rows]
    await database.write(lambda tx: outbox.publish(tx, events, rows))
    tried = [
        attempt("dlv_1", 1, error_class="timeout", status_code=None, duration_ms=15_000),
        attempt("dlv_1", 2),
        attempt("dlv_3", 1, at=PAST, error_class="http", status_code=500),
        attempt("dlv_4", 1),
        attempt("dlv_5", 1),
    ]
    await database.write(lambda tx: outbox.note_attempts(tx, tried))
    found = await database.read(lambda tx: standing.of(tx, "ep_1", "prj_1", since=NOW, floor="dlv_"))
    assert sorted(found.durations) == [12, 15_000]
    assert (found.failures, found.backlog, found.since) == ({"timeout": 1}, 2, NOW)
    assert (found.oldest_at, found.next_at) == (NOW + 2, FUTURE)


async def test_one_that_was_never_sent_anything_stands_at_nothing(database: Database) -> None:
    found = await database.read(lambda tx: standing.of(tx, "ep_1", "prj_1", since=NOW, floor="dlv_"))
    assert found == standing.Standing([], {}, 0, None, None, NOW)


async def test_older_deliveries_count_while_they_are_tried_or_just_given_up(database: Database) -> None:
    rows = [
        delivery("dlv_1", event_id="evt_1", attempts=4, due_at=FUTURE),
        delivery("dlv_2", event_id="evt_2", status=DeliveryStatus.EXHAUSTED, due_at=None),
        delivery("dlv_3", event_id="evt_3", status=DeliveryStatus.CANCELED, due_at=None),
        delivery("dlv_4", event_id="evt_4", status=DeliveryStatus.DELIVERED, due_at=None),
        delivery("dlv_6", event_id="evt_6", status=DeliveryStatus.EXHAUSTED, due_at=None, endpoint_id="ep_2"),
    ]
    await database.write(lambda tx: outbox.publish(tx, [event(one.event_id, task_id=one.id) for one in rows], rows))
    tried = [attempt(f"dlv_{n}", 1, duration_ms=n) for n in (1, 2, 3, 4, 6)]
    await database.write(lambda tx: outbox.note_attempts(tx, tried))
    found = await database.read(lambda tx: standing.of(tx, "ep_1", "prj_1", since=NOW, floor="dlv_5"))
    assert sorted(found.durations) == [1, 2, 3]


async def test_of_a_busy_project_the_span_shrinks_to_what_was_looked_at(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "DELIVERIES_LOOKED_AT", 3)
    rows = [
        delivery(f"dlv_{n}", event_id=f"evt_{n}", status=DeliveryStatus.DELIVERED, due_at=None, created_at=NOW + n,
                 endpoint_id="ep_1" if n % 2 else "ep_2")
        for n in range(7)
    ]  # fmt: skip
    await database.write(lambda tx: outbox.publish(tx, [event(one.event_id, task_id=one.id) for one in rows], rows))
    await database.write(lambda tx: outbox.note_attempts(tx, [attempt(f"dlv_{n}", 1, at=NOW + n) for n in range(7)]))
    late = attempt("dlv_1", 2, at=NOW + 9)
    await database.write(lambda tx: outbox.note_attempts(tx, [late]))
    found = await database.read(lambda tx: standing.of(tx, "ep_1", "prj_1", since=NOW, floor="dlv_"))
    assert (len(found.durations), found.since) == (1, NOW + 4)
