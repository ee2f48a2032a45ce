"""Pushes in a batch: each is kept as received, once; then it decides, where the account trusts it, or rings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace

from service.core import lifecycle
from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Source
from service.pipeline.fold import Folded, fold, row_of
from service.pipeline.ledger import NO_ACCOUNT, RAW_KEPT, Callback, Ledger, Recorded
from storage import callbacks
from storage.database import Connection
from storage.records import LaneKind, Task

ORPHANS_KEPT = 10_000


async def keep_pushes(tx: Connection, ledger: Ledger) -> frozenset[int]:
    """Store every push as received, with what was made of it; returns the places of those that had been stored before."""
    for one, digest in ledger.unowned:
        orphan = callbacks.Orphan(
            id=ledger.mint("cbk"),
            provider=one.provider,
            submission_id=one.submission_id,
            raw=one.body[:RAW_KEPT],
            received_at=ledger.now,
        )
        became = await callbacks.keep_orphan(tx, orphan, digest, limit=ORPHANS_KEPT)
        ledger.orphans.append((one.provider, one.submission_id, became))
    if not ledger.pushed:
        return frozenset()
    new = await callbacks.insert_pushes(tx, list(ledger.pushed.values()))
    return frozenset(place for place, row in ledger.pushed.items() if row.id not in new)


async def correct(tx: Connection, first: Ledger, again: Ledger) -> None:
    """Of pushes stored as `first` saw them, write what `again` made of them instead."""
    changed = []
    for place, row in again.pushed.items():
        stored = first.pushed[place]
        if (row.version, row.context, row.verified_at) != (stored.version, stored.context, stored.verified_at):
            changed.append(replace(row, id=stored.id))
    if changed:
        await callbacks.renumber(tx, changed)


def push(
    place: int,
    one: Callback,
    task: Task | None,
    ledger: Ledger,
    taken: Mapping[tuple[str, str], str],
    repeated: Collection[int],
) -> Recorded:
    """A push either decides (the account trusts it) or rings: the account's lane then asks the provider. Once, whatever its copies say."""
    digest = hashlib.sha256(one.body).digest()
    if task is None:
        ledger.unowned.append((one, digest))
        return Recorded(outcome=Outcome.IGNORED)
    if place in repeated:
        return Recorded(outcome=Outcome.IGNORED, task=task)
    account = ledger.asked[one.submission_id]
    seen = Observation(
        task_id=task.id,
        source=Source.CALLBACK,
        reading=one.reading,
        at=ledger.now,
        submission_id=one.submission_id,
        heard_at=one.at,
    )
    rung = False
    if _trusted(one, task, ledger):
        folded = fold(seen, task, ledger, taken)
    else:
        rung = _rings(one, task, ledger)
        folded = Folded(recorded=Recorded(outcome=Outcome.SCHEDULED if rung else Outcome.IGNORED, task=task))
    if rung:
        ledger.arrive(LaneKind.ACCOUNT, account, ledger.now)
    verified_at = None if rung else ledger.now
    ledger.pushed[place] = row_of(seen, account, ledger, folded, raw=one.body, digest=digest, verified_at=verified_at)
    return folded.recorded


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
