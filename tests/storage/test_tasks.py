from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import projects, tasks
from storage.database import Connection, Database
from storage.errors import Duplicate, Stale
from storage.records import (
    Failure,
    FailureCode,
    OnAmbiguous,
    Output,
    Surplus,
    Task,
    TaskStatus,
)
from tests.storage.builders import (
    ACCOUNT,
    FUTURE,
    NOW,
    PROJECT,
    finished,
    plant,
    project,
    stored,
    task,
)
from tests.storage.strategies import DECIMAL, ON_ONE_DATABASE, fresh, rows

# What a task is created with and keeps. Everything else changes, so `save` must write it.
KEPT = {
    "id", "project_id", "metadata", "reference", "webhook_endpoint_id", "webhook_url", "webhook_events", "on_ambiguous",
    "deadline_at", "created_at", "erased_at", "traceparent",
}  # fmt: skip

ANY_TASK = rows(Task, cost_estimated=DECIMAL, cost_charged=DECIMAL | st.none(), unit_price=DECIMAL.map("{} USD".format))

# Round trips


@ON_ONE_DATABASE
@given(first=ANY_TASK, second=ANY_TASK)
async def test_every_field_survives_insert_and_save(database: Database, first: Task, second: Task) -> None:
    home = fresh("prj")
    made = replace(first, id=fresh("task"), project_id=home, account=fresh("account"))
    changes = {field: getattr(second, field) for field in Task.__dataclass_fields__ if field not in KEPT}
    changed = replace(made, **{**changes, "account": fresh("account")})

    async def unit(tx: Connection) -> list[Task | None]:
        await projects.insert(tx, project(home))
        await tasks.insert(tx, made)
        before = await tasks.get(tx, made.id, home)
        await tasks.save(tx, [(changed, made)])
        return [before, await tasks.get(tx, made.id, home)]

    assert await database.write(unit) == [made, changed]
    assert await stored(database, made.id) == changed


async def test_what_was_decided_in_doubt_is_taken_back_as_it_was_given(database: Database) -> None:
    job = Surplus(provider_task_id="job-2", account=ACCOUNT, found_at=NOW, unit="unit", estimated="4", charged="3.50")
    plain = task(on_ambiguous=OnAmbiguous.RESUBMIT)
    decided = replace(plain, adopted_at=NOW, permitted_at=NOW, surplus=(job,))
    await plant(database, plain)
    for read, changed in ((plain, decided), (decided, plain)):
        await database.write(lambda tx, pair=(changed, read): tasks.save(tx, [pair]))  # type: ignore[misc]
        assert await stored(database) == changed


async def test_outputs_and_failure_come_back_as_they_went_in(database: Database) -> None:
    outputs = (
        Output(url="https://cdn.test/ü.mp4?a=1&b=2", duration="5.041", expires_at=FUTURE),
        Output(url="https://cdn.test/2.png", type="image"),
    )
    failure = Failure(
        code=FailureCode.PROVIDER_ERROR,
        message="\u2028 no",
        retryable=True,
        provider_code="1301",
        provider_message="審查",
    )
    row = finished("task_1", outputs=outputs, failure=failure, cost_estimated="0.10", cost_charged="1E+2")
    await plant(database, row)
    assert await stored(database) == row


# What the database itself refuses


@pytest.mark.parametrize(
    "row",
    [
        task("task_a", reference="order-1"),
        finished("task_a", reference="order-1"),
        finished("task_a", reference="order-1", status=TaskStatus.FAILED, final_at=None),
    ],
    ids=["open", "succeeded", "not final"],
)
async def test_a_held_reference_is_refused_a_second_time(database: Database, row: Task) -> None:
    await plant(database, row)
    with pytest.raises(Duplicate, match="reference"):
        await database.write(lambda tx: tasks.insert(tx, task("task_b", reference="order-1")))
    assert await database.read(lambda tx: tasks.by_reference(tx, PROJECT, "order-1")) == row


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED])
async def test_a_final_end_without_success_frees_the_reference(database: Database, status: TaskStatus) -> None:
    second = task("task_b", reference="order-1")
    await plant(database, finished("task_a", reference="order-1", status=status), second)
    assert await database.read(lambda tx: tasks.by_reference(tx, PROJECT, "order-1")) == second


