"""The audit's first half: every event is held against who wanted it when it was told, and each debt must have an end or a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from service.core import events, filters
from service.core.events import ENDS
from service.pipeline.audit_part import Part
from storage import stocktake, subscriptions
from storage.database import Connection
from storage.records import DeliveryStatus
from storage.stocktake import Owed, Told
from storage.subscriptions import Span

BATCH = 500
PAIRS_A_ROW = 40
PAIRS = 20_000  # of an event and a subscription, in one page, whatever a project has
SENT_NOTHING = ("disabled", "deleted", None)

Debts = dict[tuple[str, str], Owed]


async def page(tx: Connection, project_id: str, *, after: int) -> tuple[Part, int, int]:
    """The events behind a place in the feed. Returns what came of them, what it cost in rows, and the last one's place."""
    told = await stocktake.told(tx, project_id, after=after, batch=BATCH)
    if not told:
        return Part(), 0, after
    spans = await subscriptions.between(tx, project_id, after=after, upto=told[-1].position)
    told = told[: max(1, PAIRS // max(len(spans), 1))]
    owed = await stocktake.owed(tx, [one.id for one in told])
    # Five thousand events are one thing with three subscribers and another with a thousand.
    return judge(told, spans, owed), max(len(told), len(told) * len(spans) // PAIRS_A_ROW), told[-1].position


def judge(told: Sequence[Told], spans: Sequence[Span], owed: Sequence[Owed]) -> Part:
    """Whether everybody who wanted these events is owed them, and what became of it."""
    part = Part()
    debts: Debts = {(one.event_id, one.endpoint_id): one for one in owed}
    for event in told:
        part.counts["events"] += 1
        part.counts["ends"] += event.type in ENDS
        if event.task_id is not None and not event.task_is_there:
            text = f"{event.type} tells of {event.task_id}, and there is no such task"
            part.accuse("event_without_task", text, event=event.id, task=event.task_id)
        for endpoint_id in _wanting(event, spans, part):
            _settled(event, endpoint_id, debts, part)
    part.counts["besides"] += len(debts)  # replayed to somebody who was not there then
    for one in owed:
        _in_order(one, part)
    return part


def _wanting(event: Told, spans: Sequence[Span], part: Part) -> list[str]:
    found: list[str] = []
    for span in spans:
        wanted = wants(span, event)
        if wanted is None:
            text = f"{span.endpoint_id} filters by metadata, and that of {event.task_id} is not there any more"
            part.doubt("metadata_gone", text, event=event.id, endpoint=span.endpoint_id)
        elif wanted:
            found.append(span.endpoint_id)
    if event.webhook_endpoint_id is not None and events.wants(event.webhook_events, event.type):
        found.append(event.webhook_endpoint_id)
    return found


def wants(span: Span, event: Told) -> bool | None:
    """Whether the endpoint was to be owed the event. None: that cannot be said any more."""
    if not span.holds(event.position) or not events.wants(span.events, event.type):
        return False
    if span.expires_at is not None and event.created_at >= span.expires_at:
        return False
    if event.task_id is None:
        return not _about(event, span.endpoint_id)
    if span.filter is None:
        return True
    filter = filters.load(span.filter)
    if filter.metadata and event.metadata is None:
        return None
    return filter.admits(event.provider, event.model, event.metadata)


def _about(event: Told, endpoint_id: str) -> bool:
    """An endpoint is never told of itself: it may be broken."""
    if not event.type.startswith("endpoint.") or event.body is None:
        return False
    told: Mapping[str, Mapping[str, object]] = orjson.loads(event.body)
    return told["data"].get("id") == endpoint_id


def _settled(event: Told, endpoint_id: str, debts: Debts, part: Part) -> None:
    part.counts["owed"] += 1
    debt = debts.pop((event.id, endpoint_id), None)
    if debt is not None:
        part.counts[debt.status] += 1
        return
    part.counts["missing"] += 1
    text = f"{event.type} was wanted by {endpoint_id} and is not owed to it"
    about = {"task": event.task_id} if event.task_id is not None else {}
    part.accuse("delivery_missing", text, event=event.id, endpoint=endpoint_id, **about)


def _in_order(debt: Owed, part: Part) -> None:
    """What is pending has a time, and somebody to whom it will be sent."""
    if debt.status != DeliveryStatus.PENDING:
        return
    names = {"delivery": debt.id, "event": debt.event_id, "endpoint": debt.endpoint_id}
    if debt.due_at is None:
        part.accuse("delivery_without_time", f"{debt.id} is pending without a time", **names)
        return
    if debt.endpoint_status in SENT_NOTHING:
        gone = debt.endpoint_status or "not there"
        part.accuse("delivery_stranded", f"{debt.id} is pending, and its endpoint is {gone}", **names)
        return
    part.waits_until(debt.due_at)
