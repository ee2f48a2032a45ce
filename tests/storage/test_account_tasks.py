from __future__ import annotations

from dataclasses import replace

import pytest

from storage import account_tasks, projects, submissions
from storage.database import Connection, Database
from storage.records import (
    TaskStatus,
)
from tests.storage.builders import (
    ACCOUNT,
    FUTURE,
    NOW,
    PAST,
    PROJECT,
    finished,
    plant,
    project,
    submission,
    task,
)


@pytest.mark.parametrize("status", [TaskStatus.QUEUED, TaskStatus.PROCESSING])
async def test_due_tasks_come_oldest_first_and_capped(database: Database, status: TaskStatus) -> None:
    await plant(
        database,
        task("task_0", due_at=NOW, status=status),
        task("task_b", due_at=PAST, status=status),
        task("task_a", due_at=PAST, status=status),
        task("task_future", due_at=NOW + 1, status=status),
        task("task_idle", due_at=None, status=status),
        task("task_other", due_at=PAST, account="other", status=status),
        task("task_unsure", due_at=PAST, status=TaskStatus.UNCONFIRMED),
    )

    async def ids(batch: int) -> list[str]:
        if status is TaskStatus.QUEUED:
            [found] = await database.read(
                lambda tx: account_tasks.due_purchases(tx, ACCOUNT, [PROJECT], now=NOW, batch=batch)
            )
        else:
            found = await database.read(lambda tx: account_tasks.due(tx, ACCOUNT, status, now=NOW, batch=batch))
        return [one.id for one in found]

    assert await ids(10) == ["task_a", "task_b", "task_0"]
    assert await ids(2) == ["task_a", "task_b"]


async def test_purchases_are_not_read_as_if_time_alone_decided(database: Database) -> None:
    with pytest.raises(ValueError, match="turns by project"):
        await database.read(lambda tx: account_tasks.due(tx, ACCOUNT, TaskStatus.QUEUED, now=NOW, batch=1))


async def test_projects_take_turns_behind_the_one_that_was_served_and_only_with_something_due(
    database: Database,
) -> None:
    names = [f"prj_{letter}" for letter in "abcde"]

    async def homes(tx: Connection) -> None:
        for name in names:
            await projects.insert(tx, project(name))

    await database.write(homes)
    for number, name in enumerate(names):
        due_at = FUTURE if name == "prj_c" else PAST
        await plant(database, *(replace(task(f"task_{number}{n}", due_at=due_at), project_id=name) for n in range(3)))
    await plant(database, replace(task("task_x", due_at=PAST, account="other"), project_id="prj_c"))

    async def turns(after: str, batch: int = 10) -> str:
        found = await database.read(
            lambda tx: account_tasks.queued_projects(tx, ACCOUNT, now=NOW, after=after, batch=batch)
        )
        return "".join(name[-1] for name in found)

    assert await turns("") == "abde"
    assert await turns("prj_b") == "deab", "the one that was served comes last"
    assert await turns("prj_c", 3) == "dea"
    assert await turns("prj_e", 1) == "a"
    assert await database.read(lambda tx: account_tasks.queued_at_most(tx, ACCOUNT, bound=100)) == 15
    assert await database.read(lambda tx: account_tasks.queued_at_most(tx, ACCOUNT, bound=4)) == 4


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
        found = await database.read(lambda tx: account_tasks.past_deadline(tx, ACCOUNT, statuses, now=NOW, batch=batch))
        return [one.id for one in found]

    assert await ids(5) == ["task_b", "task_a"]
    assert await ids(1) == ["task_b"]


async def test_anybody_to_ask_after_is_rather_somebody_open(database: Database) -> None:
    async def one() -> str | None:
        found = await database.read(lambda tx: account_tasks.one_bound(tx, ACCOUNT))
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
            lambda tx: both(
                account_tasks.next_due(tx, account, status), account_tasks.next_due_after(tx, account, status, now=NOW)
            )
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
    await database.write(lambda tx: submissions.insert(tx, made))
    found = await database.read(lambda tx: account_tasks.adrift(tx, ACCOUNT))
    assert found == [("task_a", "sub_a"), ("task_b", "sub_b")]


async def test_jobs_at_the_provider_are_counted(database: Database) -> None:
    open_there = (TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING)
    await plant(database, *(task(f"task_{status}", status=status) for status in TaskStatus))
    await plant(database, task("task_other", account="other", status=TaskStatus.PROCESSING))
    assert await database.read(lambda tx: account_tasks.open_at_provider(tx, ACCOUNT)) == len(open_there)


async def test_open_tasks_are_counted_up_to_a_bound(database: Database) -> None:
    waiting = [task(f"task_q{n}") for n in range(4)]
    bought = [task(f"task_p{n}", status=TaskStatus.PROCESSING) for n in range(2)]
    await plant(database, *waiting, *bought, finished("task_done"), task("task_other", account="other"))
    for bound, count in ((10, 6), (4, 6), (3, 5), (1, 2)):
        found = await database.read(lambda tx, n=bound: account_tasks.open_at_most(tx, ACCOUNT, bound=n))  # type: ignore[misc]
        assert found == count


async def test_overdue_tasks_are_the_open_ones_past_their_deadline_oldest_first(database: Database) -> None:
    await plant(
        database,
        task("task_a", deadline_at=NOW),
        task("task_b", deadline_at=PAST, due_at=None),
        task("task_c", deadline_at=NOW + 1),
        finished("task_d", deadline_at=PAST),
    )
    assert await database.read(lambda tx: account_tasks.overdue(tx, before=NOW, batch=10)) == ["task_b", "task_a"]
    assert await database.read(lambda tx: account_tasks.overdue(tx, before=NOW, batch=1)) == ["task_b"]
