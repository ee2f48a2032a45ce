"""Tasks: the only statements that write `tasks`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, LiteralString

import orjson

from storage.database import Connection
from storage.dialect import select
from storage.errors import Stale
from storage.records import (
    Charge,
    Failure,
    FailureCode,
    OnAmbiguous,
    Output,
    Streak,
    Surplus,
    Task,
    TaskStatus,
)

COLUMNS: LiteralString = """
    t.id, t.project_id, t.account, t.provider, t.model, t.status, t.input, t.provider_options, t.metadata, t.reference,
    t.webhook_endpoint_id, t.webhook_url, t.webhook_events, t.phase, t.provider_status, t.provider_task_id, t.progress,
    t.outputs, t.failure, t.final_at, t.late, t.charge, t.cost_unit, t.cost_estimated, t.cost_charged, t.unit_price,
    t.submissions, t.submission_deadline_at, t.resends, t.streak, t.streak_count, t.streak_since, t.streak_last_at,
    t.sequence, t.version, t.due_at,
    t.deadline_at, t.created_at, t.submitted_at, t.finished_at, t.updated_at, t.fallbacks,
    t.on_ambiguous, t.adopted_at, t.permitted_at, t.surplus, t.erased_at, t.booked,
    t.traceparent
"""

INSERT = """
    INSERT INTO tasks (id, project_id, account, provider, model, status, input, provider_options, metadata, reference,
        webhook_endpoint_id, webhook_url, webhook_events, phase, provider_status, provider_task_id, progress, outputs, failure,
        final_at, late, charge, cost_unit, cost_estimated, cost_charged, unit_price, submissions, submission_deadline_at, resends,
        streak, streak_count, streak_since, streak_last_at, sequence, version, due_at, deadline_at, created_at, submitted_at, finished_at,
        updated_at, fallbacks, on_ambiguous, adopted_at, permitted_at, surplus, erased_at, booked,
        traceparent)
    VALUES (:id, :project_id, :account, :provider, :model, :status, :input, :provider_options, :metadata, :reference,
        :webhook_endpoint_id, :webhook_url, :webhook_events, :phase, :provider_status, :provider_task_id, :progress, :outputs,
        :failure, :final_at, :late, :charge, :cost_unit, :cost_estimated, :cost_charged, :unit_price, :submissions,
        :submission_deadline_at, :resends, :streak, :streak_count, :streak_since, :streak_last_at,
        :sequence, :version, :due_at, :deadline_at, :created_at,
        :submitted_at, :finished_at, :updated_at, :fallbacks, :on_ambiguous, :adopted_at, :permitted_at, :surplus,
        :erased_at, :booked, :traceparent)
"""

# Compare-and-set on the version that was read. No row back means another writer was first.
SAVE = """
    UPDATE tasks SET status = :status, phase = :phase, provider_status = :provider_status,
        progress = :progress, outputs = :outputs, failure = :failure,
        final_at = :final_at, late = :late, charge = :charge, cost_unit = :cost_unit, cost_charged = :cost_charged,
        submissions = :submissions, submission_deadline_at = :submission_deadline_at, resends = :resends, streak = :streak,
        streak_count = :streak_count, streak_since = :streak_since, streak_last_at = :streak_last_at,
        sequence = :sequence, version = :version,
        due_at = :due_at, submitted_at = :submitted_at, finished_at = :finished_at, updated_at = :updated_at
     WHERE id = :id AND version = :was
 /*postgres: RETURNING id */
"""

# Apart, because naming the column costs its unique index a look every time, and it changes once in a task's life.
BIND = "UPDATE tasks SET provider_task_id = :provider_task_id WHERE id = :id"

# Apart as well: a task goes on to another account rarely, and `account` stands in three indexes.
MOVE = """
    UPDATE tasks SET account = :account, provider = :provider, model = :model, input = :input,
        provider_options = :provider_options, fallbacks = :fallbacks, cost_estimated = :cost_estimated, unit_price = :unit_price
     WHERE id = :id
"""

# And what is only ever written where a purchase was in doubt.
RESOLVE = """
    UPDATE tasks SET adopted_at = :adopted_at, permitted_at = :permitted_at, surplus = :surplus WHERE id = :id
"""

# And how it stands in the books, for the few projects that keep some.
BOOK = "UPDATE tasks SET booked = :booked WHERE id = :id"

BY_IDS = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
     ORDER BY t.id /*postgres: FOR UPDATE */
""",
)

