from __future__ import annotations

import math
from pathlib import Path

from service.core.observation import Claim
from service.pipeline.gauges import FRESH_SECONDS, Gauges
from storage import lanes
from storage.database import Connection, open_database
from storage.records import LaneKind, TaskStatus
from tests.counters import counted, sample
from tests.service.pipeline.parties import SECOND, Clock
from tests.service.pipeline.rig import Rig


def gauges(rig: Rig) -> Gauges:
    return Gauges(rig.database, rig.accounts, clock=rig.clock)


async def test_they_show_what_stands_in_the_database(still: Rig) -> None:
    project = await still.project()
    for _ in range(2):
        await still.task(project)
    await still.bound(await still.task(project))
    await still.task(project, status=TaskStatus.UNCONFIRMED)
    still.touched = True  # nobody bought that one
    still.clock.advance(90)
    await gauges(still).refresh()
    counts = {status: sample("open_tasks", account="cloudsway", status=status) for status in TaskStatus}
    assert {status: count for status, count in counts.items() if count} == {
        "queued": 2,
        "processing": 1,
        "unconfirmed": 1,
    }
    assert sample("account_oldest_due_seconds", account="cloudsway") == 90
    assert sample("oldest_due_seconds", kind="account") == 90
    assert sample("oldest_due_seconds", kind="endpoint") == 0
    assert sample("lanes_waiting", kind="account") == 1


async def test_however_often_somebody_looks_the_database_is_asked_every_few_seconds(still: Rig) -> None:
    project = await still.project()
    looked = gauges(still)
    await looked.refresh()
    await still.task(project)
    await looked.refresh()
    assert sample("open_tasks", account="cloudsway", status="queued") == 0
    still.clock.advance(FRESH_SECONDS)
    await looked.refresh()
    assert sample("open_tasks", account="cloudsway", status="queued") == 1


async def test_how_an_account_stands_is_shown(still: Rig) -> None:
    still.account("cloudsway")
    care = f'{{"paused_at": {still.clock()}, "resumed_at": 0, "silent_since": {still.clock()}}}'
    broken = f'{{"since": {still.clock()}, "probe_at": {still.clock()}}}'

    async def unit(tx: Connection) -> None:
        await lanes.order(tx, "cloudsway", care=care, holds=None)
        await tx.fetch("UPDATE lanes SET breaker = :breaker", {"breaker": broken})

    await still.database.write(unit)
    await gauges(still).refresh()
    names = ("account_paused", "account_pushes_missing", "breaker_open")
    assert [sample(name, account="cloudsway") for name in names] == [1, 1, 1]
    await still.run("UPDATE lanes SET breaker = NULL, care = NULL WHERE kind = :kind", kind=LaneKind.ACCOUNT.value)
    await gauges(still).refresh()
    assert [sample(name, account="cloudsway") for name in names] == [0, 0, 0]


async def test_the_share_of_missed_pushes_is_of_those_that_were_to_come(still: Rig) -> None:
    project, looked = await still.project(), gauges(still)
    await looked.refresh()
    assert math.isnan(sample("callback_miss_ratio", provider="cloudsway"))
    for pushed in (True, False, False, False):
        task = await still.task(project)
        submission = await still.bound(task)
        if pushed:
            await still.recorder.record(still.callback(submission, Claim.RUNNING, body=task.id.encode()))
        await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    still.clock.advance(60)
    await looked.refresh()
    assert sample("callback_miss_ratio", provider="cloudsway") == 0.75


async def test_a_database_that_does_not_answer_leaves_them_and_is_counted(clock: Clock, tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path}/other.db", clock=clock)
    looked = Gauges(database, {}, clock=clock)
    await looked.refresh()
    read_at = sample("gauges_read_timestamp_seconds")
    assert read_at == clock() / SECOND
    await database.close()
    clock.advance(FRESH_SECONDS)
    with counted("gauges_failed_total") as failed:
        await looked.refresh()
        assert failed() == 1
    assert sample("gauges_read_timestamp_seconds") == read_at
