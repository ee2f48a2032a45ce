from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import projects, tasks
from storage.database import Connection, Database
from storage.errors import Duplicate, Missing, Stale
from storage.records import (
    Failure,
    FailureCode,
    OnAmbiguous,
    Output,
    Submission,
    SubmissionStatus,
    Surplus,
    Task,
    TaskStatus,
)
from tests.storage.builders import (
    ACCOUNT,
    FUTURE,
    NOW,
    PAST,
    PROJECT,
    SECOND,
    finished,
    plant,
    project,
    stored,
    submission,
    task,
)
from tests.storage.strategies import DECIMAL, ON_ONE_DATABASE, rows

# What a task is created with and keeps. Everything else changes, so `save` must write it.
KEPT = {
    "id", "project_id", "metadata", "reference", "webhook_endpoint_id", "webhook_url", "webhook_events", "on_ambiguous",
    "deadline_at", "created_at",
}  # fmt: skip

ANY_TASK = rows(Task, cost_estimated=DECIMAL, cost_charged=DECIMAL | st.none(), unit_price=DECIMAL.map("{} USD".format))


class Names:
    """Fresh names, so that examples on one database do not meet."""

    count = 0

    def __call__(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}_{self.count}"


fresh = Names()


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


@ON_ONE_DATABASE
@given(row=rows(Submission))
async def test_every_field_of_a_submission_survives(database: Database, row: Submission) -> None:
    owner = finished(fresh("task"), account=fresh("account"))
    await plant(database, owner)
    row = replace(row, id=fresh("sub"), task_id=owner.id)
    await database.write(lambda tx: tasks.insert_submissions(tx, [row]))
    assert await database.read(lambda tx: tasks.submissions_of(tx, owner.id)) == [row]


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


async def test_a_submission_needs_its_task(database: Database) -> None:
    with pytest.raises(Missing):
        await database.write(lambda tx: tasks.insert_submissions(tx, [submission(task_id="task_none")]))


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


async def test_due_tasks_come_oldest_first_and_capped(database: Database) -> None:
    await plant(
        database,
        task("task_0", due_at=NOW),
        task("task_b", due_at=PAST),
        task("task_a", due_at=PAST),
        task("task_future", due_at=NOW + 1),
        task("task_idle", due_at=None),
        task("task_other", due_at=PAST, account="other"),
        task("task_bought", due_at=PAST, status=TaskStatus.PROCESSING),
    )

    async def ids(batch: int) -> list[str]:
        found = await database.read(lambda tx: tasks.due(tx, ACCOUNT, TaskStatus.QUEUED, now=NOW, batch=batch))
        return [one.id for one in found]

    assert await ids(10) == ["task_a", "task_b", "task_0"]
    assert await ids(2) == ["task_a", "task_b"]


async def test_what_is_past_its_deadline_is_found_however_late_it_became_due(database: Database) -> None:
    wanted = [
        task("task_b", status=TaskStatus.PROCESSING, due_at=NOW, deadline_at=NOW - 1),
        task("task_a", status=TaskStatus.QUEUED, due_at=NOW, deadline_at=NOW),
    ]
    others = [
        task("task_c", status=TaskStatus.PROCESSING, due_at=PAST, deadline_at=FUTURE),
        task("task_d", status=TaskStatus.PROCESSING, due_at=FUTURE, deadline_at=PAST),
        task("task_e", status=TaskStatus.UNCONFIRMED, due_at=PAST, deadline_at=PAST),
        replace(task("task_f", status=TaskStatus.QUEUED, due_at=PAST, deadline_at=PAST), account="another"),
        finished("task_g", deadline_at=PAST),
    ]
    await plant(database, *wanted, *others)
    statuses = (TaskStatus.QUEUED, TaskStatus.PROCESSING)

    async def ids(batch: int) -> list[str]:
        found = await database.read(lambda tx: tasks.past_deadline(tx, ACCOUNT, statuses, now=NOW, batch=batch))
        return [one.id for one in found]

    assert await ids(5) == ["task_b", "task_a"]
    assert await ids(1) == ["task_b"]


async def test_anybody_to_ask_after_is_rather_somebody_open(database: Database) -> None:
    async def one() -> str | None:
        found = await database.read(lambda tx: tasks.one_bound(tx, ACCOUNT))
        return found.id if found is not None else None

    await plant(database, task("task_a", status=TaskStatus.QUEUED))
    assert await one() is None
    await plant(database, finished("task_b", provider_task_id="9"))
    assert await one() == "task_b"
    await plant(database, replace(task("task_c", status=TaskStatus.PROCESSING), provider_task_id="1"))
    assert await one() == "task_c"


async def test_the_next_due_time_is_of_the_account_and_status(database: Database) -> None:
    async def times(account: str, status: TaskStatus) -> tuple[int | None, int | None]:
        return await database.read(
            lambda tx: both(tasks.next_due(tx, account, status), tasks.next_due_after(tx, account, status, now=NOW))
        )

    async def both(first: object, second: object) -> tuple[int | None, int | None]:
        return await first, await second  # type: ignore[misc]

    await plant(
        database,
        task("task_a", due_at=PAST),
        task("task_b", due_at=NOW),
        task("task_c", due_at=FUTURE),
        task("task_d", due_at=None),
        task("task_e", due_at=PAST - 1, account="other"),
        task("task_f", due_at=FUTURE + 1, status=TaskStatus.PROCESSING),
    )
    assert await times(ACCOUNT, TaskStatus.QUEUED) == (PAST, FUTURE)
    assert await times("other", TaskStatus.QUEUED) == (PAST - 1, None)
    assert await times(ACCOUNT, TaskStatus.PROCESSING) == (FUTURE + 1, FUTURE + 1)
    assert await times("nobody", TaskStatus.QUEUED) == (None, None)


