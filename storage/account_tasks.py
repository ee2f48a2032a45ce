"""The tasks of an account that wait for something: what is due and when, who may be asked after, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import Task, TaskStatus
from storage.tasks import COLUMNS, from_row

BEHIND_ALL = "zz"  # no id begins with z

# Of everything but purchases; the repeated condition is that of `tasks_due`.
DUE = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.account = :account AND t.status = :status AND t.due_at <= :now AND t.status <> 'queued'
     ORDER BY t.due_at, t.id
     LIMIT :batch
""",
)

QUEUED = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.account = :account AND t.project_id = :project_id AND t.status = 'queued' AND t.due_at <= :now
     ORDER BY t.due_at, t.id
     LIMIT :batch
""",
)


# One step along the index for each project, however many tasks it has waiting: thousands behind one another cost as much as one.
def _by_project(asked: LiteralString) -> LiteralString:
    return (
        """
    WITH RECURSIVE waiting (project_id) AS (
        SELECT (SELECT t.project_id FROM tasks t
                 WHERE t.account = :account AND t.status = 'queued' AND t.due_at IS NOT NULL AND t.project_id > :after
                 ORDER BY t.project_id LIMIT 1)
        UNION ALL
        SELECT (SELECT t.project_id FROM tasks t
                 WHERE t.account = :account AND t.status = 'queued' AND t.due_at IS NOT NULL AND t.project_id > w.project_id
                 ORDER BY t.project_id LIMIT 1)
          FROM waiting w WHERE w.project_id IS NOT NULL
    )
"""  # noqa: S608 (both are texts of this file)
        + asked
    )


QUEUED_PROJECTS = _by_project("""
    SELECT w.project_id FROM waiting w
     WHERE w.project_id <= :up_to
       AND EXISTS (SELECT 1 FROM tasks t
                    WHERE t.account = :account AND t.project_id = w.project_id AND t.status = 'queued' AND t.due_at <= :now)
     LIMIT :batch
""")

NEXT_QUEUED = _by_project("""
    SELECT min((SELECT min(t.due_at) FROM tasks t
                 WHERE t.account = :account AND t.project_id = w.project_id AND t.status = 'queued' AND t.due_at > :past))
      FROM waiting w WHERE w.project_id IS NOT NULL
""")

# Anybody after whom the account can be asked: the repeated condition is that of `tasks_open`.
PROCESSING_ONE = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.account = :account AND t.status = 'processing' AND t.status IN ('submitting', 'unconfirmed', 'processing')
     LIMIT 1
""",
)

BOUND_ONE = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.account = :account AND t.provider_task_id IS NOT NULL
     ORDER BY t.provider_task_id DESC
     LIMIT 1
""",
)

# What may not wait its turn behind thousands that are due: their account cannot be asked, and these must end. SQLite would
# rather walk those thousands, in the index that the other queries of an account use.
PAST_DEADLINE = select(
    COLUMNS,
    """
      FROM tasks t /*sqlite:*/ INDEXED BY tasks_overdue /*postgres: */
     WHERE t.finished_at IS NULL AND t.deadline_at <= :now AND t.due_at <= :now AND t.account = :account
       AND t.status IN (SELECT /*sqlite:*/ value FROM json_each(:statuses) /*postgres: unnest(:statuses::text[]) */)
     ORDER BY t.deadline_at
     LIMIT :batch
""",
)

NEXT_DUE = """
    SELECT min(due_at) FROM tasks
     WHERE account = :account AND status = :status AND due_at IS NOT NULL AND status <> 'queued'
"""

NEXT_DUE_AFTER = """
    SELECT min(due_at) FROM tasks WHERE account = :account AND status = :status AND due_at > :now AND status <> 'queued'
"""

# Names all statuses of `tasks_open` too: SQLite uses a partial index only for a query that repeats its condition.
ADRIFT = """
    SELECT t.id, s.id FROM tasks t JOIN submissions s ON s.task_id = t.id AND s.number = t.submissions
     WHERE t.account = :account AND t.status = 'submitting' AND t.status IN ('submitting', 'unconfirmed', 'processing')
     ORDER BY t.id
"""

OPEN_AT_PROVIDER = """
    SELECT count(*) FROM tasks WHERE account = :account AND status IN ('submitting', 'unconfirmed', 'processing')
"""

# As a bounded count: a person wants to know whether there are ten or a hundred thousand.
COUNT_QUEUED = """
    SELECT count(*) FROM (SELECT 1 FROM tasks
                           WHERE account = :account AND status = 'queued' AND due_at IS NOT NULL LIMIT :bound) AS q
"""

# Up to a bound: to choose the account with the fewest, more than that is all the same.
OPEN_AT_MOST = """
    SELECT (SELECT count(*) FROM (SELECT 1 FROM tasks
                                   WHERE account = :account AND status = 'queued' AND due_at IS NOT NULL LIMIT :bound) AS q)
         + (SELECT count(*) FROM (SELECT 1 FROM tasks
                                   WHERE account = :account AND status IN ('submitting', 'unconfirmed', 'processing')
                                   LIMIT :bound) AS p)
