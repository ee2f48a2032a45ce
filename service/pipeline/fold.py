"""Folds one observation into the ledger: the reducer decides, here its step is written down."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from service.core import lifecycle
from service.core.lifecycle import Outcome, Step
from service.core.observation import Claim, Observation, Source, dump
from service.pipeline.ledger import RAW_KEPT, Ledger, Recorded
from storage.records import (
    LaneKind,
    ObservationRow,
    Submission,
    SubmissionStatus,
    Task,
    TaskStatus,
    TimelineEntry,
)

FATE = {
    Claim.ACCEPTED: SubmissionStatus.ACCEPTED,
    Claim.REFUSED: SubmissionStatus.REFUSED,
    Claim.DEFERRED: SubmissionStatus.DEFERRED,
    Claim.AMBIGUOUS: SubmissionStatus.AMBIGUOUS,
}
LaneKey = tuple[LaneKind, str]


def fold(seen: Observation, ledger: Ledger, taken: Mapping[tuple[str, str], str]) -> Recorded:
    task = ledger.found.get(seen.task_id)
    if task is None:
        return Recorded(outcome=Outcome.IGNORED)
    reading = seen.reading
    owner = taken.get((task.account, reading.provider_task_id)) if reading.provider_task_id is not None else None
    step = lifecycle.advance(task, seen, ledger.rules(task), taken=owner is not None and owner != task.id)
    _note_submission(seen, task, step, ledger)
    if seen.source in (Source.POLL, Source.LOOK_UP) and reading.claim is not Claim.UNREACHABLE:
        ledger.answered.append((seen.account or task.account, task.id, seen.at))
    if step.task is not task:
        ledger.found[task.id] = step.task
        ledger.steps.append(step)
        ledger.notes += _entries(seen, step, ledger)
        if step.task.due_at is not None:
            ledger.arrive(LaneKind.ACCOUNT, step.task.account, step.task.due_at)
    if seen.source is not Source.CALLBACK and (step.notes or step.drafts):
        ledger.kept.append(_row(seen, task, ledger))
    return Recorded(outcome=step.outcome, task=step.task)


def _note_submission(seen: Observation, task: Task, step: Step, ledger: Ledger) -> None:
    """Intents become submissions; their fate is kept whatever the task made of it, because evidence is never fenced."""
    if seen.submission_id is None or seen.source is not Source.SUBMIT:
        return
    if seen.claim is Claim.INTENT:
        if (
            step.task.status is TaskStatus.SUBMITTING
            and step.task is not task
            and seen.submission_deadline_at is not None
        ):
            ledger.submissions.append(
                Submission(
                    id=seen.submission_id,
                    task_id=task.id,
                    number=step.task.submissions,
                    account=task.account,
                    status=SubmissionStatus.INTENDED,
                    deadline_at=seen.submission_deadline_at,
                    created_at=ledger.now,
                )
            )
        return
    ledger.fates.append((seen.submission_id, FATE.get(seen.claim, SubmissionStatus.AMBIGUOUS), seen.reading))


def _entries(seen: Observation, step: Step, ledger: Ledger) -> list[TimelineEntry]:
    told = [f"{draft.type}" for draft in step.drafts]
    return [
        TimelineEntry(
            task_id=step.task.id,
            version=step.task.version,
            ordinal=ordinal,
            at=ledger.now,
            kind=note.kind,
            source=seen.source.value,
            detail=orjson.dumps({**note.detail, "events": told} if told and not ordinal else note.detail).decode(),
        )
        for ordinal, note in enumerate(step.notes)
    ]


def _row(seen: Observation, task: Task, ledger: Ledger) -> ObservationRow:
    raw = seen.reading.raw
    return ObservationRow(
        id=ledger.mint("obs"),
        task_id=task.id,
        submission_id=seen.submission_id,
        account=seen.account or task.account,
        source=seen.source.value,
        claim=seen.claim.value,
        content=dump(seen.reading),
        raw=raw[:RAW_KEPT] if raw is not None else None,
        digest=None,
        seen_at=ledger.now,
        verified_at=ledger.now,
    )
