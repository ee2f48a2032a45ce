"""Step 3 of the flow: fold many observations into their tasks. One transaction; task, timeline, events and deliveries or nothing.

This is the only writer of task state. Submit replies, callbacks, polls, look-ups and deadlines all end here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from service.core.ids import task_of
from service.core.lifecycle import Outcome
from service.core.observation import Observation
from service.pipeline import books, fences
from service.pipeline.fold import hear
from service.pipeline.ledger import Batch, Callback, Desk, Ledger, Recorded
from service.pipeline.publish import publish
from service.pipeline.pushes import correct, keep_pushes, push
from service.telemetry import failpoints
from storage import audit, callbacks, lanes, submissions, tasks
from storage import books as book_rows
from storage.database import Connection


async def record(tx: Connection, seen: Sequence[Observation | Callback], desk: Desk) -> Batch:
    """Fold a batch in order. Raises `Stale` when another writer was first; the unit then runs again."""
    made = await _attribute(tx, seen)
    owners = {submission: task_id for submission, (task_id, _) in made.items()}
    wanted = {owners.get(one.submission_id, "") if isinstance(one, Callback) else one.task_id for one in seen}
    found = await tasks.lock_in_turn(tx, wanted - {""})
    # Not before: whoever had to wait for another replica comes after it, in time as in the history.
    ledger = Ledger(desk=desk, now=desk.clock(), found=found)
    ledger.asked = {submission: account for submission, (_, account) in made.items()}
    ledger.stored = dict(ledger.found)
    taken = await _taken(tx, seen, owners, ledger)
    void = await fences.void(tx, seen)
    recorded = _fold_all(seen, owners, ledger, taken, void)
    repeated = await keep_pushes(tx, ledger)
    if any(ledger.pushed[place].version is not None or ledger.pushed[place].verified_at is None for place in repeated):
        # Some were stored before and did not count: rare, so it costs a second fold then and no look before each.
        first, ledger = ledger, ledger.afresh()
        recorded = _fold_all(seen, owners, ledger, taken, void, repeated)
        await correct(tx, first, ledger)
    await _write(tx, ledger)
    failpoints.reach("before_record_commit")
    unknown = tuple(
        step.task.account for step in ledger.steps for note in step.notes if note.kind == "unknown_vocabulary"
    )
    return Batch(
        recorded=recorded,
        arrivals=ledger.arrivals,
        fresh=tuple(ledger.fresh),
        happened=tuple(ledger.happened),
        unknown=unknown,
        orphans=tuple(ledger.orphans),
    )


def _fold_all(
    seen: Sequence[Observation | Callback],
    owners: Mapping[str, str],
    ledger: Ledger,
    taken: Mapping[tuple[str, str], str],
    void: Collection[int],
    repeated: Collection[int] = (),
) -> tuple[Recorded, ...]:
    """Each in its turn. `void`: places of what counts no more; `repeated`: of pushes that were stored before."""
    return tuple(
        push(place, one, ledger.found.get(owners.get(one.submission_id, "")), ledger, taken, repeated)
        if isinstance(one, Callback)
        else hear(one, ledger, taken)
        if place not in void
        else Recorded(outcome=Outcome.IGNORED, task=ledger.found.get(one.task_id), void=True)
        for place, one in enumerate(seen)
    )


async def _attribute(tx: Connection, seen: Sequence[Observation | Callback]) -> dict[str, tuple[str, str]]:
    """Submission → its task and account, of those that pushes are about."""
    pushed = {one.submission_id: one.provider for one in seen if isinstance(one, Callback)}
    if not pushed:
        return {}
    made = await tasks.by_submissions(tx, pushed)
    if len(made) < len(pushed):
        made |= await _named(tx, {one: provider for one, provider in pushed.items() if one not in made})
    return made


async def _named(tx: Connection, pushed: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Submissions that an older copy of the database does not know, and whose names say of which of its tasks they are."""
    named = {one: task_id for one in pushed if (task_id := task_of(one)) is not None}
    found = await tasks.read(tx, named.values()) if named else {}
    return {
        one: (task_id, found[task_id].account)
        for one, task_id in named.items()
        if task_id in found and found[task_id].provider == pushed[one]
    }


async def _taken(
    tx: Connection, seen: Sequence[Observation | Callback], owners: Mapping[str, str], ledger: Ledger
) -> dict[tuple[str, str], str]:
    """Which provider ids that this batch may bind belong to a task already."""
    unbound: list[tuple[str, str]] = []
    for one in seen:
        task_id = owners.get(one.submission_id, "") if isinstance(one, Callback) else one.task_id
        task = ledger.found.get(task_id)
        if task is not None and task.provider_task_id is None and one.reading.provider_task_id is not None:
            unbound.append((task.account, one.reading.provider_task_id))
    return await tasks.bound(tx, unbound) if unbound else {}


async def _write(tx: Connection, ledger: Ledger) -> None:
    changed = [
        (ledger.found[task_id], before)
        for task_id, before in ledger.stored.items()
        if ledger.found[task_id] is not before
    ]
    if changed:
        changed, moves = books.rebooked(changed)
        await tasks.save(tx, changed)
        if moves:
            await book_rows.note(tx, moves)
    if ledger.submissions:
        await submissions.insert(tx, ledger.submissions)
    for submission_id, status, reading in ledger.fates:
        await submissions.settle(
            tx,
            submission_id,
            status,
            now=ledger.now,
            provider_task_id=reading.provider_task_id,
            detail=reading.detail,
        )
    if ledger.kept:
        await callbacks.insert(tx, ledger.kept)
    if ledger.answered:
        await callbacks.answer(tx, ledger.answered, now=ledger.now)
    if ledger.notes:
        await callbacks.note(tx, ledger.notes)
    if ledger.audited:
        await audit.insert(tx, ledger.audited)
    await publish(tx, ledger)
    if ledger.arrivals:
        await lanes.arrive(tx, ledger.arrivals)
