"""A task as the oracle reads it."""

from __future__ import annotations

import json
from typing import NamedTuple

SECOND = 1_000_000
ENDS = {"task.succeeded", "task.failed", "task.canceled", "task.expired"}


class Row(NamedTuple):
    """A task as the oracle follows it."""

    id: str
    project: str
    account: str
    status: str
    version: int
    final_at: int | None
    finished_at: int | None
    sequence: int
    job: str | None
    input: str
    charge: str
    cost: str | None
    outputs: str
    failure: str | None
    due_at: int | None
    deadline_at: int
    submissions: int
    resends: int
    streak: str | None
    late: int
    on_ambiguous: str
    adopted_at: int | None

    @property
    def prompt(self) -> str:
        return str(json.loads(self.input)["prompt"])


TASKS = """
    SELECT id, project_id, account, status, version, final_at, finished_at, sequence, provider_task_id, input, charge, cost_charged,
           outputs, failure, due_at, deadline_at, submissions, resends, streak, late, on_ambiguous,
           adopted_at FROM tasks ORDER BY id
"""
