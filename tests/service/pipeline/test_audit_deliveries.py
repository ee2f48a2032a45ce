"""Each event is held against those who wanted it then, by its place in the feed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from service.pipeline import audit_deliveries
from service.pipeline.audit_deliveries import judge, page, wants
from service.pipeline.audit_part import COUNTS, Part
from storage import endpoints, outbox, tasks
from storage.database import Connection, Database
from storage.records import DeliveryStatus, EndpointStatus
from storage.stocktake import Owed, Told
from storage.subscriptions import STILL, Span
from tests import engines
from tests.storage.builders import NOW, PROJECT, delivery, endpoint, event, finished, plant
from tests.storage.conftest import opened

TOLD = Told(
    position=5,
    id="evt_1",
    type="task.succeeded",
    task_id="task_1",
    provider="cloudsway",
    model="kling-3.0-turbo",
    created_at=NOW,
    body=None,
    task_is_there=True,
    metadata='{"shop":"eu"}',
    webhook_endpoint_id=None,
    webhook_events=None,
)
SPAN = Span(endpoint_id="ep_1", since=0, until=STILL, events=None, filter=None, expires_at=None)
DEBT = Owed("evt_1", "ep_1", "dlv_1", "delivered", None, "active")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(await engines.address(tmp_path, lambda: NOW), lambda: NOW) as made:
        yield made


def kinds(part: Part) -> list[str]:
    return [one.kind for one in part.unexplained]


@pytest.mark.parametrize(
    ("span", "wanted"),
    [
        ({}, True),
        ({"since": 5}, False),
        ({"since": 4, "until": 5}, True),
        ({"until": 4}, False),
        ({"events": "task.failed"}, False),
        ({"events": "task.*"}, True),
        ({"expires_at": NOW}, False),
        ({"expires_at": NOW + 1}, True),
        ({"filter": '{"model":["kling-*"],"metadata":{"shop":["eu"]}}'}, True),
        ({"filter": '{"metadata":{"shop":["us"]}}'}, False),
        ({"filter": '{"provider":["ulazai"]}'}, False),
    ],
)
def test_an_endpoint_wants_what_it_subscribed_to_while_it_did(span: dict[str, object], wanted: bool) -> None:
    assert wants(replace(SPAN, **span), TOLD) is wanted  # type: ignore[arg-type]


def test_what_cannot_be_judged_any_more_is_said_and_accuses_nobody() -> None:
    span = replace(SPAN, filter='{"metadata":{"shop":["eu"]}}')
    gone = replace(TOLD, metadata=None)
    assert wants(span, gone) is None
    assert wants(replace(SPAN, filter='{"model":["*"]}'), gone) is True
    part = judge([gone], [span], [])
    assert (part.counts["unknown"], part.counts["owed"], kinds(part)) == (1, 0, [])
    assert part.unknown[0].names == {"event": "evt_1", "endpoint": "ep_1"}


def test_an_endpoint_is_not_told_of_itself() -> None:
    body = orjson.dumps({"data": {"id": "ep_1"}})
    about = replace(TOLD, type="endpoint.failing", task_id=None, body=body)
    everything = replace(SPAN, events="*")
    assert wants(everything, about) is False
    assert wants(replace(everything, endpoint_id="ep_2"), about) is True
    assert wants(everything, replace(about, type="account.paused")) is True


@pytest.mark.parametrize("status", [status.value for status in DeliveryStatus])
def test_whatever_became_of_a_debt_explains_it(status: str) -> None:
    part = judge([TOLD], [SPAN], [replace(DEBT, status=status, due_at=NOW)])
    assert kinds(part) == [] and part.counts[status] == part.counts["owed"] == part.counts["ends"] == 1
    assert status in COUNTS
    assert part.next_at == (NOW if status == "pending" else None)


def test_a_debt_that_is_not_there_is_missed_by_name() -> None:
    part = judge([TOLD], [SPAN], [])
    assert (kinds(part), part.counts["missing"]) == (["delivery_missing"], 1)
    assert part.unexplained[0].names == {"event": "evt_1", "endpoint": "ep_1", "task": "task_1"}


def test_a_tasks_own_url_is_owed_what_the_task_asked_for() -> None:
    own = replace(TOLD, webhook_endpoint_id="ep_h", webhook_events="task.succeeded")
    assert kinds(judge([own], [], [])) == ["delivery_missing"]
    assert kinds(judge([replace(own, webhook_events="task.failed")], [], [])) == []


def test_what_was_sent_besides_is_counted_and_accuses_nobody() -> None:
    part = judge([TOLD], [replace(SPAN, since=5)], [DEBT])
    assert (kinds(part), part.counts["besides"], part.counts["owed"]) == ([], 1, 0)


@pytest.mark.parametrize(
    ("debt", "kind"),
    [
        ({"due_at": None}, "delivery_without_time"),
        ({"endpoint_status": "deleted"}, "delivery_stranded"),
        ({"endpoint_status": "disabled"}, "delivery_stranded"),
        ({"endpoint_status": None}, "delivery_stranded"),
    ],
)
def test_what_is_pending_and_will_never_be_sent_is_named(debt: dict[str, object], kind: str) -> None:
    waiting = replace(DEBT, status="pending", due_at=NOW)
    assert kinds(judge([TOLD], [SPAN], [waiting])) == []
    assert kinds(judge([TOLD], [SPAN], [replace(waiting, **debt)])) == [kind]  # type: ignore[arg-type]


def test_an_event_whose_task_is_gone_is_named() -> None:
    assert kinds(judge([replace(TOLD, task_is_there=False)], [], [])) == ["event_without_task"]


async def furnish(database: Database, count: int, subscribers: int) -> None:
    """So many ends, each owed to all; the last endpoint came after the first event."""
    await plant(database, *(endpoint(f"ep_{n}") for n in range(subscribers)))

    async def unit(tx: Connection) -> None:
        for n in range(count):
            await tasks.insert(tx, finished(f"task_{n}"))
            owed = [delivery(f"dlv_{n}_{m}", event_id=f"evt_{n}", endpoint_id=f"ep_{m}") for m in range(subscribers)]
            await outbox.publish(tx, [event(f"evt_{n}", task_id=f"task_{n}")], owed)
            if not n:
                await endpoints.insert(tx, endpoint("ep_late", events="*"))

    await database.write(unit)


async def test_a_page_is_read_from_the_rows_and_says_where_it_ended(database: Database) -> None:
    await furnish(database, 3, 2)
    part, count, last = await database.read(lambda tx: page(tx, PROJECT, after=0))
    assert (count, part.counts["events"], part.counts["pending"], part.counts["missing"]) == (3, 3, 6, 2)
    assert {one.names["endpoint"] for one in part.unexplained} == {"ep_late"}
    assert await database.read(lambda tx: page(tx, PROJECT, after=last)) == (Part(), 0, last)
    await database.write(lambda tx: tx.fetch("UPDATE deliveries SET due_at = NULL WHERE id = 'dlv_1_1'"))
    await database.write(lambda tx: endpoints.save(tx, endpoint("ep_0", status=EndpointStatus.DISABLED)))
    part, _, _ = await database.read(lambda tx: page(tx, PROJECT, after=0))
    assert sorted(set(kinds(part))) == ["delivery_missing", "delivery_stranded", "delivery_without_time"]


async def test_many_subscribers_make_the_page_shorter(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await furnish(database, 5, 3)
    monkeypatch.setattr(audit_deliveries, "PAIRS", 8)
    _, count, last = await database.read(lambda tx: page(tx, PROJECT, after=0))
    rows = await database.read(lambda tx: tx.fetch("SELECT position FROM events ORDER BY position LIMIT 2"))
    assert (count, (last,)) == (2, rows[-1])