# Whether a transaction that began after ours wrote the row last. What that one told stands in the feed by its number, behind what we would
# tell of the same task. A number is given at the first write, not at the beginning: who only waited for the row has none yet.
BY_IDS_IN_TURN = select(
    COLUMNS
    + """,
    /*sqlite:*/ 0 /*postgres: coalesce(age(t.xmin) < age(pg_current_xact_id_if_assigned()::xid), false)::int */
""",
    """
      FROM tasks t
     WHERE t.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
     ORDER BY t.id /*postgres: FOR UPDATE */
""",
)

BY_SUBMISSIONS = """
    SELECT s.id, s.task_id, s.account FROM submissions s
     WHERE s.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

GET = select(COLUMNS, "FROM tasks t WHERE t.id = :id AND t.project_id = :project_id")

BY_REFERENCE = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.project_id = :project_id AND t.reference = :reference
       AND (t.finished_at IS NULL OR t.status = 'succeeded' OR t.final_at IS NULL)
""",
)

OWNER_OF_PROVIDER_TASK = """
    SELECT account, provider_task_id, id FROM tasks WHERE account = :account AND provider_task_id = :provider_task_id
"""

READ = select(
    COLUMNS,
    """
      FROM tasks t
     WHERE t.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
""",
)


async def insert(tx: Connection, task: Task) -> None:
    """Store a new task. Raises `Duplicate` when its reference is taken."""
    await tx.fetch(INSERT, _row(task))


async def lock(tx: Connection, ids: Iterable[str]) -> dict[str, Task]:
    """The tasks by id, locked in id order for the rest of the transaction."""
    return {task.id: task for task in map(from_row, await tx.fetch(BY_IDS, {"ids": sorted(set(ids))}))}


async def lock_in_turn(tx: Connection, ids: Iterable[str]) -> dict[str, Task]:
    """The same, for who will tell of them. Raises `Stale` when what is told now would stand before what was told already."""
    rows: list[Any] = await tx.fetch(BY_IDS_IN_TURN, {"ids": sorted(set(ids))})
    if any(row[-1] for row in rows):
        raise Stale("a younger transaction has written one of these tasks")
    return {task.id: task for task in map(from_row, rows)}


async def read(tx: Connection, ids: Iterable[str]) -> dict[str, Task]:
    """The tasks by id, not locked."""
    return {task.id: task for task in map(from_row, await tx.fetch(READ, {"ids": sorted(set(ids))}))}


