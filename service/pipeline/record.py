"""Step 3 of the flow: fold many observations into their tasks. One transaction; task, timeline, events and deliveries or nothing.

This is the only writer of task state. Submit replies, callbacks, polls, look-ups and deadlines all end here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from service.core import events, ids, lifecycle
from service.core.lifecycle import Outcome, Rules, Step
from service.core.observation import Claim, Observation, Reading, Source, dump
from storage import callbacks, endpoints, lanes, outbox, tasks
from storage.database import Connection
from storage.records import (
    Delivery,
    Endpoint,
    Event,
    LaneKind,
    ObservationRow,
    Submission,
    SubmissionStatus,
    Task,
    TaskStatus,
    TimelineEntry,
    light,
)

ORPHANS_KEPT = 10_000
RAW_KEPT = 16_384  # bytes of a provider message that are kept for people
FATE = {
    Claim.ACCEPTED: SubmissionStatus.ACCEPTED,
    Claim.REFUSED: SubmissionStatus.REFUSED,
    Claim.DEFERRED: SubmissionStatus.DEFERRED,
    Claim.AMBIGUOUS: SubmissionStatus.AMBIGUOUS,
}
LaneKey = tuple[LaneKind, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRules:
    """What an account's contract and settings mean for its tasks. `trust`: a push decides by itself."""

    trust: bool
    pushes: bool
    look_up: bool
    expected_seconds: float
    settle_seconds: float
    resend: bool = False  # a lost purchase may be made once more
    signed: bool = False  # a provider signature is configured: unsigned pushes only ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What recording needs beside the database."""

    accounts: Mapping[str, AccountRules]
    public_url: str
    event_key: bytes
    output_url: Callable[[str], str]  # task id → link to its output
    clock: Callable[[], int]
    entropy: Callable[[int], bytes]
    chance: Callable[[], float]


@light(frozen=True, slots=True, kw_only=True)
class Callback:
    """A push with a good token, as the door received it. `signed`: it carries a valid provider signature."""

    provider: str
    submission_id: str
    reading: Reading
    body: bytes
    signed: bool = False