async def test_a_reference_is_held_in_its_own_project_only(database: Database) -> None:
    await plant(database, project("prj_2"), task("task_a", reference="order-1"))
    await plant(database, task("task_b", reference="order-1", project_id="prj_2"))
    assert await database.read(lambda tx: tasks.by_reference(tx, "prj_3", "order-1")) is None


async def test_one_provider_job_belongs_to_one_task(database: Database) -> None:
    await plant(
        database, task("task_a", provider_task_id="4711"), task("task_b", account="other", provider_task_id="4711")
    )
    with pytest.raises(Duplicate, match="provider_task_id"):
        await database.write(lambda tx: tasks.insert(tx, task("task_c", provider_task_id="4711")))
    pairs = [(ACCOUNT, "4711"), ("other", "4711"), (ACCOUNT, "4712")]
    found = await database.read(lambda tx: tasks.bound(tx, pairs))
    assert found == {(ACCOUNT, "4711"): "task_a", ("other", "4711"): "task_b"}


async def test_a_task_id_is_given_once(database: Database) -> None:
    await plant(database, task())
    with pytest.raises(Duplicate, match=r"\bid\b"):
        await database.write(lambda tx: tasks.insert(tx, task()))


# Compare and set


async def test_a_stale_version_is_refused_and_changes_nothing(database: Database) -> None:
    await plant(database, task("task_1", version=3), task("task_2", version=3))
    late = replace(task("task_2"), version=4, status=TaskStatus.FAILED)
    good = replace(task("task_1"), version=4, status=TaskStatus.FAILED)
    read, outdated = task("task_1", version=3), task("task_2", version=2)
    with pytest.raises(Stale, match="1 of 2"):
        await database.write(lambda tx: tasks.save(tx, [(good, read), (late, outdated)]))
    for id in ("task_1", "task_2"):
        assert await stored(database, id) == task(id, version=3)


async def test_of_two_handles_that_race_one_wins_and_no_version_is_lost(
    database: Database, other_handle: Database
) -> None:
    await plant(database, task())
    handles = (database, other_handle)
    for version in range(20):
        seen = await asyncio.gather(*(stored(handle) for handle in handles))  # outside the transaction that writes
        assert [one.version for one in seen] == [version, version]
        changed = [replace(one, version=version + 1, phase=f"of handle {n}") for n, one in enumerate(seen)]
        outcomes = await asyncio.gather(
            *(
                handle.write(lambda tx, one=one, row=row: tasks.save(tx, [(row, one)]))  # type: ignore[misc]
                for handle, one, row in zip(handles, seen, changed, strict=True)
            ),
            return_exceptions=True,
        )
        assert {type(outcome) for outcome in outcomes} == {type(None), Stale}
        assert await stored(database) == changed[outcomes.index(None)]


async def test_observers_that_lock_never_go_stale(database: Database, other_handle: Database) -> None:
    await plant(database, task("task_1"), task("task_2"))

    async def count(tx: Connection) -> None:
        found = await tasks.lock(tx, ["task_2", "task_1", "task_2"])
        assert list(found) == ["task_1", "task_2"]
        await tasks.save(tx, [(replace(one, version=one.version + 1), one) for one in found.values()])

    async def observer(handle: Database) -> None:
        for _ in range(15):
            await handle.write(count)

    await asyncio.gather(observer(database), observer(other_handle), observer(database), observer(other_handle))
    assert {(await stored(database, id)).version for id in ("task_1", "task_2")} == {60}


# Reading


async def test_another_projects_task_is_not_there(database: Database) -> None:
    await plant(database, project("prj_2"), task())
    assert await database.read(lambda tx: tasks.get(tx, "task_1", "prj_2")) is None
    assert await database.read(lambda tx: tasks.get(tx, "task_2", PROJECT)) is None


async def test_only_ids_that_exist_are_read(database: Database) -> None:
    await plant(database, task("task_1"), task("task_2"))
    found = await database.read(lambda tx: tasks.read(tx, ["task_2", "task_none", "task_2"]))
    assert found == {"task_2": task("task_2")}
    assert await database.read(lambda tx: tasks.read(tx, [])) == {}
