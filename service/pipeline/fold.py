"""Folds one observation into the ledger: the reducer decides, here its step is written down."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from service.core import history, lifecycle, resolving
from service.core.lifecycle import Outcome, Step
from service.core.observation import Claim, Observation, Reading, Source, dump
from service.pipeline.ledger import RAW_KEPT, Happened, Ledger, Recorded
from storage.records import (
    AuditEntry,
    LaneKind,
    ObservationRow,
    Submission,
    SubmissionStatus,
    Task,
    TaskStatus,
    TimelineEntry,
    light,
)

FATE = {
    Claim.ACCEPTED: SubmissionStatus.ACCEPTED,
    Claim.REFUSED: SubmissionStatus.REFUSED,
    Claim.DEFERRED: SubmissionStatus.DEFERRED,
    Claim.AMBIGUOUS: SubmissionStatus.AMBIGUOUS,
}


@light(frozen=True, slots=True, kw_only=True)
class Folded:
    """What became of an observation, and its place in the history of its task; None where it changed nothing for good."""

    recorded: Recorded
    version: int | None = None
    context: str | None = None


def hear(seen: Observation, ledger: Ledger, taken: Mapping[tuple[str, str], str]) -> Recorded:
    """Fold an answer of ours or a person's word; it is kept when it changed something for good, or rings."""
    task = ledger.found.get(seen.task_id)
    if task is None:
        return Recorded(outcome=Outcome.IGNORED)
    if not seen.verified:
        return _ring(seen, task, ledger)
    folded = fold(seen, task, ledger, taken)
    if folded.version is not None:
        raw = seen.reading.raw
        ledger.kept.append(
            row_of(seen, seen.account or task.account, ledger, folded, raw=raw, verified_at=ledger.now, digest=None)
        )
    return folded.recorded


def _ring(seen: Observation, task: Task, ledger: Ledger) -> Recorded:
    """Kept as a bell where a query is worth it: the account's lane then asks the provider."""
    if not lifecycle.rings(task, seen.reading):
        return Recorded(outcome=Outcome.IGNORED, task=task)
    recorded = Recorded(outcome=Outcome.SCHEDULED, task=task)
    kept = row_of(seen, task.account, ledger, Folded(recorded=recorded), raw=None, digest=None, verified_at=None)
    ledger.kept.append(kept)
    ledger.arrive(LaneKind.ACCOUNT, task.account, ledger.now)
    return recorded


def fold(seen: Observation, task: Task, ledger: Ledger, taken: Mapping[tuple[str, str], str]) -> Folded:
    reading, rules = seen.reading, ledger.rules(task)
    owner = taken.get((task.account, reading.provider_task_id)) if reading.provider_task_id is not None else None
    another = owner is not None and owner != task.id
    step = lifecycle.advance(task, seen, rules, taken=another)
    _note_submission(seen, task, step, ledger)
    # Nothing waits for a task that has ended for good but readers, and whoever reads next rings again.
    if seen.source in (Source.POLL, Source.LOOK_UP) and (reading.claim is not Claim.UNREACHABLE or task.final):
        ledger.answered.append((seen.account or task.account, task.id, seen.at))
    if step.task is not task:
        ledger.found[task.id] = step.task
        ledger.steps.append(step)
        if step.drafts:
            _note_told(seen, step, ledger)
        ledger.notes += _entries(seen, step, ledger)
        ledger.audited += _audited(seen, step, ledger)
        if step.task.due_at is not None:
            ledger.arrive(LaneKind.ACCOUNT, step.task.account, step.task.due_at)
    recorded = Recorded(outcome=step.outcome, task=step.task)
    if not history.changes_for_good(task, step):
        return Folded(recorded=recorded)
    context = history.context(task, seen, rules, step, taken=another)
    return Folded(recorded=recorded, version=step.task.version, context=context)


def _note_told(seen: Observation, step: Step, ledger: Ledger) -> None:
    pushed = seen.source is Source.CALLBACK or seen.prompted_by not in (None, Claim.WANTED, Claim.ASKED)
    types = tuple(draft.type for draft in step.drafts)
    ledger.happened.append(Happened(task=step.task, types=types, source=seen.source, pushed=pushed))
    if seen.heard_at is not None:
        ledger.heard[step.task.id] = seen.heard_at


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


def _audited(seen: Observation, step: Step, ledger: Ledger) -> list[AuditEntry]:
    """Who accepted what might cost money, in the transaction in which it takes effect."""
    deed = resolving.deed(seen, step)
    if deed is None:
        return []
    return [
        AuditEntry(
            id=ledger.mint("aud"),
            project_id=step.task.project_id,
            task_id=step.task.id,
            key_id=seen.by.key_id if seen.by is not None else None,
            action=deed.action,
            detail=orjson.dumps(deed.detail).decode(),
            at=ledger.now,
        )
    ]


def row_of(
    seen: Observation,
    account: str,
    ledger: Ledger,
    folded: Folded,
    *,
    raw: bytes | None,
    digest: bytes | None,
    verified_at: int | None,
) -> ObservationRow:
    task = ledger.found.get(seen.task_id)
    erased = task is not None and task.erased_at is not None  # a late push must not bring back what was erased
    return ObservationRow(
        id=ledger.mint("obs"),
        task_id=seen.task_id,
        submission_id=seen.submission_id,
        account=account,
        source=seen.source.value,
        claim=seen.claim.value,
        content=dump(seen.reading if not erased else Reading(claim=seen.claim)),
        raw=raw[:RAW_KEPT] if raw is not None and not erased else None,
        digest=digest,
        seen_at=ledger.now,
        verified_at=verified_at,
        version=folded.version,
        context=folded.context,
    )
