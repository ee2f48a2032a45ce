from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage import usage
from storage.database import Database
from storage.dialect import sqlite
from tests.storage.builders import finished, plant, task


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (usage.OF_PROJECT, "SEARCH t USING INDEX tasks_by_project (project_id=? AND id>? AND id<?)"),
        (usage.OF_ALL, "SEARCH t USING INDEX sqlite_autoindex_tasks_1 (id>? AND id<?)"),
    ],
)
async def test_a_stretch_is_a_range_of_one_index(sqlite_file: Path, text: str, wanted: str) -> None:
    with closing(sqlite3.connect(sqlite_file)) as raw:
        translated, _ = sqlite(text)
        rows = raw.execute(f"EXPLAIN QUERY PLAN {translated}", (None,) * translated.count("?")).fetchall()
    assert any(str(row[3]) == wanted for row in rows), rows


async def test_alike_tasks_are_counted_and_the_rest_is_behind_the_last_id(database: Database) -> None:
    alike = {"cost_unit": "credit", "cost_estimated": "2"}
    await plant(
        database, task("task_1", **alike), task("task_2", **alike), finished("task_3", **alike), task("task_4", **alike)
    )
    found, after = await database.read(
        lambda tx: usage.stretch(tx, project_id="prj_1", by="account", key="", after="task_", below="task_9", batch=3)
    )
    assert [(one.group, one.status, one.count) for one in sorted(found, key=lambda one: one.status)] == [
        ("cloudsway", "queued", 2), ("cloudsway", "succeeded", 1),
    ]  # fmt: skip
    assert after == "task_3"
    found, after = await database.read(
        lambda tx: usage.stretch(tx, project_id=None, by="project", key="", after="task_3", below="task_9", batch=3)
    )
    assert ([(one.group, one.count) for one in found], after) == ([("prj_1", 1)], None)
