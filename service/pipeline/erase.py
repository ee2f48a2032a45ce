"""Erases what an ended task was about, at its client's wish. In one transaction, with a line of the timeline and of the trail.

Not a change of state: no observation, no event. Its history cannot be replayed any more, and `db replay` knows that.
"""

from __future__ import annotations

from service.core import erasing
from service.core.observation import Claim, Reading, Source, dump
from service.pipeline import audit_trail
from service.pipeline.audit_trail import Act
from service.pipeline.ledger import Ledger
from storage import callbacks, tasks
from storage import erasing as rows
from storage.database import Connection
from storage.errors import Stale
from storage.records import Task, TimelineEntry


class CannotErase(Exception):
    """It may still change, or is still owed to somebody; the text says what can be done."""


async def erase(tx: Connection, ledger: Ledger, task_id: str, project_id: str, act: Act) -> Task | None:
    """Returns the task as it was; None when the project has no such task. What is erased already stays as it is."""
    await tasks.lock(tx, [task_id])
    task = await tasks.get(tx, task_id, project_id)
    if task is None or task.erased_at is not None:
        return task
    if (why := erasing.why_not(task, pending=await rows.pending(tx, task_id), now=ledger.now)) is not None:
        raise CannotErase(why)
    failure = erasing.failure_left(task.failure)
    version = await rows.erase(tx, task_id, was=task.version, failure=failure, now=ledger.now)
    if version is None:
        raise Stale(f"{task_id} changed meanwhile")
    await _empty(tx, task_id, ledger.now)
    line = TimelineEntry(
        task_id=task_id,
        version=version,
        ordinal=0,
        at=ledger.now,
        kind="erased",
        source=Source.OPERATOR.value,
        detail="{}",
    )
    await callbacks.note(tx, [line])
    await audit_trail.note(tx, act, project_id=project_id, now=ledger.now, mint=ledger.mint, task_id=task_id)
    return task


async def _empty(tx: Connection, task_id: str, now: int) -> None:
    """Everything that repeats what was asked for or was made of it."""
    bodies = [(event_id, erasing.body_left(body, now)) for event_id, body in await rows.bodies(tx, task_id)]
    await rows.set_bodies(tx, bodies)
    details = [
        (version, ordinal, erasing.detail_left(text)) for version, ordinal, text in await rows.details(tx, task_id)
    ]
    await rows.set_details(tx, task_id, details)
    contents = [(one, dump(Reading(claim=Claim(claim)))) for one, claim in await rows.claims(tx, task_id)]
    await rows.set_contents(tx, task_id, contents)
    await rows.clear_beside(tx, task_id)
