from __future__ import annotations

from storage import outbox, standing
from storage.database import Database
from storage.records import DeliveryStatus
from tests.storage.builders import FUTURE, NOW, PAST, attempt, delivery, event


async def test_an_endpoint_stands_as_its_attempts_and_its_backlog_say(database: Database) -> None:
    rows = [
        delivery("dlv_1", event_id="evt_1", status=DeliveryStatus.DELIVERED, due_at=None, attempts=2),
        delivery("dlv_2", event_id="evt_2", due_at=FUTURE),
        delivery("dlv_3", event_id="evt_3", attempts=1, due_at=FUTURE + 1),
        delivery("dlv_4", event_id="evt_4", status=DeliveryStatus.EXHAUSTED, due_at=None),
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
    found = await database.read(lambda tx: standing.of(tx, "ep_1", "prj_1", since=NOW))
    assert found == standing.Standing([15_000, 12], {"timeout": 1}, 2, FUTURE)


async def test_one_that_was_never_sent_anything_stands_at_nothing(database: Database) -> None:
    found = await database.read(lambda tx: standing.of(tx, "ep_1", "prj_1", since=NOW))
    assert found == standing.Standing([], {}, 0, None)
