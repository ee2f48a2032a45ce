from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from storage import delivery_pages, endpoints, listings, outbox
from storage.database import Database
from storage.delivery_pages import Wanted
from storage.records import Delivery, DeliveryStatus
from tests.storage.builders import NOW, PROJECT, delivery, endpoint, event, plant, project

OTHER = "prj_2"
S = DeliveryStatus


async def page(
    database: Database, *, after: str | None = None, limit: int = 10, project_id: str = PROJECT, **wanted: str
) -> tuple[list[str], str | None]:
    wish = Wanted(**wanted)
    found = await database.read(lambda tx: delivery_pages.page(tx, project_id, wish, after=after, limit=limit))
    return [one.id for one in found.deliveries], found.next


async def walked(database: Database, limit: int, **wanted: str) -> list[str]:
    """All of them, page by page."""
    found: list[str] = []
    after: str | None = None
    while True:
        ids, after = await page(database, after=after, limit=limit, **wanted)
        assert len(ids) <= limit
        found += ids
        if after is None:
            return found


async def store(database: Database, *made: Delivery) -> None:
    await plant(database, project(OTHER), *(endpoint(f"ep_{n}") for n in (1, 2, 3)))
    told = {
        one.event_id: event(one.event_id, task_id=one.task_id, project_id=one.project_id, sequence=n)
        for n, one in enumerate(made)
    }
    await database.write(lambda tx: outbox.publish(tx, list(told.values()), made))


def mixed() -> list[Delivery]:
    """Sixty of three endpoints, in every status, in no order; one in four of them delivered."""
    words = [S.DELIVERED, S.EXHAUSTED, S.CANCELED, S.PENDING, S.QUARANTINED, S.DELIVERED, S.PENDING, S.EXHAUSTED]
    return [
        delivery(
            f"dlv_{n:02d}", event_id=f"evt_{n}", task_id=f"task_{n}", endpoint_id=f"ep_{n % 3 + 1}", status=words[n * 5 % 8],
            attempts=n % 2, due_at=NOW - n if words[n * 5 % 8] is S.PENDING else None,
        )
        for n in range(60)
    ]  # fmt: skip


async def test_deliveries_are_found_by_status_endpoint_event_and_task(database: Database) -> None:
    made = [
        delivery("dlv_1", task_id="task_1"),
        delivery("dlv_2", endpoint_id="ep_2", status=S.EXHAUSTED, due_at=None, task_id="task_1"),
        delivery("dlv_3", event_id="evt_2", task_id="task_2"),
        delivery("dlv_4", event_id="evt_3", project_id=OTHER, task_id="task_9"),
    ]
    await store(database, *made)
    assert await page(database) == (["dlv_3", "dlv_2", "dlv_1"], None)
    assert await page(database, limit=2) == (["dlv_3", "dlv_2"], "dlv_2")
    assert await page(database, after="dlv_3", limit=1) == (["dlv_2"], "dlv_2")
    assert await page(database, status="exhausted") == (["dlv_2"], None)
    assert await page(database, endpoint="ep_1") == (["dlv_3", "dlv_1"], None)
    assert await page(database, event="evt_1") == (["dlv_2", "dlv_1"], None)
    assert await page(database, event="evt_1", task="task_2") == ([], None)
    assert await page(database, task="task_1", status="pending") == (["dlv_1"], None)
    for wanted in ({"task": "task_9"}, {"event": "evt_3"}):
        assert await page(database, **wanted) == ([], None)  # type: ignore[arg-type]
    for status in S:
        assert "dlv_4" not in (await page(database, status=status.value))[0]
    assert await database.read(lambda tx: listings.delivery(tx, "dlv_4", PROJECT)) is None
    assert await database.read(lambda tx: listings.delivery(tx, "dlv_2", PROJECT)) == made[1]


@pytest.mark.parametrize("limit", [1, 7, 60])
@pytest.mark.parametrize("look", [4, 1000])
@pytest.mark.parametrize("sort", [2, 1000])
async def test_page_by_page_every_delivery_comes_once_newest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch, limit: int, look: int, sort: int
) -> None:
    monkeypatch.setattr(delivery_pages, "LOOK", look)
    monkeypatch.setattr(delivery_pages, "SORTED", sort)
    made = mixed()
    await store(database, *made)
    for status in (None, *S):
        for place in (None, "ep_1", "ep_2"):
            wanted = {name: value for name, value in (("status", status), ("endpoint", place)) if value}
            fits = [one.id for one in made if status in (None, one.status) and place in (None, one.endpoint_id)]
            assert await walked(database, limit, **wanted) == sorted(fits, reverse=True), wanted


async def test_a_page_looks_so_far_and_says_where_to_go_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_pages, "LOOK", 4)
    await store(database, *mixed())
    assert await page(database, endpoint="ep_x") == ([], "dlv_56")
    assert await page(database, endpoint="ep_x", after="dlv_03") == ([], None)


async def test_those_of_a_deleted_endpoint_are_still_told(database: Database) -> None:
    await store(database, delivery("dlv_1"), delivery("dlv_2", event_id="evt_2", status=S.DELIVERED, due_at=None))
    await database.write(lambda tx: endpoints.delete(tx, "ep_1", PROJECT, now=NOW))
    await database.write(lambda tx: outbox.cancel_pending(tx, "ep_1", now=NOW))
    assert await page(database, status="canceled") == (["dlv_1"], None)
    assert await page(database, endpoint="ep_1") == (["dlv_2", "dlv_1"], None)


PLANS = [
    (
        delivery_pages.WALK,
        ["COVERING INDEX deliveries_by_project (project_id=? AND id>? AND id<?)", "PRIMARY KEY (id=?)"],
    ),
    (delivery_pages.FLOOR, ["COVERING INDEX deliveries_by_project (project_id=? AND id<?)"]),
    (
        delivery_pages.PENDING,
        [
            "endpoints_by_project (project_id=?)",
            "deliveries_first (endpoint_id=?)",
            "deliveries_again (endpoint_id=?)",
        ],
    ),
    (delivery_pages.BY_IDS, ["PRIMARY KEY (id=?)"]),
    (delivery_pages.FAILED, ["deliveries_failed (project_id=? AND status=? AND endpoint_id=? AND id<?)"]),
    (
        delivery_pages.FAILING,
        [
            "deliveries_failed (project_id=? AND status=?)",
            "deliveries_failed (project_id=? AND status=? AND endpoint_id>?)",
            "deliveries_failed (project_id=? AND status=? AND endpoint_id=? AND id<?)",
        ],
    ),
    (delivery_pages.OF_EVENT, ["deliveries_once (event_id=?)"]),
    (delivery_pages.OF_TASK, ["deliveries_once (event_id=?)", "events_by_task (task_id=?)"]),
]


@pytest.mark.parametrize(("text", "ranges"), PLANS)
async def test_a_page_is_made_of_ranges_of_indexes(sqlite_file: Path, text: str, ranges: list[str]) -> None:
    """Of an empty database, whose planner knows no more than one that was never analysed."""
    raw = sqlite3.connect(sqlite_file)
    try:
        names = ("project_id", "after", "floor", "status", "endpoint", "task", "event", "ids")
        values = {**dict.fromkeys(names, "x"), "batch": 1, "look": 1, "most": 1}
        plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    finally:
        raw.close()
    for expected in ranges:
        assert any(expected in line for line in plan), plan
    tables = [
        line for line in plan if line.startswith("SCAN") and not line.endswith(("firsts", "agains", "looked", " f"))
    ]
    assert [line for line in tables if "json_each" not in line and "VIRTUAL" not in line] == [], plan
