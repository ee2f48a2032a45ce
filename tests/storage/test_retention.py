"""The searches for what is over are ranges of ids, and what is removed is judged again where it is removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from storage import callbacks, outbox, retention
from storage.database import Connection, Database
from storage.dialect import sqlite
from storage.records import DeliveryStatus
from storage.retention import Window
from tests.storage.builders import NOW, attempt, delivery, event, finished, plant, push, task

WINDOW = Window(below="task_zz", before=NOW, settled_before=NOW - 10)
SEARCHES: Mapping[str, tuple[str, str]] = {
    "tasks": (retention.TASKS, "SEARCH t USING INDEX sqlite_autoindex_tasks_1 (id>? AND id<?)"),
    "raw payloads": (retention.ENDED, "SEARCH t USING INDEX sqlite_autoindex_tasks_1 (id>? AND id<?)"),
    "attempts": (retention.ATTEMPTS, "SEARCH a USING PRIMARY KEY"),
    "events": (retention.EVENTS, "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)"),
}
REMOVALS = (
    retention.LOCK_TASKS, retention.LOCK_EVENTS_OF, retention.LOCK_EVENTS, retention.LOCK_DELIVERIES, retention.OVER,
    retention.LAST_OF_TASKS, retention.DELETE_ATTEMPTS_OF, retention.DELETE_DELIVERIES_OF,
    retention.DELETE_EVENTS_OF, retention.DELETE_OBSERVATIONS_OF, retention.DELETE_TIMELINE_OF, retention.DELETE_SUBMISSIONS_OF,
    retention.DELETE_TASKS, retention.STRIP, retention.DELETE_ATTEMPT, retention.DELETE_EVENT, retention.DELETE_ORPHANS,
    retention.DELETE_AUDIT, retention.DELETE_ATTEMPTS_OF_EVENTS, retention.DELETE_DELIVERIES_OF_EVENTS, retention.ENDED_OF,
)  # fmt: skip


async def plan(sqlite_file: Path, text: str) -> str:
    with closing(sqlite3.connect(sqlite_file)) as raw:
        translated, _ = sqlite(text)
        rows = raw.execute(f"EXPLAIN QUERY PLAN {translated}", (None,) * translated.count("?")).fetchall()
    return "\n".join(str(row[3]) for row in rows)


@pytest.mark.parametrize("what", SEARCHES)
async def test_a_search_is_a_range_of_one_index(sqlite_file: Path, what: str) -> None:
    text, wanted = SEARCHES[what]
    told = await plan(sqlite_file, text)
    assert wanted in told
    assert "TEMP B-TREE" not in told


@pytest.mark.parametrize("text", REMOVALS)
async def test_no_removal_walks_a_table(sqlite_file: Path, text: str) -> None:
    told = [line for line in (await plan(sqlite_file, text)).splitlines() if line.startswith("SCAN")]
    assert [line for line in told if "json_each" not in line and "USING" not in line] == []


async def place(tx: Connection, event_id: str) -> object:
    """Where an event stands in the feed."""
    [(position,)] = await tx.fetch("SELECT position FROM events WHERE id = :id", {"id": event_id})
    return position


async def test_what_is_owed_again_in_between_is_not_removed(database: Database) -> None:
    """The page was read, and then somebody asked for the delivery once more."""
    await plant(database, finished("task_1"), finished("task_2"))

    async def unit(tx: Connection) -> tuple[object, int]:
        pending = delivery("dlv_1", event_id="evt_1", task_id="task_1", status=DeliveryStatus.PENDING)
        await outbox.publish(tx, [event("evt_1", task_id="task_1"), event("evt_2", task_id="task_2")], [pending])
        return await place(tx, "evt_2"), await retention.delete_tasks(tx, ["task_1", "task_2", "task_gone"], WINDOW)

    second, removed = await database.write(unit)
    assert removed == 1
    assert await database.read(lambda tx: tx.fetch("SELECT id FROM tasks")) == [("task_1",)]
    assert await database.read(lambda tx: retention.forgotten(tx, "prj_1")) == second


async def test_an_end_that_may_still_change_is_not_removed_though_the_page_said_it_could_be(database: Database) -> None:
    young, old = (finished(f"task_{at}", final_at=None, finished_at=NOW - at) for at in (9, 10))
    await plant(database, young, old)
    assert await database.write(lambda tx: retention.delete_tasks(tx, [young.id, old.id], WINDOW)) == 1
    assert await database.read(lambda tx: tx.fetch("SELECT id FROM tasks")) == [(young.id,)]


async def test_an_event_of_no_task_that_is_owed_again_in_between_stays(database: Database) -> None:
    """And a test, which stands in no feed, moves no place in it."""

    async def unit(tx: Connection) -> tuple[int, object]:
        told = [event("evt_1", task_id=None), event("evt_2", task_id=None), event("evt_3", task_id=None, test=True)]
        pending = delivery("dlv_1", event_id="evt_1", task_id=None, status=DeliveryStatus.PENDING)
        await outbox.publish(tx, told, [pending])
        looked = await retention.told(tx, before=NOW, after=0, batch=10)
        assert [(one.id, one.over) for one in looked] == [("evt_1", False), ("evt_2", True), ("evt_3", True)]
        second = await place(tx, "evt_2")
        return await retention.delete_told(tx, looked), second

    await plant(database)
    removed, second = await database.write(unit)
    assert removed == 2
    assert await database.read(lambda tx: tx.fetch("SELECT id FROM events")) == [("evt_1",)]
    assert await database.read(lambda tx: retention.forgotten(tx, "prj_1")) == second


async def test_the_place_up_to_which_the_feed_is_forgotten_never_goes_back(database: Database) -> None:
    await plant(database, finished("task_1"), finished("task_2"))

    async def unit(tx: Connection) -> object:
        await outbox.publish(tx, [event("evt_1", task_id="task_1"), event("evt_2", task_id="task_2")], [])
        second = await place(tx, "evt_2")
        await retention.delete_tasks(tx, ["task_2"], WINDOW)
        await retention.delete_tasks(tx, ["task_1"], WINDOW)
        return second

    second = await database.write(unit)
    assert await database.read(lambda tx: retention.forgotten(tx, "prj_1")) == second
    assert await database.read(lambda tx: retention.forgotten(tx, "prj_none")) == 0


async def test_an_attempt_of_a_delivery_that_became_due_again_stays(database: Database) -> None:
    async def unit(tx: Connection) -> int:
        await outbox.publish(tx, [event("evt_1")], [delivery("dlv_1", event_id="evt_1")])
        await outbox.note_attempts(tx, [attempt("dlv_1"), attempt("dlv_gone")])
        return await retention.delete_attempts(tx, [("dlv_1", 1), ("dlv_gone", 1)])

    await plant(database, task("task_1"))
    assert await database.write(unit) == 1


async def test_a_stripped_message_keeps_what_was_understood(database: Database) -> None:
    await plant(database, finished("task_1"))
    row = push(task_id="task_1", raw=b"bytes", content='{"claim":"running"}')

    async def unit(tx: Connection) -> list[tuple[object, ...]]:
        await callbacks.insert(tx, [row])
        assert await retention.strip(tx, ["task_1"]) == 1
        assert await retention.strip(tx, ["task_1"]) == 0
        return await tx.fetch("SELECT raw, content FROM observations")

    assert await database.write(unit) == [(None, '{"claim":"running"}')]
