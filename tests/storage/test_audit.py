"""Who decided what stays as it was written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from storage import audit
from storage.database import Database
from storage.errors import Duplicate
from storage.records import AuditEntry
from tests.storage import texts
from tests.storage.builders import PROJECT, audited
from tests.storage.strategies import ON_ONE_DATABASE, rows

example = iter(range(1_000_000))


async def page(database: Database, after: str | None = None, limit: int = 10) -> list[str]:
    found = await database.read(lambda tx: audit.page(tx, PROJECT, after=after, limit=limit))
    return [entry.id for entry in found]


@ON_ONE_DATABASE
@given(row=rows(AuditEntry))
async def test_every_field_survives(database: Database, row: AuditEntry) -> None:
    row = replace(row, id=f"aud_{next(example)}", task_id=f"task_{next(example)}")
    await database.write(lambda tx: audit.insert(tx, [row]))
    assert await database.read(lambda tx: audit.of_task(tx, str(row.task_id))) == [row]


async def test_a_tasks_entries_come_oldest_first_and_a_projects_newest_first(database: Database) -> None:
    made = [
        audited("aud_2"),
        audited("aud_1"),
        audited("aud_3", task_id=None, action="on_ambiguous"),
        audited("aud_4", task_id="task_2"),
        audited("aud_5", project_id="prj_2", task_id="task_9"),
    ]
    await database.write(lambda tx: audit.insert(tx, made))
    assert [entry.id for entry in await database.read(lambda tx: audit.of_task(tx, "task_1"))] == ["aud_1", "aud_2"]
    assert await page(database) == ["aud_4", "aud_3", "aud_2", "aud_1"]
    assert await page(database, limit=2) == ["aud_4", "aud_3"]
    assert await page(database, after="aud_3") == ["aud_2", "aud_1"]


async def test_the_entries_of_one_task_or_endpoint_are_found_within_their_project(database: Database) -> None:
    made = [
        audited("aud_1"),
        audited("aud_2", task_id=None, endpoint_id="ep_1", action="endpoint.pause"),
        audited("aud_3", endpoint_id="ep_1", action="retry"),
        audited("aud_4", project_id="prj_2", endpoint_id="ep_1"),
    ]
    await database.write(lambda tx: audit.insert(tx, made))

    async def found(**of: str) -> list[str]:
        entries = await database.read(lambda tx: audit.page(tx, PROJECT, after=None, limit=9, **of))
        return [entry.id for entry in entries]

    assert await found(task="task_1") == ["aud_3", "aud_1"]
    assert await found(endpoint="ep_1") == ["aud_3", "aud_2"]
    assert await found(task="task_1", endpoint="ep_1") == ["aud_3"]


async def test_an_entry_is_never_written_over(database: Database) -> None:
    await database.write(lambda tx: audit.insert(tx, [audited()]))
    with pytest.raises(Duplicate):
        await database.write(lambda tx: audit.insert(tx, [audited(action="adopt")]))
    assert await database.read(lambda tx: audit.of_task(tx, "task_1")) == [audited()]


def test_no_statement_changes_an_entry_and_retention_alone_removes_one() -> None:
    writing = [
        name
        for name, text in texts.statements().items()
        if text.split()[0] in ("UPDATE", "DELETE") and "audit" in text.split()[1:3]
    ]
    assert writing == ["retention.DELETE_AUDIT"]