async def by_submissions(tx: Connection, submission_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Submission id → its task's id and the account that made it, for those that exist."""
    rows = await tx.fetch(BY_SUBMISSIONS, {"ids": list(submission_ids)})
    return {str(submission): (str(task), str(account)) for submission, task, account in rows}


async def save(tx: Connection, changed: Sequence[tuple[Task, Task]]) -> None:
    """Write tasks back, each beside what was read. Raises `Stale` when another writer was first."""
    won = await tx.change(SAVE, [{**_mutable(task), "was": read.version} for task, read in changed])
    if won != len(changed):
        raise Stale(f"{len(changed) - won} of {len(changed)} tasks changed meanwhile")
    await tx.many(
        BIND,
        [
            {"id": task.id, "provider_task_id": task.provider_task_id}
            for task, read in changed
            if task.provider_task_id != read.provider_task_id
        ],
    )
    resolved = [task for task, read in changed if _of_a_doubt(task) != _of_a_doubt(read)]
    if resolved:
        await tx.many(RESOLVE, [_resolver(task) for task in resolved])
    moved = [task for task, read in changed if _of_the_account(task) != _of_the_account(read)]
    if moved:
        await tx.many(MOVE, [_mover(task) for task in moved])
    await book(tx, [task for task, read in changed if task.booked != read.booked])


async def book(tx: Connection, changed: Sequence[Task]) -> None:
    """Keep how the tasks, which are locked, stand in the books."""
    await tx.many(BOOK, [{"id": task.id, "booked": task.booked} for task in changed])


async def get(tx: Connection, task_id: str, project_id: str) -> Task | None:
    rows = await tx.fetch(GET, {"id": task_id, "project_id": project_id})
    return from_row(rows[0]) if rows else None


async def by_reference(tx: Connection, project_id: str, reference: str) -> Task | None:
    """The task that holds the reference now."""
    rows = await tx.fetch(BY_REFERENCE, {"project_id": project_id, "reference": reference})
    return from_row(rows[0]) if rows else None


async def bound(tx: Connection, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(account, provider's id) → the task it is bound to, for those that are."""
    rows = await tx.each(
        OWNER_OF_PROVIDER_TASK, [{"account": account, "provider_task_id": found} for account, found in pairs]
    )
    return {(str(account), str(found)): str(task) for account, found, task in rows}


_STATUS = {status.value: status for status in TaskStatus}

_CHARGE = {charge.value: charge for charge in Charge}

_ON_AMBIGUOUS = {policy.value: policy for policy in OnAmbiguous}


def from_row(row: Any) -> Task:
    """A row of `COLUMNS`."""
    return Task(
        id=row[0],
        project_id=row[1],
        account=row[2],
        provider=row[3],
        model=row[4],
        status=_STATUS[row[5]],
        input=row[6],
        provider_options=row[7],
        metadata=row[8],
        reference=row[9],
        webhook_endpoint_id=row[10],
        webhook_url=row[11],
        webhook_events=row[12],
        phase=row[13],
        provider_status=row[14],
        provider_task_id=row[15],
        progress=row[16],
        outputs=tuple(Output(**output) for output in orjson.loads(row[17])) if row[17] != "[]" else (),
        failure=_failure(row[18]) if row[18] is not None else None,
        final_at=row[19],
        late=bool(row[20]),
        charge=_CHARGE[row[21]],
        cost_unit=row[22],
        cost_estimated=row[23],
        cost_charged=row[24],
        unit_price=row[25],
        submissions=row[26],
        submission_deadline_at=row[27],
        resends=row[28],
        streak=Streak(row[29]) if row[29] is not None else None,
        streak_count=row[30],
        streak_since=row[31],
        streak_last_at=row[32],
        sequence=row[33],
        version=row[34],
        due_at=row[35],
        deadline_at=row[36],
        created_at=row[37],
        submitted_at=row[38],
        finished_at=row[39],
        updated_at=row[40],
        fallbacks=row[41],
        on_ambiguous=_ON_AMBIGUOUS[row[42]],
        adopted_at=row[43],
        permitted_at=row[44],
        surplus=tuple(Surplus(**one) for one in orjson.loads(row[45])) if row[45] != "[]" else (),
        erased_at=row[46],
        booked=row[47],
        traceparent=row[48],
    )


def _failure(text: str) -> Failure:
    parts = orjson.loads(text)
    return Failure(**{**parts, "code": FailureCode(parts["code"])})


def _mutable(task: Task) -> dict[str, object]:
    """What may change after a task was made. orjson renders the small records of outputs and failure as they are."""
    return {
        "id": task.id,
        "status": task.status.value,
        "phase": task.phase,
        "provider_status": task.provider_status,
        "progress": task.progress,
        "outputs": orjson.dumps(task.outputs).decode() if task.outputs else "[]",
        "failure": orjson.dumps(task.failure).decode() if task.failure is not None else None,
        "final_at": task.final_at,
        "late": int(task.late),
        "charge": task.charge.value,
        "cost_unit": task.cost_unit,
        "cost_charged": task.cost_charged,
        "submissions": task.submissions,
        "submission_deadline_at": task.submission_deadline_at,
        "resends": task.resends,
        "streak": task.streak.value if task.streak is not None else None,
        "streak_count": task.streak_count,
        "streak_since": task.streak_since,
        "streak_last_at": task.streak_last_at,
        "sequence": task.sequence,
        "version": task.version,
        "due_at": task.due_at,
        "submitted_at": task.submitted_at,
        "finished_at": task.finished_at,
        "updated_at": task.updated_at,
    }


MOVED = (
    "account", "provider", "model", "input", "provider_options", "fallbacks", "cost_estimated", "unit_price",
)  # fmt: skip

_of_the_account = attrgetter(*MOVED)

_of_a_doubt = attrgetter("adopted_at", "permitted_at", "surplus")


def _mover(task: Task) -> dict[str, object]:
    return {"id": task.id, **dict(zip(MOVED, _of_the_account(task), strict=True))}


def _resolver(task: Task) -> dict[str, object]:
    return {
        "id": task.id,
        "adopted_at": task.adopted_at,
        "permitted_at": task.permitted_at,
        "surplus": orjson.dumps(task.surplus).decode() if task.surplus else "[]",
    }


def _row(task: Task) -> dict[str, object]:
    return {
        **_mutable(task),
        **_mover(task),
        **_resolver(task),
        "on_ambiguous": task.on_ambiguous.value,
        "project_id": task.project_id,
        "metadata": task.metadata,
        "reference": task.reference,
        "webhook_endpoint_id": task.webhook_endpoint_id,
        "webhook_url": task.webhook_url,
        "webhook_events": task.webhook_events,
        "provider_task_id": task.provider_task_id,
        "deadline_at": task.deadline_at,
        "created_at": task.created_at,
        "erased_at": task.erased_at,
        "booked": task.booked,
        "traceparent": task.traceparent,
    }
