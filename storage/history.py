"""Tasks beside what changed them and what was told of them: what a replay is held against. Read in bounded pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from storage import callbacks, feed, tasks
from storage.database import Connection, Row
from storage.dialect import select
from storage.records import Event, ObservationRow, Task, light

T = TypeVar("T")

PAGE = select(tasks.COLUMNS, "FROM tasks t WHERE t.id > :after ORDER BY t.id LIMIT :batch")

# Without the bytes that are kept for people.
HISTORY = """
    SELECT id, task_id, submission_id, account, source, claim, content, NULL, digest, seen_at, verified_at, version, context
      FROM observations
     WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:tasks) /*postgres: unnest(:tasks::text[]) */)
       AND version IS NOT NULL
     ORDER BY task_id, version
"""

EVENTS = select(
    feed.COLUMNS,
    """
      FROM events
     WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:tasks) /*postgres: unnest(:tasks::text[]) */)
     ORDER BY task_id, sequence
""",
)

NOTES = """
    SELECT task_id, version, kind
      FROM timeline
     WHERE task_id IN (SELECT /*sqlite:*/ value FROM json_each(:tasks) /*postgres: unnest(:tasks::text[]) */)
     ORDER BY task_id, version, ordinal
"""


@light(frozen=True, slots=True, kw_only=True)
class Life:
    """All that is stored of one task. `notes`: (version, kind) of its timeline."""

    task: Task
    history: Sequence[ObservationRow]
    events: Sequence[Event]
    notes: Sequence[tuple[int, str]]


async def page(tx: Connection, *, after: str, batch: int) -> list[Life]:
    """The tasks behind the id `after`, each with what is stored of it."""
    found = [tasks.from_row(row) for row in await tx.fetch(PAGE, {"after": after, "batch": batch})]
    ids = {"tasks": [task.id for task in found]}
    history = _grouped((row.task_id, row) for row in map(callbacks.from_row, await tx.fetch(HISTORY, ids)))
    events = _grouped((str(row[2]), feed.from_row(row)) for row in await tx.fetch(EVENTS, ids))
    notes = _grouped(map(_note, await tx.fetch(NOTES, ids)))
    return [
        Life(
            task=task,
            history=history.get(task.id, ()),
            events=events.get(task.id, ()),
            notes=notes.get(task.id, ()),
        )
        for task in found
    ]


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _note(row: Row) -> tuple[str, tuple[int, str]]:
    return str(row[0]), (int(str(row[1])), str(row[2]))
