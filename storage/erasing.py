"""What of a task is rewritten when it is erased. The only statements that change an event, an observation or a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.database import Connection

# Nobody asks for one of them again before what it would send is erased.
LOCK_DELIVERIES = """
    SELECT d.id FROM events e JOIN deliveries d ON d.event_id = e.id
     WHERE e.task_id = :task_id ORDER BY d.id /*postgres: FOR UPDATE OF d */
"""

PENDING = """
    SELECT count(*) FROM events e JOIN deliveries d ON d.event_id = e.id WHERE e.task_id = :task_id AND d.status = 'pending'
"""

BODIES = "SELECT id, body FROM events WHERE task_id = :task_id ORDER BY sequence"

SET_BODY = "UPDATE events SET body = :body WHERE id = :id"

DETAILS = "SELECT version, ordinal, detail FROM timeline WHERE task_id = :task_id ORDER BY version, ordinal"

SET_DETAIL = """
    UPDATE timeline SET detail = :detail WHERE task_id = :task_id AND version = :version AND ordinal = :ordinal
"""

CLAIMS = "SELECT id, claim FROM observations WHERE task_id = :task_id"

SET_CONTENT = """
    UPDATE observations SET content = :content, raw = NULL, context = NULL WHERE task_id = :task_id AND id = :id
"""

CLEAR_SUBMISSIONS = "UPDATE submissions SET detail = NULL WHERE task_id = :task_id"

CLEAR_ATTEMPTS = """
    UPDATE attempts SET response_head = NULL
     WHERE response_head IS NOT NULL AND delivery_id IN (
        SELECT d.id FROM events e JOIN deliveries d ON d.event_id = e.id WHERE e.task_id = :task_id)
"""

# What its creation was answered shows what was asked for. The row stays: the same request again is still the same.
CLEAR_ANSWERS = "UPDATE answers SET body = NULL, sealed = NULL WHERE task_id = :task_id"

# Compare-and-set: whatever comes in between is looked at first.
ERASE = """
    UPDATE tasks SET input = '{}', provider_options = '{}', fallbacks = '[]', outputs = '[]', failure = :failure, webhook_url = NULL,
        erased_at = :now, updated_at = :now, version = version + 1
     WHERE id = :id AND version = :was AND erased_at IS NULL
 RETURNING version
"""


async def pending(tx: Connection, task_id: str) -> int:
    """How many deliveries of its events are not settled; none that is becomes due until the end of the transaction."""
    await tx.fetch(LOCK_DELIVERIES, {"task_id": task_id})
    rows: list[Any] = await tx.fetch(PENDING, {"task_id": task_id})
    return int(rows[0][0])


async def erase(tx: Connection, task_id: str, *, was: int, failure: str | None, now: int) -> int | None:
    """Empty the row. Returns its version then; None when another writer was first."""
    rows: list[Any] = await tx.fetch(ERASE, {"id": task_id, "was": was, "failure": failure, "now": now})
    return int(rows[0][0]) if rows else None


async def bodies(tx: Connection, task_id: str) -> list[tuple[str, bytes]]:
    rows: list[Any] = await tx.fetch(BODIES, {"task_id": task_id})
    return [(event_id, bytes(body)) for event_id, body in rows]


async def set_bodies(tx: Connection, left: Sequence[tuple[str, bytes]]) -> None:
    await tx.many(SET_BODY, [{"id": event_id, "body": body} for event_id, body in left])


async def details(tx: Connection, task_id: str) -> list[tuple[int, int, str]]:
    rows: list[Any] = await tx.fetch(DETAILS, {"task_id": task_id})
    return [(version, ordinal, detail) for version, ordinal, detail in rows]


async def set_details(tx: Connection, task_id: str, left: Sequence[tuple[int, int, str]]) -> None:
    rows = [
        {"task_id": task_id, "version": version, "ordinal": ordinal, "detail": text} for version, ordinal, text in left
    ]
    await tx.many(SET_DETAIL, rows)


async def claims(tx: Connection, task_id: str) -> list[tuple[str, str]]:
    """(id, claim) of what was observed."""
    rows: list[Any] = await tx.fetch(CLAIMS, {"task_id": task_id})
    return [(observation, claim) for observation, claim in rows]


async def set_contents(tx: Connection, task_id: str, left: Sequence[tuple[str, str]]) -> None:
    """Replace what was heard; without its context it is no part of a history any more."""
    await tx.many(SET_CONTENT, [{"task_id": task_id, "id": one, "content": content} for one, content in left])


async def clear_beside(tx: Connection, task_id: str) -> None:
    """What a provider said to a submission, what receivers answered, and what we answered to the creation."""
    await tx.fetch(CLEAR_SUBMISSIONS, {"task_id": task_id})
    await tx.fetch(CLEAR_ATTEMPTS, {"task_id": task_id})
    await tx.fetch(CLEAR_ANSWERS, {"task_id": task_id})
