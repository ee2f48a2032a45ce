"""Every end was told, every open task has a time, every job that is known of is somebody's."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.pipeline.audit_jobs import judge, orphans, page, unbound
from service.pipeline.audit_part import Part
from service.providers.registry import PROVIDERS
from storage import callbacks, outbox, submissions
from storage.callbacks import Orphan
from storage.database import Connection, Database
from storage.records import SubmissionStatus, TaskStatus
from storage.stocktake import Counted, Named
from tests import engines
from tests.storage.builders import NOW, PROJECT, event, finished, plant, submission, task
from tests.storage.conftest import opened

DONE = Counted(
    id="task_1",
    status="succeeded",
    account="cloudsway",
    provider_task_id="job-1",
    surplus="[]",
    final_at=NOW,
    finished_at=NOW,
    due_at=None,
    updated_at=NOW,
)
OPEN = replace(DONE, status="processing", final_at=None, finished_at=None, due_at=NOW)
NAMED = Named("task_1", "sub_1", "cloudsway", "job-1")
SURPLUS = '[{"provider_task_id":"job-2","account":"cloudsway","found_at":1}]'


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(await engines.address(tmp_path, lambda: NOW), lambda: NOW) as made:
        yield made


def kinds(part: Part) -> list[str]:
    return [one.kind for one in part.unexplained]


@pytest.mark.parametrize(
    ("found", "ends", "kind"),
    [
        (DONE, ["task.succeeded"], None),
        (DONE, ["task.expired", "task.succeeded"], None),
        (DONE, [], "end_untold"),
        (DONE, ["task.expired"], "end_told_otherwise"),
        (OPEN, [], None),
        (OPEN, ["task.failed"], "end_told_too_soon"),
        (replace(OPEN, due_at=None), [], "task_without_time"),
        (replace(OPEN, status="submitting", due_at=None), [], None),
    ],
)
def test_what_was_told_is_what_the_task_is(found: Counted, ends: list[str], kind: str | None) -> None:
    part = judge([found], {"task_1": ends}, [], {})
    assert kinds(part) == ([kind] if kind else [])
    assert part.counts["ended"] + part.counts["open"] == part.counts["tasks"] == 1


def test_a_job_that_a_reply_named_is_its_tasks_or_on_its_bill() -> None:
    assert list(unbound([DONE], [NAMED])) == []
    second = replace(NAMED, provider_task_id="job-2")
    assert list(unbound([DONE], [NAMED, second])) == [second]
    assert list(unbound([replace(DONE, surplus=SURPLUS)], [NAMED, second])) == []
    elsewhere = replace(NAMED, account="spare")
    assert list(unbound([DONE], [elsewhere])) == [elsewhere], "the id is that account's"


def test_a_job_of_another_task_is_counted_there_and_one_of_nobody_is_named() -> None:
    known, lost = replace(NAMED, provider_task_id="job-8"), replace(NAMED, provider_task_id="job-9")
    part = judge(
        [replace(DONE, surplus=SURPLUS)], {"task_1": ["task.succeeded"]}, [known, lost], {("cloudsway", "job-8"): "x"}
    )
    assert [part.counts[name] for name in ("jobs", "bound", "surplus", "adrift")] == [3, 1, 1, 1]
    assert (kinds(part), part.unexplained[0].names["provider_task_id"]) == (["job_without_task"], "job-9")


async def test_a_page_is_read_from_the_rows(database: Database) -> None:
    await plant(database, finished("task_1", provider_task_id="job-1"), finished("task_2"))
    await plant(database, task("task_3", status=TaskStatus.QUEUED, due_at=None))

    async def unit(tx: Connection) -> None:
        await outbox.publish(tx, [event("evt_1", task_id="task_1")], [])
        made = [
            submission("sub_1", "task_1", provider_task_id="job-1", status=SubmissionStatus.ACCEPTED),
            submission("sub_2", "task_2", provider_task_id="job-1", status=SubmissionStatus.ACCEPTED),
            submission("sub_3", "task_3", provider_task_id="job-3", status=SubmissionStatus.ACCEPTED),
        ]
        await submissions.insert(tx, made)
        for one in made:
            if one.provider_task_id is not None:
                await submissions.settle(
                    tx, one.id, one.status, now=NOW, provider_task_id=one.provider_task_id, detail=None
                )

    await database.write(unit)
    part, count, last = await database.read(lambda tx: page(tx, PROJECT, after="", since=0))
    assert (count, last, part.counts["tasks"]) == (3, "task_3", 3)
    assert sorted(kinds(part)) == ["end_untold", "job_without_task", "task_without_time"]
    later, count, _ = await database.read(lambda tx: page(tx, PROJECT, after="", since=NOW + 1))
    assert (count, later.counts["tasks"]) == (3, 1), "what is open is looked at however old it is"
    assert await database.read(lambda tx: page(tx, PROJECT, after=last, since=0)) == (Part(), 0, last)


async def test_pushes_nobody_owns_are_named_with_the_job_they_speak_of(database: Database) -> None:
    bodies = [b'{"data":{"task_id":"9017","task_status":"succeed"},"task_id":"9017","status":"succeeded"}', b"\xff no"]

    async def kept(tx: Connection, number: int, body: bytes, provider: str = "cloudsway") -> None:
        row = Orphan(
            id=f"cbk_{number}", provider=provider, submission_id=f"sub_{number}", raw=body, received_at=NOW + number
        )
        await callbacks.keep_orphan(tx, row, hashlib.sha256(body).digest(), limit=10)

    async def unit(tx: Connection) -> None:
        for number, body in enumerate(bodies):
            await kept(tx, number, body)
        await kept(tx, 9, b"x", provider="gone")

    await database.write(unit)
    part, count, last = await database.read(lambda tx: orphans(tx, PROVIDERS, after="", since=NOW))
    assert (count, last, part.counts["orphans"], kinds(part)) == (3, "cbk_9", 3, ["orphan"] * 3)
    assert part.unexplained[0].names.get("provider_task_id") == "9017"
    assert "provider_task_id" not in part.unexplained[1].names
    _, count, _ = await database.read(lambda tx: orphans(tx, PROVIDERS, after="cbk_0", since=NOW + 2))
    assert count == 1
