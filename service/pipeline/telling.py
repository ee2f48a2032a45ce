"""What a commit means for the log and the counters: tasks bought, ended, of unknown fate. After the commit, all of it at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from service.core.events import EventType
from service.core.observation import Source
from service.core.times import SECOND
from service.pipeline.ledger import AccountRules, Happened
from service.telemetry import metrics, traces
from service.telemetry.facts import Fact, tell_all

log = logging.getLogger("taskrelay.task")

ENDS = frozenset({EventType.TASK_SUCCEEDED, EventType.TASK_FAILED, EventType.TASK_CANCELED, EventType.TASK_EXPIRED})
VERDICTS = frozenset({EventType.TASK_SUCCEEDED, EventType.TASK_FAILED})
ALARMING = frozenset({EventType.TASK_UNCONFIRMED, EventType.TASK_CONFLICT})
QUIET = frozenset({EventType.TASK_PROCESSING})
WORDS = {type: type.value.replace(".", " ") for type in EventType}
TOLD_BY = {
    Source.SUBMIT: "submit",
    Source.CALLBACK: "push",
    Source.POLL: "poll",
    Source.LOOK_UP: "poll",
    Source.OPERATOR: "person",
    Source.DEADLINE: "deadline",
    Source.READER: "person",
}


def happened(facts: Sequence[Happened], accounts: Mapping[str, AccountRules], seconds: float) -> None:
    """Count and log what a batch brought. `seconds`: how long it took to record."""
    told: dict[int, list[Fact]] = {logging.DEBUG: [], logging.INFO: [], logging.WARNING: []}
    for one in facts:
        if traces.on():
            types = " ".join(one.types)
            traces.note("record", one.task.traceparent, seconds, task=one.task.id, events=types, status=one.task.status)
        told_by = "push" if one.pushed else TOLD_BY[one.source]
        for type in one.types:
            _count(one, type, told_by, accounts)
            level = logging.WARNING if type in ALARMING else logging.DEBUG if type in QUIET else logging.INFO
            if log.isEnabledFor(level):
                told[level].append(_fact(one, type, told_by))
    for level, lines in told.items():
        tell_all(log, lines, level)


def _count(one: Happened, type: EventType, told_by: str, accounts: Mapping[str, AccountRules]) -> None:
    task = one.task
    if type is EventType.TASK_UNCONFIRMED:
        metrics.unconfirmed.labels(task.provider, task.account).inc()
    if type not in ENDS:
        return
    metrics.task_ends.labels(task.provider, task.account, task.status.value, told_by).inc()
    rules = accounts.get(task.account)
    if type in VERDICTS and told_by in ("push", "poll") and rules is not None and rules.pushes:
        metrics.pushes_expected.labels(task.provider, task.account).inc()
        if told_by == "poll":
            metrics.pushes_missed.labels(task.provider, task.account).inc()


def _fact(one: Happened, type: EventType, told_by: str) -> Fact:
    task = one.task
    ended = type in ENDS
    return {
        "text": WORDS[type],
        "task": task.id,
        "project": task.project_id,
        "provider": task.provider,
        "account": task.account,
        "told_by": told_by,
        "error": task.failure.code.value if ended and task.failure is not None else None,
        "seconds": round((task.updated_at - task.created_at) / SECOND, 3) if ended else None,
        "provider_task": task.provider_task_id if type is EventType.TASK_SUBMITTED else None,
        "charge": task.charge.value if ended or type in ALARMING else None,
    }