"""

OVERDUE = """
    SELECT id FROM tasks WHERE finished_at IS NULL AND deadline_at <= :before ORDER BY deadline_at LIMIT :batch
"""


async def due(tx: Connection, account: str, status: TaskStatus, *, now: int, batch: int) -> list[Task]:
    """Tasks of an account in one status that must be looked at, oldest first. Purchases are read with `due_purchases`."""
    if status is TaskStatus.QUEUED:
        raise ValueError("purchases take turns by project")
    rows = await tx.fetch(DUE, {"account": account, "status": status.value, "now": now, "batch": batch})
    return [from_row(row) for row in rows]


async def queued_projects(tx: Connection, account: str, *, now: int, after: str, batch: int) -> list[str]:
    """Projects with a purchase that is due, in the order of their turns: those behind `after` first, then from the start."""
    asked = {"account": account, "now": now, "after": after, "up_to": BEHIND_ALL, "batch": batch}
    rows = await tx.fetch(QUEUED_PROJECTS, asked)
    if after and len(rows) < batch:
        again = {**asked, "after": "", "up_to": after, "batch": batch - len(rows)}
        rows = [*rows, *await tx.fetch(QUEUED_PROJECTS, again)]
    return [str(project) for (project,) in rows]


async def due_purchases(
    tx: Connection, account: str, projects: Sequence[str], *, now: int, batch: int
) -> list[list[Task]]:
    """The purchases of each project that are due, oldest first."""
    found: list[list[Task]] = []
    for project in projects:
        asked = {"account": account, "project_id": project, "now": now, "batch": batch}
        found.append([from_row(row) for row in await tx.fetch(QUEUED, asked)])
    return found


async def one_bound(tx: Connection, account: str) -> Task | None:
    """A task that the account's provider can be asked after, open if there is one; due or not."""
    rows = await tx.fetch(PROCESSING_ONE, {"account": account}) or await tx.fetch(BOUND_ONE, {"account": account})
    return from_row(rows[0]) if rows else None


async def past_deadline(
    tx: Connection, account: str, statuses: Iterable[TaskStatus], *, now: int, batch: int
) -> list[Task]:
    """Tasks of an account that must be looked at and whose deadline has passed."""
    wanted = [status.value for status in statuses]
    rows = await tx.fetch(PAST_DEADLINE, {"account": account, "statuses": wanted, "now": now, "batch": batch})
    return [from_row(row) for row in rows]


async def next_due(tx: Connection, account: str, status: TaskStatus) -> int | None:
    if status is TaskStatus.QUEUED:
        return await _next_queued(tx, account, past=0)
    [(at,)] = await tx.fetch(NEXT_DUE, {"account": account, "status": status.value})
    return at  # type: ignore[return-value]


async def next_due_after(tx: Connection, account: str, status: TaskStatus, *, now: int) -> int | None:
    """When the next task of an account in one status becomes due that is not due yet."""
    if status is TaskStatus.QUEUED:
        return await _next_queued(tx, account, past=now)
    [(at,)] = await tx.fetch(NEXT_DUE_AFTER, {"account": account, "status": status.value, "now": now})
    return at  # type: ignore[return-value]


async def _next_queued(tx: Connection, account: str, *, past: int) -> int | None:
    [(at,)] = await tx.fetch(NEXT_QUEUED, {"account": account, "after": "", "past": past})
    return at  # type: ignore[return-value]


async def adrift(tx: Connection, account: str) -> list[tuple[str, str]]:
    """(task, submission) of what was left `submitting`. To a new owner of the lane these are of unknown fate."""
    return [(str(task), str(submission)) for task, submission in await tx.fetch(ADRIFT, {"account": account})]


async def open_at_provider(tx: Connection, account: str) -> int:
    """How many jobs the account may have at its provider."""
    [(count,)] = await tx.fetch(OPEN_AT_PROVIDER, {"account": account})
    return int(count)  # type: ignore[call-overload, no-any-return]


async def queued_at_most(tx: Connection, account: str, *, bound: int) -> int:
    """How many tasks wait to be bought, counted up to the bound."""
    [(count,)] = await tx.fetch(COUNT_QUEUED, {"account": account, "bound": bound})
    return int(count)  # type: ignore[call-overload, no-any-return]


async def open_at_most(tx: Connection, account: str, *, bound: int) -> int:
    """How many open tasks the account has; each of the two kinds is counted up to the bound."""
    [(count,)] = await tx.fetch(OPEN_AT_MOST, {"account": account, "bound": bound})
    return int(count)  # type: ignore[call-overload, no-any-return]


async def overdue(tx: Connection, *, before: int, batch: int) -> list[str]:
    """Ids of open tasks whose deadline lies before the instant."""
    return [str(task_id) for (task_id,) in await tx.fetch(OVERDUE, {"before": before, "batch": batch})]
