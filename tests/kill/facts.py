"""What the database says of itself. Of a file from a copy: to open that of a dead process tidies up what the next one shall find."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.outside import Outside

DATABASE = "taskrelay.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFact:
    """A task's row, as far as the oracle cares."""

    id: str
    reference: str
    prompt: str
    status: str
    provider_task_id: str | None
    resends: int
    finished: bool
    due_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFact:
    """An event's row. `wanted`: somebody is owed it; `delivered`: that was done; `attempts`: those that are stored."""

    id: str
    task_id: str
    type: str
    sequence: int
    hard: bool
    body: bytes
    wanted: bool
    delivered: bool
    attempts: int


@dataclass(slots=True, kw_only=True)
class Facts:
    """One reading."""

    tasks: dict[str, TaskFact] = field(default_factory=dict)
    events: dict[str, EventFact] = field(default_factory=dict)
    submissions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # task → when announced
    pushes: set[bytes] = field(default_factory=set)  # digests of what was kept, orphans too
    bells: int = 0  # pushes that still ask for a query

    @property
    def statuses(self) -> Counter[str]:
        return Counter(task.status for task in self.tasks.values())


TASKS = """SELECT id, coalesce(reference, ''), /*sqlite:*/ json_extract(input, '$.prompt') /*postgres: input::json->>'prompt' */,
    status, provider_task_id, resends, finished_at IS NOT NULL, due_at FROM tasks"""
EVENTS = """SELECT e.id, coalesce(e.task_id, ''), e.type, e.sequence, e.hard, e.body, d.id IS NOT NULL,
    coalesce(d.status, '') = 'delivered', coalesce(d.attempts, 0)
    FROM events e LEFT JOIN deliveries d ON d.event_id = e.id ORDER BY e.position"""
SUBMISSIONS = "SELECT task_id, created_at FROM submissions ORDER BY task_id, number"
PUSHES = "SELECT digest FROM observations WHERE digest IS NOT NULL UNION ALL SELECT digest FROM callbacks"
BELLS = "SELECT count(*) FROM observations WHERE verified_at IS NULL"
TIMELINE = "SELECT at, kind, source, detail FROM timeline WHERE task_id = '{}' ORDER BY version, ordinal"


def copied(folder: Path) -> str:
    """The URL of a copy of a dead process's file: its log, not yet part of it, is copied along."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in (DATABASE, f"{DATABASE}-wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, copy / name)
    return f"sqlite:///{copy}/{DATABASE}"


def read(url: str) -> Facts:
    with Outside(url) as database, database.snapshot():
        return _read(database)


def _read(database: Outside) -> Facts:
    facts = Facts()
    for id, reference, prompt, status, provider_task_id, resends, finished, due_at in database.rows(TASKS):
        facts.tasks[id] = TaskFact(
            id=id,
            reference=reference,
            prompt=prompt,
            status=status,
            provider_task_id=provider_task_id,
            resends=resends,
            finished=bool(finished),
            due_at=due_at,
        )
    for id, task_id, type_, sequence, hard, body, wanted, delivered, attempts in database.rows(EVENTS):
        facts.events[id] = EventFact(
            id=id,
            task_id=task_id,
            type=type_,
            sequence=sequence,
            hard=bool(hard),
            body=bytes(body),
            wanted=bool(wanted),
            delivered=bool(delivered),
            attempts=attempts,
        )
    for task_id, created_at in database.rows(SUBMISSIONS):
        facts.submissions[task_id].append(created_at)
    facts.pushes = {bytes(digest) for (digest,) in database.rows(PUSHES)}
    [(facts.bells,)] = database.rows(BELLS)
    return facts


def timeline(url: str, task_id: str) -> list[str]:
    """For people."""
    with Outside(url) as database:
        return [
            f"{at} {kind} ({source}) {detail}" for at, kind, source, detail in database.rows(TIMELINE.format(task_id))
        ]
