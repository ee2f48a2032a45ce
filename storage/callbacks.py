"""Observations as they were made, the pushes nobody can attribute, and the timeline people read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.database import Connection
from storage.records import ObservationRow, TimelineEntry

# The same push twice is one observation: the second insert writes no row.
INSERT_PUSH = """
    INSERT INTO observations (id, task_id, submission_id, account, source, claim, content, raw, digest, seen_at, verified_at)
    VALUES (:id, :task_id, :submission_id, :account, :source, :claim, :content, :raw, :digest, :seen_at, :verified_at)
    ON CONFLICT (submission_id, digest) WHERE digest IS NOT NULL DO NOTHING
    /*postgres: RETURNING id */
"""

STORED = """
    SELECT id FROM observations
     WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:tasks) /*postgres: unnest(:tasks::text[]) */)
       AND id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

INSERT = """
    INSERT INTO observations (id, task_id, submission_id, account, source, claim, content, raw, digest, seen_at, verified_at)
    VALUES (:id, :task_id, :submission_id, :account, :source, :claim, :content, :raw, :digest, :seen_at, :verified_at)
"""

UNVERIFIED = """
    SELECT task_id, claim, content, seen_at FROM observations
     WHERE account = :account AND verified_at IS NULL
     ORDER BY seen_at
     LIMIT :batch
"""

ANY_UNVERIFIED = """
    SELECT min(seen_at) FROM observations WHERE account = :account AND verified_at IS NULL
"""

ANSWER = """
    UPDATE observations SET verified_at = :now
     WHERE account = :account AND task_id = :task_id AND verified_at IS NULL AND seen_at <= :up_to
"""

PUSHED = """
    SELECT content FROM observations WHERE task_id = :task_id AND digest IS NOT NULL ORDER BY id DESC LIMIT :batch
"""

OF_TASK = """
    SELECT id, task_id, submission_id, account, source, claim, content, raw, digest, seen_at, verified_at
      FROM observations WHERE task_id = :task_id ORDER BY id
"""

INSERT_ORPHAN = """
    INSERT INTO callbacks (id, provider, submission_id, digest, raw, received_at)
    VALUES (:id, :provider, :submission_id, :digest, :raw, :received_at)
    ON CONFLICT (submission_id, digest) DO NOTHING
"""

COUNT_ORPHANS = "SELECT count(*) FROM callbacks"

INSERT_TIMELINE = """
    INSERT INTO timeline (task_id, version, ordinal, at, kind, source, detail)
    VALUES (:task_id, :version, :ordinal, :at, :kind, :source, :detail)
"""

TIMELINE_OF = """
    SELECT task_id, version, ordinal, at, kind, source, detail FROM timeline
     WHERE task_id = :task_id ORDER BY version, ordinal
"""


async def insert_pushes(tx: Connection, rows: Sequence[ObservationRow]) -> set[str]:
    """Keep pushes; returns the ids of those that were new."""
    ids = [row.id for row in rows]
    if await tx.change(INSERT_PUSH, [_parameters(row) for row in rows]) == len(rows):
        return set(ids)
    stored = await tx.fetch(STORED, {"tasks": list({row.task_id for row in rows}), "ids": ids})
    return {str(found) for (found,) in stored}


async def insert(tx: Connection, rows: Sequence[ObservationRow]) -> None:
    """Keep observations that are not pushes."""
    await tx.many(INSERT, [_parameters(row) for row in rows])


async def unverified(tx: Connection, account: str, *, batch: int) -> list[tuple[str, str, str, int]]:
    """Doorbells of an account, oldest first: (task id, claim, content, seen_at)."""
    rows: list[Any] = await tx.fetch(UNVERIFIED, {"account": account, "batch": batch})
    return rows


async def oldest_unverified(tx: Connection, account: str) -> int | None:
    [(at,)] = await tx.fetch(ANY_UNVERIFIED, {"account": account})
    return at  # type: ignore[return-value]


async def answer(tx: Connection, asked: Sequence[tuple[str, str, int]], *, now: int) -> None:
    """Mark the doorbells of (account, task) up to an instant as answered."""
    await tx.many(
        ANSWER,
        [{"account": account, "task_id": task, "up_to": up_to, "now": now} for account, task, up_to in asked],
    )


async def pushed(tx: Connection, task_id: str, *, batch: int) -> list[str]:
    """What the latest pushes of a task said, newest first, as kept for replay."""
    return [str(content) for (content,) in await tx.fetch(PUSHED, {"task_id": task_id, "batch": batch})]


async def of_task(tx: Connection, task_id: str) -> list[ObservationRow]:
    """Every observation of a task, in the order they were made."""
    rows: list[Any] = await tx.fetch(OF_TASK, {"task_id": task_id})
    return [
        ObservationRow(
            id=row[0],
            task_id=row[1],
            submission_id=row[2],
            account=row[3],
            source=row[4],
            claim=row[5],
            content=row[6],
            raw=row[7],
            digest=row[8],
            seen_at=row[9],
            verified_at=row[10],
        )
        for row in rows
    ]


async def keep_orphan(
    tx: Connection, *, id: str, provider: str, submission_id: str, digest: bytes, raw: bytes, now: int, limit: int
) -> None:
    """Keep a push with a good token for a submission this database does not know (restored backup, pruned task)."""
    [(count,)] = await tx.fetch(COUNT_ORPHANS)
    if int(count) < limit:  # type: ignore[call-overload]
        await tx.fetch(
            INSERT_ORPHAN,
            {
                "id": id,
                "provider": provider,
                "submission_id": submission_id,
                "digest": digest,
                "raw": raw,
                "received_at": now,
            },
        )


async def note(tx: Connection, entries: Sequence[TimelineEntry]) -> None:
    await tx.many(
        INSERT_TIMELINE,
        [
            {
                "task_id": entry.task_id,
                "version": entry.version,
                "ordinal": entry.ordinal,
                "at": entry.at,
                "kind": entry.kind,
                "source": entry.source,
                "detail": entry.detail,
            }
            for entry in entries
        ],
    )


async def timeline_of(tx: Connection, task_id: str) -> list[TimelineEntry]:
    rows: list[Any] = await tx.fetch(TIMELINE_OF, {"task_id": task_id})
    return [
        TimelineEntry(
            task_id=row[0], version=row[1], ordinal=row[2], at=row[3], kind=row[4], source=row[5], detail=row[6]
        )
        for row in rows
    ]


def _parameters(row: ObservationRow) -> dict[str, object]:
    return {
        "id": row.id,
        "task_id": row.task_id,
        "submission_id": row.submission_id,
        "account": row.account,
        "source": row.source,
        "claim": row.claim,
        "content": row.content,
        "raw": row.raw,
        "digest": row.digest,
        "seen_at": row.seen_at,
        "verified_at": row.verified_at,
    }