@light(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of one observation. `task` is None for a push nobody knows."""

    outcome: Outcome
    task: Task | None = None


@light(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A delivery just committed, with what sending it takes: its endpoint's lane may start without reading it back."""

    endpoint_id: str
    due: outbox.Due


@dataclass(slots=True)
class Ledger:
    """What one batch has folded so far, written at its end."""

    desk: Desk
    now: int
    found: dict[str, Task]
    asked: Mapping[str, str] = field(default_factory=dict)  # the account of each submission that pushes speak of
    stored: dict[str, Task] = field(default_factory=dict)  # as read, by id
    notes: list[TimelineEntry] = field(default_factory=list)
    kept: list[ObservationRow] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)
    fates: list[tuple[str, SubmissionStatus, Reading]] = field(default_factory=list)
    answered: list[tuple[str, str, int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    arrivals: dict[LaneKey, int] = field(default_factory=dict)
    fresh: list[Fresh] = field(default_factory=list)

    def arrive(self, kind: LaneKind, key: str, at: int) -> None:
        known = self.arrivals.get((kind, key))
        if known is None or at < known:
            self.arrivals[kind, key] = at

    def rules(self, task: Task) -> Rules:
        account = self.desk.accounts.get(task.account, NO_ACCOUNT)
        return Rules(
            now=self.now,
            jitter=self.desk.chance(),
            pushes=account.pushes,
            look_up=account.look_up,
            expected_seconds=account.expected_seconds,
            settle_seconds=account.settle_seconds,
            resend=account.resend,
            configured=account is not NO_ACCOUNT,
            usable=self.desk.accounts,
        )


# A task whose account is no longer configured can only be closed by its deadline.
NO_ACCOUNT = AccountRules(trust=False, pushes=False, look_up=False, expected_seconds=120, settle_seconds=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The result of recording: one `Recorded` per observation, which lanes have work when, and what may be sent at once."""

    recorded: tuple[Recorded, ...]
    arrivals: Mapping[LaneKey, int]
    fresh: tuple[Fresh, ...]
    unknown: tuple[str, ...] = ()  # accounts whose provider answered with words we do not know, one for each time


async def record(tx: Connection, seen: Sequence[Observation | Callback], desk: Desk) -> Batch:
    """Fold a batch in order. Raises `Stale` when another writer was first; the unit then runs again."""
    made = await _attribute(tx, seen)
    owners = {submission: task_id for submission, (task_id, _) in made.items()}
    wanted = {owners.get(one.submission_id, "") if isinstance(one, Callback) else one.task_id for one in seen}
    now = desk.clock()
    ledger = Ledger(desk=desk, now=now, found=await tasks.lock(tx, wanted - {""}))
    ledger.asked = {submission: account for submission, (_, account) in made.items()}
    ledger.stored = dict(ledger.found)
    taken = await _taken(tx, seen, owners, ledger)
    new_pushes = await _keep_pushes(tx, seen, owners, ledger)
    recorded = tuple(
        _push(one, ledger.found.get(owners.get(one.submission_id, "")), place in new_pushes, ledger, taken)
        if isinstance(one, Callback)
        else _fold(one, ledger, taken)
        for place, one in enumerate(seen)
    )
    await _write(tx, ledger)
    unknown = tuple(
        step.task.account for step in ledger.steps for note in step.notes if note.kind == "unknown_vocabulary"
    )
    return Batch(recorded=recorded, arrivals=ledger.arrivals, fresh=tuple(ledger.fresh), unknown=unknown)


async def _attribute(tx: Connection, seen: Sequence[Observation | Callback]) -> dict[str, tuple[str, str]]:
    submission_ids = [one.submission_id for one in seen if isinstance(one, Callback)]
    return await tasks.by_submissions(tx, submission_ids) if submission_ids else {}


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


async def _keep_pushes(
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
                id=_mint("cbk", ledger),
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
                id=_mint("obs", ledger),
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


def _push(
    one: Callback, task: Task | None, new: bool, ledger: Ledger, taken: Mapping[tuple[str, str], str]
) -> Recorded:
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
    return _fold(observation, ledger, taken)


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


def _fold(seen: Observation, ledger: Ledger, taken: Mapping[tuple[str, str], str]) -> Recorded:
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


async def _write(tx: Connection, ledger: Ledger) -> None:
    changed = [
        (ledger.found[task_id], before)
        for task_id, before in ledger.stored.items()
        if ledger.found[task_id] is not before
    ]
    if changed:
        await tasks.save(tx, changed)
    if ledger.submissions:
        await tasks.insert_submissions(tx, ledger.submissions)
    for submission_id, status, reading in ledger.fates:
        await tasks.settle_submission(
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
    await _publish(tx, ledger)
    if ledger.arrivals:
        await lanes.arrive(tx, ledger.arrivals)


async def _publish(tx: Connection, ledger: Ledger) -> None:
    """Render each event once, and owe it to every endpoint that wants it."""
    made = [_event(draft, ledger) for step in ledger.steps for draft in step.drafts]
    if any(step.outcome is Outcome.CONFLICT for step in ledger.steps):
        made = list({event.id: (event, task) for event, task in reversed(made)}.values())[::-1]
        told = await outbox.existing(tx, [event.id for event, _ in made])  # the same contradiction is told once
        made = [(event, task) for event, task in made if event.id not in told]
    if not made:
        return
    wanting = await endpoints.of_projects(tx, {event.project_id for event, _ in made})
    owed: list[Delivery] = []
    places: Counter[str] = Counter()
    for event, task in made:
        for endpoint_id, url in _subscribers(event, task, wanting):
            # An endpoint's deliveries of one commit are due a microsecond apart, so they start in the order of their events;
            # the next commit is far later than that.
            due_at = ledger.now + places[endpoint_id]
            places[endpoint_id] += 1
            delivery = Delivery(
                id=_mint("dlv", ledger),
                event_id=event.id,
                endpoint_id=endpoint_id,
                project_id=event.project_id,
                task_id=event.task_id,
                event_type=event.type,
                url=url,
                due_at=due_at,
                created_at=ledger.now,
                updated_at=ledger.now,
            )
            owed.append(delivery)
            ledger.arrive(LaneKind.ENDPOINT, endpoint_id, ledger.now)
            ledger.fresh.append(
                Fresh(
                    endpoint_id=endpoint_id,
                    due=outbox.Due(delivery.id, event.id, event.type, 0, url, ledger.now, event.body),
                )
            )
    await outbox.publish(tx, [event for event, _ in made], owed)


def _subscribers(event: Event, task: Task, wanting: Sequence[Endpoint]) -> Iterator[tuple[str, str | None]]:
    for endpoint in wanting:
        if endpoint.project_id == event.project_id and events.wants(endpoint.events, event.type):
            yield endpoint.id, None
    if task.webhook_endpoint_id is not None and events.wants(task.webhook_events, event.type):
        yield task.webhook_endpoint_id, task.webhook_url


def _event(draft: lifecycle.Draft, ledger: Ledger) -> tuple[Event, Task]:
    task = draft.task
    assert task is not None
    desk = ledger.desk
    event_id = events.event_id(desk.event_key, task.id, draft.type, draft.discriminator)
    view = events.task_view(
        task, public_url=desk.public_url, output_url=desk.output_url(task.id) if task.outputs else None
    )
    event = Event(
        id=event_id,
        project_id=task.project_id,
        task_id=task.id,
        provider=task.provider,
        model=task.model,
        type=draft.type.value,
        sequence=task.sequence,
        created_at=ledger.now,
        body=events.render_task_event(event_id, draft.type, ledger.now, view),
        hard=draft.hard,
    )
    return event, task


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
        id=_mint("obs", ledger),
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


def _mint(prefix: str, ledger: Ledger) -> str:
    return ids.mint(prefix, ledger.now, ledger.desk.entropy(10))
