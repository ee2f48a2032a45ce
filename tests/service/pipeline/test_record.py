from __future__ import annotations

import asyncio

import pytest

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Source
from service.pipeline.ledger import Batch
from service.pipeline.recorder import Recorder
from storage.database import Connection, Database, T, Unit
from storage.errors import Stale, StorageError
from storage.records import TaskStatus
from tests.service.pipeline.parties import Wrapped
from tests.service.pipeline.rig import Rig, open_rig
from tests.service.pipeline.steps import VIDEO, bound_task, succeeded
from tests.traps import lift_trap, set_trap


async def test_one_transaction_takes_many_tasks_and_several_observations_of_each(still: Rig) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project, events="task.*")
    made = [await still.task(project) for _ in range(20)]
    for task in made:
        await still.bound(task)
    before = len(still.batches)
    seen = []
    for claim in (Claim.RUNNING, Claim.SUCCEEDED):
        seen += [still.seen(task, claim, job=f"job-{task.id}", outputs=VIDEO) for task in made]
    recorded = await still.recorder.record_all(seen)
    assert len(still.batches) == before + 1
    assert {one.outcome for one in recorded} == {Outcome.CHANGED}
    for task in made:
        assert (await still.now(task)).status is TaskStatus.SUCCEEDED
        assert await still.events(task) == ["task.submitted", "task.processing", "task.succeeded"]
    assert len(await still.deliveries(endpoint)) == 60


async def test_a_failure_in_the_last_statement_leaves_nothing_behind(still: Rig) -> None:
    task, _ = await bound_task(still)
    await still.endpoint(task.project_id)
    tables = ("tasks", "timeline", "events", "deliveries", "observations")
    before = {table: await still.rows(f"SELECT * FROM {table}") for table in tables}  # noqa: S608
    await set_trap(still.database, "BEFORE INSERT", "lanes", when="new.kind = 'endpoint'", text="boom")
    with pytest.raises(StorageError, match="boom"):
        await still.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)
    assert {table: await still.rows(f"SELECT * FROM {table}") for table in tables} == before  # noqa: S608
    await lift_trap(still.database, "lanes")
    await still.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)
    assert (await still.events(task))[-1] == "task.succeeded"
    assert len(await still.timeline(task)) == (await still.now(task)).version


async def test_a_poison_observation_fails_alone(still: Rig) -> None:
    made = [(await bound_task(still))[0] for _ in range(9)]
    poison = made[4]
    await set_trap(still.database, "BEFORE INSERT", "timeline", when=f"new.task_id = '{poison.id}'", text="poison")
    results = await asyncio.gather(
        *(still.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO) for task in made),
        return_exceptions=True,
    )
    assert [isinstance(one, StorageError) for one in results] == [task is poison for task in made]
    assert {(await still.now(task)).status for task in made if task is not poison} == {TaskStatus.SUCCEEDED}
    assert (await still.now(poison)).status is TaskStatus.PROCESSING


async def test_two_tasks_that_claim_one_job_in_the_same_moment_do_not_both_get_it(still: Rig) -> None:
    project = await still.project()
    one, other = await still.task(project), await still.task(project)
    seen = [
        still.seen(task, Claim.ACCEPTED, job="18", submission=await still.intend(task), source=Source.SUBMIT)
        for task in (one, other)
    ]
    first, second = await still.recorder.record_all(seen)
    assert (first.outcome, second.outcome) == (Outcome.CHANGED, Outcome.CONFLICT)
    assert (await still.now(one)).provider_task_id == "18"
    assert (await still.now(other)).provider_task_id is None


async def test_who_waits_for_a_batch_hears_of_it_even_when_the_lanes_cannot_be_told(still: Rig) -> None:
    task = await still.task(await still.project())

    def broken(batch: Batch) -> None:
        raise ValueError("a lane is broken")

    recorder = Recorder(still.database, still.desk(), arrived=broken)
    async with asyncio.timeout(30):
        told = await recorder.record(still.seen(task, Claim.CANCEL, source=Source.OPERATOR))
    assert told.outcome is Outcome.CHANGED


class FirstIsStale(Wrapped):
    """A database whose first writes find, at their very end, that another writer was faster."""

    def __init__(self, inner: Database, times: int = 1) -> None:
        super().__init__(inner)
        self.times = times

    async def write(self, unit: Unit[T], /) -> T:
        async def stale(tx: Connection) -> T:
            await unit(tx)
            raise Stale("a test was first")

        self.times -= 1
        return await super().write(stale if self.times >= 0 else unit)


async def test_a_batch_that_lost_a_race_is_folded_anew(still: Rig) -> None:
    task, _ = await bound_task(still)
    recorder = Recorder(FirstIsStale(still.database, 3), still.desk(), arrived=lambda batch: None)
    recorded = await recorder.record(succeeded(still, task))
    assert recorded.outcome is Outcome.CHANGED
    assert await still.events(task) == ["task.submitted", "task.succeeded"]
    assert [entry.kind for entry in await still.timeline(task)].count("succeeded") == 1


async def test_a_batch_that_always_loses_is_given_up_and_says_so(still: Rig) -> None:
    task, _ = await bound_task(still)
    recorder = Recorder(FirstIsStale(still.database, 1000), still.desk(), arrived=lambda batch: None)
    with pytest.raises(StorageError, match="kept changing"):
        await recorder.record(succeeded(still, task))


async def test_two_processes_that_race_on_one_task_tell_one_end(still: Rig) -> None:
    other = await open_rig(still.path, still.clock, None)
    other.account()
    try:
        for _ in range(15):
            task, _ = await bound_task(still)
            await asyncio.gather(
                *(
                    one.see(task, claim, job=f"job-{task.id}", outputs=VIDEO if claim is Claim.SUCCEEDED else ())
                    for one, claim in ((still, Claim.SUCCEEDED), (other, Claim.FAILED), (other, Claim.SUCCEEDED))
                )
            )
            ends = [kind for kind in await still.events(task) if kind in ("task.succeeded", "task.failed")]
            assert len(ends) == 1
            sequences = await still.rows(
                "SELECT sequence FROM events WHERE task_id = :id ORDER BY position", id=task.id
            )
            assert sequences == sorted(set(sequences))
    finally:
        await other.close()
