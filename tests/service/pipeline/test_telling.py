"""What a commit brought, as lines and counters."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from service.core.observation import Claim, Source
from service.pipeline.accounts import Callbacks
from tests.counters import counted
from tests.service.pipeline.rig import Rig

Lines = list[dict[str, Any]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Facts as they are handed to the log."""
    found: Lines = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.extend({**fact, "level": record.levelname} for fact in getattr(record, "facts", ()))

    caplog.set_level(logging.INFO, "taskrelay.task")
    logger = logging.getLogger("taskrelay.task")
    kept = Keep()
    logger.addHandler(kept)
    caplog._item.addfinalizer(lambda: logger.removeHandler(kept))
    return found


async def test_a_task_that_is_bought_and_ends_is_two_lines_with_its_ids(still: Rig, lines: Lines) -> None:
    project = await still.project()
    task = await still.task(project)
    await still.bound(task)
    still.clock.advance(12)
    with counted("task_ends_total", provider="cloudsway", account="cloudsway", status="failed", told_by="poll") as ends:
        await still.see(task, Claim.FAILED, job=f"job-{task.id}")
        assert ends() == 1
    bought, ended = lines
    assert (bought["text"], bought["task"], bought["project"]) == ("task submitted", task.id, project)
    assert (ended["text"], ended["task"], ended["level"], ended["told_by"]) == ("task failed", task.id, "INFO", "poll")
    assert (ended["seconds"], ended["error"]) == (12.0, "provider_error")


async def test_a_verdict_found_by_asking_is_a_push_that_was_missed(still: Rig) -> None:
    project = await still.project()
    with (
        counted("pushes_expected_total", provider="cloudsway", account="cloudsway") as expected,
        counted("pushes_missed_total", provider="cloudsway", account="cloudsway") as missed,
    ):
        task = await still.task(project)
        await still.bound(task)
        await still.see(task, Claim.FAILED, job=f"job-{task.id}")
        assert (expected(), missed()) == (1, 1)
        task = await still.task(project)
        await still.bound(task)
        rung = replace(still.seen(task, Claim.FAILED, job=f"job-{task.id}"), prompted_by=Claim.FAILED)
        await still.recorder.record(rung)
        assert (expected(), missed()) == (2, 1)


async def test_of_a_provider_that_never_pushes_nothing_is_missed(still: Rig) -> None:
    polled = still.account("polled", provider="cloudsway", callbacks=Callbacks.OFF)
    task = await still.task(await still.project(), account="polled")
    with counted("pushes_missed_total", provider="cloudsway", account="polled") as missed:
        await still.bound(task)
        await still.see(task, Claim.FAILED, job=f"job-{task.id}")
        assert (polled.pushes, missed()) == (False, 0)


async def test_a_purchase_of_unknown_fate_is_a_warning_and_counted(still: Rig, lines: Lines) -> None:
    task = await still.task(await still.project())
    submission = await still.intend(task)
    with counted("unconfirmed_total", provider="cloudsway", account="cloudsway") as unknown:
        await still.see(task, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
        assert unknown() == 1
    assert [(one["text"], one["level"]) for one in lines] == [("task unconfirmed", "WARNING")]


async def test_one_batch_is_recorded_as_one_record_of_many_lines(
    still: Rig, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    project = await still.project()
    made = [await still.task(project) for _ in range(5)]
    for task in made:
        await still.bound(task)
    caplog.clear()
    lines.clear()
    await still.recorder.record_all([still.seen(task, Claim.FAILED, job=f"job-{task.id}") for task in made])
    assert [one["task"] for one in lines] == [task.id for task in made]
    assert len([one for one in caplog.records if one.name == "taskrelay.task"]) == 1


async def test_nothing_of_what_a_task_is_about_or_its_provider_said_is_in_a_line(still: Rig, lines: Lines) -> None:
    task = await still.task(await still.project(), prompt="a c4n4ry in a coal mine")
    await still.bound(task)
    await still.see(task, Claim.FAILED, job=f"job-{task.id}", detail="a c4n4ry died")
    assert lines
    assert "c4n4ry" not in repr(lines)
