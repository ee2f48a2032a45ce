"""Pushes in a batch: each is kept as received, once; then it decides, where the account trusts it, or rings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from service.core import lifecycle
from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Source, dump
from service.pipeline.fold import fold
from service.pipeline.ledger import NO_ACCOUNT, RAW_KEPT, Callback, Ledger, Recorded
from storage import callbacks
from storage.database import Connection
from storage.records import LaneKind, ObservationRow, Task

ORPHANS_KEPT = 10_000


async def keep_pushes(
    tx: Connection, seen: Sequence[Observation | Callback], owners: Mapping[str, str], ledger: Ledger
) -> set[int]:
    """Store every push as received; returns the places in the batch of those seen for the first time."""
    rows: list[ObservationRow] = []
    places: list[int] = []
    for place, one in enumerate(seen):
        if not isinstance(one, Callback):
            continue
        digest = hashlib.sha256(one.body).digest()
        task = ledger.found.get(owners.get(one.submission_id, ""))
        if task is None:
            await callbacks.keep_orphan(
                tx,
                id=ledger.mint("cbk"),
                provider=one.provider,
                submission_id=one.submission_id,
                digest=digest,
                raw=one.body[:RAW_KEPT],
                now=ledger.now,
                limit=ORPHANS_KEPT,
            )
            continue
        account = ledger.asked[one.submission_id]
        waits = not _trusted(one, task, ledger) and _rings(one, task, ledger)
        places.append(place)
        rows.append(
            ObservationRow(
                id=ledger.mint("obs"),
                task_id=task.id,
                submission_id=one.submission_id,
                account=account,
                source=Source.CALLBACK.value,
                claim=one.reading.claim.value,
                content=dump(one.reading),
                raw=one.body[:RAW_KEPT],
                digest=digest,
                seen_at=ledger.now,
                verified_at=None if waits else ledger.now,
            )
        )
    if not rows:
        return set()
    new = await callbacks.insert_pushes(tx, rows)
    return {place for place, row in zip(places, rows, strict=True) if row.id in new}


def push(one: Callback, task: Task | None, new: bool, ledger: Ledger, taken: Mapping[tuple[str, str], str]) -> Recorded:
    """A push either decides (the account trusts it) or rings: the account's lane then asks the provider."""
    if task is None:
        return Recorded(outcome=Outcome.IGNORED)
    if not new:
        return Recorded(outcome=Outcome.IGNORED, task=task)
    if not _trusted(one, task, ledger):
        if not _rings(one, task, ledger):
            return Recorded(outcome=Outcome.IGNORED, task=task)
        ledger.arrive(LaneKind.ACCOUNT, ledger.asked[one.submission_id], ledger.now)
        return Recorded(outcome=Outcome.SCHEDULED, task=task)
    observation = Observation(
        task_id=task.id,
        source=Source.CALLBACK,
        reading=one.reading,
        at=ledger.now,
        submission_id=one.submission_id,
    )
    return fold(observation, ledger, taken)


def _rings(one: Callback, task: Task, ledger: Ledger) -> bool:
    """Whether a push is worth a query. One of an account that refused the task is: it may speak of a job too many."""
    return ledger.asked[one.submission_id] != task.account or lifecycle.rings(task, one.reading)


def _trusted(one: Callback, task: Task, ledger: Ledger) -> bool:
    """Token and id must match; an id we have not bound counts only if the push echoes our own id."""
    if ledger.asked[one.submission_id] != task.account:
        return False
    account = ledger.desk.accounts.get(task.account, NO_ACCOUNT)
    if not account.trust or (account.signed and not one.signed) or one.reading.claim is Claim.UNKNOWN:
        return False
    if task.provider_task_id is None:
        return one.reading.provider_task_id is not None and one.reading.external_id == task.id
    return one.reading.provider_task_id == task.provider_task_id
