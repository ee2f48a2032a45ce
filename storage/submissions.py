"""Submissions: every try to buy a task from its provider, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.database import Connection
from storage.records import Submission, SubmissionStatus

INSERT = """
    INSERT INTO submissions (id, task_id, number, account, status, deadline_at, created_at, settled_at, provider_task_id, detail)
    VALUES (:id, :task_id, :number, :account, :status, :deadline_at, :created_at, :settled_at, :provider_task_id, :detail)
"""

# Evidence is never fenced: an id learned late is kept, and a settled submission is not unsettled.
SETTLE = """
    UPDATE submissions SET provider_task_id = coalesce(provider_task_id, :provider_task_id),
        status = CASE WHEN status IN ('intended', 'ambiguous') THEN :status ELSE status END,
        settled_at = CASE WHEN status IN ('intended', 'ambiguous') THEN :settled_at ELSE settled_at END,
        detail = CASE WHEN status IN ('intended', 'ambiguous') THEN :detail ELSE detail END
     WHERE id = :id
"""

OF_TASK = """
    SELECT id, task_id, number, account, status, deadline_at, created_at, settled_at, provider_task_id, detail
      FROM submissions WHERE task_id = :task_id ORDER BY number
"""


async def insert(tx: Connection, submissions: Sequence[Submission]) -> None:
    await tx.many(
        INSERT,
        [
            {
                "id": s.id,
                "task_id": s.task_id,
                "number": s.number,
                "account": s.account,
                "status": s.status.value,
                "deadline_at": s.deadline_at,
                "created_at": s.created_at,
                "settled_at": s.settled_at,
                "provider_task_id": s.provider_task_id,
                "detail": s.detail,
            }
            for s in submissions
        ],
    )


async def settle(
    tx: Connection,
    submission_id: str,
    status: SubmissionStatus,
    *,
    now: int,
    provider_task_id: str | None,
    detail: str | None,
) -> None:
    """Note how a submission ended."""
    await tx.fetch(
        SETTLE,
        {
            "id": submission_id,
            "status": status.value,
            "settled_at": now,
            "provider_task_id": provider_task_id,
            "detail": detail,
        },
    )


async def of_task(tx: Connection, task_id: str) -> list[Submission]:
    """Every try to buy the task, in order."""
    rows: list[Any] = await tx.fetch(OF_TASK, {"task_id": task_id})
    return [
        Submission(
            id=row[0],
            task_id=row[1],
            number=row[2],
            account=row[3],
            status=SubmissionStatus(row[4]),
            deadline_at=row[5],
            created_at=row[6],
            settled_at=row[7],
            provider_task_id=row[8],
            detail=row[9],
        )
        for row in rows
    ]
