"""Observations as they were made, the pushes nobody can attribute, and the timeline people read."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from storage.database import Connection
from storage.records import ObservationRow, TimelineEntry, light

# The same push twice is one observation: the second insert writes no row.
INSERT_PUSH = """
    INSERT INTO observations (id, task_id, submission_id, account, source, claim, content, raw, digest, seen_at, verified_at,
        version, context)
    VALUES (:id, :task_id, :submission_id, :account, :source, :claim, :content, :raw, :digest, :seen_at, :verified_at,
        :version, :context)
    ON CONFLICT (submission_id, digest) WHERE digest IS NOT NULL DO NOTHING
    /*postgres: RETURNING id */
"""

STORED = """
    SELECT id FROM observations
     WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:tasks) /*postgres: unnest(:tasks::text[]) */)
       AND id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""

INSERT = """
    INSERT INTO observations (id, task_id, submission_id, account, source, claim, content, raw, digest, seen_at, verified_at,
        version, context)
    VALUES (:id, :task_id, :submission_id, :account, :source, :claim, :content, :raw, :digest, :seen_at, :verified_at,
        :version, :context)
"""

UNVERIFIED = """
    SELECT id, task_id, claim, content, seen_at FROM observations
     WHERE account = :account AND verified_at IS NULL
     ORDER BY seen_at
     LIMIT :batch
"""

ANY_UNVERIFIED = """
    SELECT min(seen_at) FROM observations WHERE account = :account AND verified_at IS NULL
"""

ANY_OF_TASK = """
    SELECT 1 FROM observations WHERE account = :account AND task_id = :task_id AND verified_at IS NULL LIMIT 1
"""

ANSWER = """
    UPDATE observations SET verified_at = :now
     WHERE account = :account AND task_id = :task_id AND verified_at IS NULL AND seen_at <= :up_to
"""

# One by one: another door may have stored a push since that it received before.
REST = "UPDATE observations SET verified_at = :now WHERE task_id = :task_id AND id = :id AND verified_at IS NULL"

PUSHED = """
    SELECT content FROM observations WHERE task_id = :task_id AND digest IS NOT NULL ORDER BY id DESC LIMIT :batch
"""

OF_TASK = """
    SELECT id, task_id, submission_id, account, source, claim, content, raw, digest, seen_at, verified_at, version, context
      FROM observations WHERE task_id = :task_id ORDER BY id
"""

RENUMBER = """
    UPDATE observations SET version = :version, context = :context, verified_at = :verified_at
     WHERE task_id = :task_id AND id = :id
"""

INSERT_ORPHAN = """
    INSERT INTO callbacks (id, provider, submission_id, digest, raw, received_at)
    VALUES (:id, :provider, :submission_id, :digest, :raw, :received_at)
    ON CONFLICT (submission_id, digest) DO NOTHING
    /*postgres: RETURNING id */
"""

COUNT_ORPHANS = "SELECT count(*) FROM callbacks"

IS_ORPHAN = "SELECT 1 FROM callbacks WHERE submission_id = :submission_id AND digest = :digest"

ORPHANS = """
    SELECT id, provider, submission_id, raw, received_at FROM callbacks ORDER BY id DESC LIMIT :batch
"""

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


@light(frozen=True, slots=True)
class Bell:
    """A push that asks for a query. `id`: of its observation."""

    id: str
    task_id: str
    claim: str
    content: str
    seen_at: int


async def unverified(tx: Connection, account: str, *, batch: int) -> list[Bell]:
    """Doorbells of an account, oldest first."""
    rows: list[Any] = await tx.fetch(UNVERIFIED, {"account": account, "batch": batch})
    return [Bell(*row) for row in rows]


async def oldest_unverified(tx: Connection, account: str) -> int | None:
    [(at,)] = await tx.fetch(ANY_UNVERIFIED, {"account": account})
    return at  # type: ignore[return-value]


async def rings(tx: Connection, account: str, task_id: str) -> bool:
    """Whether a doorbell of the task waits for its answer."""
    return bool(await tx.fetch(ANY_OF_TASK, {"account": account, "task_id": task_id}))


async def answer(tx: Connection, asked: Sequence[tuple[str, str, int]], *, now: int) -> None:
    """Mark the doorbells of (account, task) up to an instant as answered."""
    await tx.many(
        ANSWER,
        [{"account": account, "task_id": task, "up_to": up_to, "now": now} for account, task, up_to in asked],
    )


async def rest(tx: Connection, bells: Sequence[Bell], *, now: int) -> None:
    """Put to rest bells that need no query."""
    await tx.many(REST, [{"task_id": bell.task_id, "id": bell.id, "now": now} for bell in bells])


async def pushed(tx: Connection, task_id: str, *, batch: int) -> list[str]:
    """What the latest pushes of a task said, newest first, as kept for replay."""
    return [str(content) for (content,) in await tx.fetch(PUSHED, {"task_id": task_id, "batch": batch})]


async def of_task(tx: Connection, task_id: str) -> list[ObservationRow]:
    """Every observation of a task, by the millisecond in which it was recorded."""
    return [from_row(row) for row in await tx.fetch(OF_TASK, {"task_id": task_id})]


async def renumber(tx: Connection, rows: Sequence[ObservationRow]) -> None:
    """Correct what was said of pushes in the same transaction: their place in the history, and whether they ring."""
    await tx.many(
        RENUMBER,
        [
            {
                "id": row.id,
                "task_id": row.task_id,
                "version": row.version,
                "context": row.context,
                "verified_at": row.verified_at,
            }
            for row in rows
        ],
    )


class Orphaned(StrEnum):
    """What became of a push for a submission this database does not know."""

    KEPT = "kept"
    KNOWN = "known"  # the same push was kept before
    DROPPED = "dropped"  # as many are kept as may be


@light(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A push for a submission this database does not know. `raw`: its bytes, cut."""

    id: str
    provider: str
    submission_id: str
    raw: bytes
    received_at: int


async def keep_orphan(tx: Connection, orphan: Orphan, digest: bytes, *, limit: int) -> Orphaned:
    """Keep a push with a good token for a submission this database does not know (restored backup, pruned task)."""
    if await count_orphans(tx) >= limit:
        known = await tx.fetch(IS_ORPHAN, {"submission_id": orphan.submission_id, "digest": digest})
        return Orphaned.KNOWN if known else Orphaned.DROPPED
    row = {
        "id": orphan.id,
        "provider": orphan.provider,
        "submission_id": orphan.submission_id,
        "digest": digest,
        "raw": orphan.raw,
        "received_at": orphan.received_at,
    }
    return Orphaned.KEPT if await tx.change(INSERT_ORPHAN, [row]) else Orphaned.KNOWN


async def count_orphans(tx: Connection) -> int:
    [(count,)] = await tx.fetch(COUNT_ORPHANS)
    return int(count)  # type: ignore[call-overload, no-any-return]


async def orphans(tx: Connection, *, batch: int) -> list[Orphan]:
    """Kept pushes for submissions this database does not know, newest first."""
    rows: list[Any] = await tx.fetch(ORPHANS, {"batch": batch})
    return [Orphan(id=row[0], provider=row[1], submission_id=row[2], raw=row[3], received_at=row[4]) for row in rows]


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
        "version": row.version,
        "context": row.context,
    }


def from_row(row: Any) -> ObservationRow:
    """A row of `OF_TASK`."""
    return ObservationRow(
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
        version=row[11],
        context=row[12],
    )
