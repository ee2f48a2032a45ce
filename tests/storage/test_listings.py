from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson
import pytest

from storage import account_tasks, endpoints, listings, outbox, projects
from storage.database import Connection, Database
from storage.listings import TaskFilter
from storage.records import EndpointStatus, TaskStatus
from tests.storage.builders import NOW, PROJECT, attempt, endpoint, finished, plant, project, task

OTHER = "prj_2"


async def task_ids(database: Database, after: str | None = None, limit: int = 10, **wanted: object) -> list[str]:
    wish = TaskFilter(**wanted)  # type: ignore[arg-type]
    found = await database.read(lambda tx: listings.task_page(tx, PROJECT, wish, after=after, limit=limit))
    return [one.id for one in found]


async def test_tasks_come_newest_first_in_pages_of_one_project(database: Database) -> None:
    await plant(database, project(OTHER), *(task(f"task_{n}") for n in range(5)), task("task_9", project_id=OTHER))
    assert await task_ids(database, limit=2) == ["task_4", "task_3"]
    assert await task_ids(database, after="task_3", limit=2) == ["task_2", "task_1"]
    assert await task_ids(database, after="task_0") == []


async def test_each_filter_narrows_and_all_of_them_hold_together(database: Database) -> None:
    odd = 'a"b.c$[0]'
    await plant(
        database,
        task("task_1", reference="r", metadata='{"k":"1"}'),
        finished("task_2", provider="ulazai", metadata='{"k":"1","l":"2"}'),
        task("task_3", account="second", created_at=NOW + 5, metadata=orjson.dumps({odd: "1"}).decode()),
    )
    assert await task_ids(database, status=TaskStatus.SUCCEEDED.value) == ["task_2"]
    assert await task_ids(database, provider="ulazai") == ["task_2"]
    assert await task_ids(database, account="second") == ["task_3"]
    assert await task_ids(database, reference="r") == ["task_1"]
    assert await task_ids(database, reference="r", status="failed") == []
    assert await task_ids(database, metadata='{"k":"1"}') == ["task_2", "task_1"]
    assert await task_ids(database, metadata='{"k":"1","l":"2"}') == ["task_2"]
    assert await task_ids(database, metadata='{"k":"2"}') == []
    assert await task_ids(database, metadata=orjson.dumps({odd: "1"}).decode()) == ["task_3"]
    assert await task_ids(database, created_after=NOW) == ["task_3"]
    assert await task_ids(database, created_before=NOW + 5) == ["task_2", "task_1"]


async def doubtful(database: Database, after: str | None = None, limit: int = 10, **wanted: object) -> list[str]:
    wish = TaskFilter(**wanted)  # type: ignore[arg-type]
    return await database.read(lambda tx: listings.unconfirmed(tx, PROJECT, wish, after=after, limit=limit))


async def test_purchases_in_doubt_are_found_oldest_first_by_who_has_them(database: Database) -> None:
    doubt: dict[str, object] = {"status": TaskStatus.UNCONFIRMED}
    await plant(
        database,
        project(OTHER),
        task("task_4", **doubt, created_at=NOW + 5),
        task("task_1", **doubt),
        task("task_2", **doubt, provider="ulazai", account="second"),
        task("task_3", status=TaskStatus.PROCESSING),
        finished("task_5", status=TaskStatus.EXPIRED),
        task("task_6", **doubt, project_id=OTHER),
    )
    assert await doubtful(database) == ["task_1", "task_2", "task_4"]
    assert await doubtful(database, limit=1) == ["task_1"]
    assert await doubtful(database, after="task_1", limit=1) == ["task_2"]
    assert await doubtful(database, provider="ulazai") == await doubtful(database, account="second") == ["task_2"]
    assert await doubtful(database, created_after=NOW) == ["task_4"]
    assert await doubtful(database, created_before=NOW + 5) == ["task_1", "task_2"]


async def test_attempts_belong_to_their_delivery_in_order(database: Database) -> None:
    made = [attempt("dlv_1", 2), attempt("dlv_2"), attempt("dlv_1", 1)]
    await database.write(lambda tx: outbox.note_attempts(tx, made))
    found = await database.read(lambda tx: listings.attempts(tx, ["dlv_1", "dlv_3"]))
    assert {key: [one.number for one in of] for key, of in found.items()} == {"dlv_1": [1, 2], "dlv_3": []}


async def test_hidden_and_deleted_endpoints_are_not_listed(database: Database) -> None:
    await plant(
        database,
        *(endpoint(f"ep_{n}") for n in range(3)),
        endpoint("ep_8", hidden=True),
        endpoint("ep_9", status=EndpointStatus.DISABLED),
    )
    await database.write(lambda tx: endpoints.delete(tx, "ep_1", PROJECT, now=NOW))
    found = await database.read(lambda tx: listings.endpoint_page(tx, PROJECT, after=None, limit=10))
    assert [one.id for one in found] == ["ep_9", "ep_2", "ep_0"]
    found = await database.read(lambda tx: listings.endpoint_page(tx, PROJECT, after="ep_9", limit=1))
    assert [one.id for one in found] == ["ep_2"]


async def test_a_project_knows_its_deleted_endpoints_and_no_others(database: Database) -> None:
    await plant(database, endpoint("ep_1"), endpoint("ep_8", hidden=True))
    await database.write(lambda tx: endpoints.delete(tx, "ep_1", PROJECT, now=NOW))
    asked = [("ep_1", PROJECT), ("ep_1", OTHER), ("ep_8", PROJECT), ("ep_2", PROJECT)]
    known = [await database.read(lambda tx, ask=ask: endpoints.known(tx, *ask)) for ask in asked]  # type: ignore[misc]
    assert known == [True, False, False, False]


async def test_open_tasks_are_counted_up_to_a_bound(database: Database) -> None:
    waiting = [task(f"task_{n}") for n in range(3)]
    bought = [task(f"task_{n}", status=TaskStatus.PROCESSING) for n in range(3, 8)]
    await plant(database, *waiting, *bought, finished("task_9"), task("task_a", account="second"))
    assert await database.read(lambda tx: account_tasks.open_at_most(tx, "cloudsway", bound=100)) == 8
    assert await database.read(lambda tx: account_tasks.open_at_most(tx, "cloudsway", bound=2)) == 4


async def test_proving_a_write_needs_one(database: Database) -> None:
    async def unit(tx: Connection) -> None:
        await projects.touch(tx)

    await database.write(unit)
    with pytest.raises(Exception, match=r"read-?only"):
        await database.read(unit)


PLANS = [
    (listings.TASKS, "tasks_by_project (project_id=? AND id<?)"),
    (listings.TASKS_OF_REFERENCE, "tasks_of_reference (project_id=? AND reference=? AND id<?)"),
    (listings.ENDPOINTS, "endpoints_by_project (project_id=? AND id<?)"),
]


@pytest.mark.parametrize(("text", "index"), PLANS)
async def test_a_page_is_one_range_of_one_index(sqlite_file: Path, text: str, index: str) -> None:
    """Of an empty database, whose planner knows no more than one that was never analysed."""
    raw = sqlite3.connect(sqlite_file)
    try:
        names = {"project_id", "after", "created_after", "created_before", "status", "provider", "account", "metadata"}
        names |= {"reference", "task", "event", "endpoint"}
        values = dict.fromkeys(names, "x")
        plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", {**values, "batch": 1})]
    finally:
        raw.close()
    assert any(index in line for line in plan), plan
    assert not any(line.startswith("SCAN") and "json_each" not in line and "VIRTUAL" not in line for line in plan), plan
