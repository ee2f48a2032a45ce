"""Is anything missing? From the beginning to the end in bounded stretches, and nothing is looked at twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.core import ids
from service.core.times import DAY
from service.pipeline import audit, audit_deliveries, audit_jobs
from service.pipeline.audit import Place, Scope, all_of, stretch
from service.pipeline.audit_part import Part
from service.providers.registry import PROVIDERS
from storage import callbacks, endpoints, outbox, tasks
from storage.callbacks import Orphan
from storage.database import Connection, Database
from tests import engines
from tests.storage.builders import NOW, PROJECT, SECOND, delivery, endpoint, event, finished, plant
from tests.storage.conftest import opened

COUNT = 7


def task_id(number: int) -> str:
    return ids.mint("task", NOW + number * DAY, number.to_bytes(10, "big"))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Seven ends, one a day, each delivered to one endpoint; and a push that nobody owns."""
    async with opened(await engines.address(tmp_path, lambda: NOW), lambda: NOW) as made:
        await plant(made, endpoint())
        await made.write(furnish)
        yield made


async def furnish(tx: Connection) -> None:
    for number in range(COUNT):
        at, one = NOW + number * DAY, task_id(number)
        await tasks.insert(tx, finished(one, created_at=at, finished_at=at, final_at=at, updated_at=at))
        told = event(f"evt_{number}", task_id=one, created_at=at)
        await outbox.publish(tx, [told], [delivery(f"dlv_{number}", event_id=told.id, task_id=one, due_at=at)])
    row = Orphan(id="cbk_" + "0" * 26, provider="cloudsway", submission_id="sub_x", raw=b"{}", received_at=NOW)
    await callbacks.keep_orphan(tx, row, b"digest", limit=10)


def scope(**more: object) -> Scope:
    return Scope(**{"project_id": PROJECT, "providers": PROVIDERS, **more})  # type: ignore[arg-type]


async def whole(database: Database, wanted: Scope) -> Part:
    found = Part()
    async for part in all_of(database, wanted):
        found.add(part)
    return found


async def test_where_nothing_is_missing_nothing_is_found(database: Database) -> None:
    found = await whole(database, scope())
    assert found.unexplained == [] and found.unknown == []
    assert [found.counts[name] for name in ("events", "ends", "owed", "pending", "tasks", "ended")] == [COUNT] * 6
    assert found.next_at == NOW


async def test_pushes_nobody_owns_are_looked_at_when_asked_for(database: Database) -> None:
    assert (await whole(database, scope())).counts["orphans"] == 0
    assert [one.kind for one in (await whole(database, scope(orphans=True))).unexplained] == ["orphan"]


@pytest.mark.parametrize("most", [1, 3, 8, 1000])
async def test_however_short_its_stretches_are_the_sum_is_the_same(
    database: Database, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = await whole(database, scope(orphans=True))
    monkeypatch.setattr(audit, "MOST", most)
    monkeypatch.setattr(audit_deliveries, "BATCH", 2)
    monkeypatch.setattr(audit_jobs, "BATCH", 2)
    assert await whole(database, scope(orphans=True)) == at_once


async def test_a_stretch_says_where_to_go_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST", 4)
    monkeypatch.setattr(audit_deliveries, "BATCH", 4)
    [(fourth,)] = await database.read(
        lambda tx: tx.fetch("SELECT position FROM events ORDER BY position LIMIT 1 OFFSET 3")
    )
    part, place = await stretch(database, scope())
    assert (part.counts["events"], place) == (4, Place("events", str(fourth)))
    part, place = await stretch(database, scope(), place)
    assert part.counts["events"] == 3 and place is not None and str(place).startswith("tasks task_")
    assert (await stretch(database, scope(), place))[1] is None


async def test_it_begins_at_an_instant_when_told_to(database: Database) -> None:
    found = await whole(database, scope(since=NOW + 4 * DAY, orphans=True))
    assert [found.counts[name] for name in ("events", "tasks", "orphans")] == [3, 3, 0]


async def test_another_projects_rows_are_not_looked_at(database: Database) -> None:
    found = await whole(database, scope(project_id="prj_other"))
    assert found == Part()


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        ("DELETE FROM deliveries WHERE id = 'dlv_3'", ["delivery_missing"]),
        ("UPDATE deliveries SET due_at = NULL WHERE id = 'dlv_3'", ["delivery_without_time"]),
        ("UPDATE endpoints SET deleted_at = 1", ["delivery_stranded"] * COUNT),
        ("DELETE FROM events WHERE id = 'evt_3'", ["end_untold"]),
        ("UPDATE events SET type = 'task.failed' WHERE id = 'evt_3'", ["end_told_otherwise"]),
        (
            "UPDATE tasks SET status = 'processing', finished_at = NULL, due_at = 1 WHERE id = '{}'",
            ["end_told_too_soon"],
        ),
        ("DELETE FROM tasks WHERE id = '{}'", ["event_without_task"]),
    ],
)
async def test_what_is_broken_on_purpose_is_listed(database: Database, damage: str, kinds: list[str]) -> None:
    await database.write(lambda tx: tx.fetch(damage.format(task_id(3))))
    assert [one.kind for one in (await whole(database, scope())).unexplained] == kinds


async def test_an_endpoint_that_came_later_is_owed_nothing_of_before_and_one_that_left_nothing_since(
    database: Database,
) -> None:
    async def unit(tx: Connection) -> None:
        await endpoints.insert(tx, endpoint("ep_2", events="*"))
        await endpoints.delete(tx, "ep_1", PROJECT, now=NOW)
        await outbox.cancel_pending(tx, "ep_1", now=NOW)
        await tasks.insert(tx, finished("task_z"))
        told = event("evt_z", task_id="task_z", created_at=NOW + SECOND)
        await outbox.publish(tx, [told], [delivery("dlv_z", event_id="evt_z", endpoint_id="ep_2")])

    await database.write(unit)
    found = await whole(database, scope())
    assert found.unexplained == []
    assert [found.counts[name] for name in ("owed", "canceled", "pending")] == [COUNT + 1, COUNT, 1]