async def test_tasks_left_submitting_are_found(database: Database) -> None:
    await plant(
        database,
        task("task_b", status=TaskStatus.SUBMITTING, submissions=1),
        task("task_a", status=TaskStatus.SUBMITTING, due_at=None, submissions=1),
        task("task_c", status=TaskStatus.SUBMITTING, account="other", submissions=1),
        task("task_d"),
    )
    made = [submission(f"sub_{name}", f"task_{name}") for name in "abcd"]
    await database.write(lambda tx: tasks.insert_submissions(tx, made))
    found = await database.read(lambda tx: tasks.adrift(tx, ACCOUNT))
    assert found == [("task_a", "sub_a"), ("task_b", "sub_b")]


async def test_jobs_at_the_provider_are_counted(database: Database) -> None:
    open_there = (TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING)
    await plant(database, *(task(f"task_{status}", status=status) for status in TaskStatus))
    await plant(database, task("task_other", account="other", status=TaskStatus.PROCESSING))
    assert await database.read(lambda tx: tasks.open_at_provider(tx, ACCOUNT)) == len(open_there)


async def test_open_tasks_are_counted_up_to_a_bound(database: Database) -> None:
    waiting = [task(f"task_q{n}") for n in range(4)]
    bought = [task(f"task_p{n}", status=TaskStatus.PROCESSING) for n in range(2)]
    await plant(database, *waiting, *bought, finished("task_done"), task("task_other", account="other"))
    for bound, count in ((10, 6), (4, 6), (3, 5), (1, 2)):
        assert await database.read(lambda tx, bound=bound: tasks.open_at_most(tx, ACCOUNT, bound=bound)) == count  # type: ignore[misc]


async def test_overdue_tasks_are_the_open_ones_past_their_deadline_oldest_first(database: Database) -> None:
    await plant(
        database,
        task("task_a", deadline_at=NOW),
        task("task_b", deadline_at=PAST, due_at=None),
        task("task_c", deadline_at=NOW + 1),
        finished("task_d", deadline_at=PAST),
    )
    assert await database.read(lambda tx: tasks.overdue(tx, before=NOW, batch=10)) == ["task_b", "task_a"]
    assert await database.read(lambda tx: tasks.overdue(tx, before=NOW, batch=1)) == ["task_b"]


# Submissions


async def test_submissions_lead_to_their_tasks_and_say_who_was_asked(database: Database) -> None:
    await plant(database, task("task_1"), task("task_2"))
    made = [submission("sub_1"), submission("sub_2", number=2), submission("sub_3", "task_2", account="second")]
    await database.write(lambda tx: tasks.insert_submissions(tx, [made[1], made[0], made[2]]))
    assert await database.read(lambda tx: tasks.submissions_of(tx, "task_1")) == made[:2]
    found = await database.read(lambda tx: tasks.by_submissions(tx, ["sub_3", "sub_1", "sub_none"]))
    assert found == {"sub_1": ("task_1", ACCOUNT), "sub_3": ("task_2", "second")}


async def test_a_submission_number_is_used_once(database: Database) -> None:
    await plant(database, task())
    with pytest.raises(Duplicate, match="number"):
        await database.write(lambda tx: tasks.insert_submissions(tx, [submission("sub_1"), submission("sub_2")]))


async def settle(
    database: Database, status: SubmissionStatus, *, at: int = NOW, found: str | None = None, detail: str | None = None
) -> Submission:
    async def unit(tx: Connection) -> Submission:
        await tasks.settle_submission(tx, "sub_1", status, now=at, provider_task_id=found, detail=detail)
        return (await tasks.submissions_of(tx, "task_1"))[0]

    return await database.write(unit)


async def test_a_settled_submission_is_not_unsettled(database: Database) -> None:
    await plant(database, task())
    await database.write(lambda tx: tasks.insert_submissions(tx, [submission()]))
    unsure = await settle(database, SubmissionStatus.AMBIGUOUS, detail="no reply")
    assert (unsure.status, unsure.settled_at, unsure.detail) == (SubmissionStatus.AMBIGUOUS, NOW, "no reply")
    sure = await settle(database, SubmissionStatus.ACCEPTED, at=NOW + SECOND, found="4711")
    assert asdict(sure) == asdict(
        submission(status=SubmissionStatus.ACCEPTED, settled_at=NOW + SECOND, provider_task_id="4711")
    )
    for later in SubmissionStatus:
        assert await settle(database, later, at=FUTURE, found="4712") == sure


async def test_an_id_that_was_learned_is_not_replaced(database: Database) -> None:
    await plant(database, task())
    await database.write(lambda tx: tasks.insert_submissions(tx, [submission()]))
    await settle(database, SubmissionStatus.AMBIGUOUS, found="4711")
    assert (await settle(database, SubmissionStatus.REFUSED, found="4712")).provider_task_id == "4711"


async def test_an_id_that_is_learned_late_is_kept_and_decides_nothing(database: Database) -> None:
    await plant(database, task())
    await database.write(lambda tx: tasks.insert_submissions(tx, [submission()]))
    settled = await settle(database, SubmissionStatus.DEFERRED, detail="never sent")
    late = await settle(database, SubmissionStatus.ACCEPTED, at=FUTURE, found="4711", detail="a reply after all")
    assert late == replace(settled, provider_task_id="4711")
