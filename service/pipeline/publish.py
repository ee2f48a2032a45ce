"""The events of a batch: each rendered once, and owed to every endpoint that wants it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from service.core import events, filters
from service.core.lifecycle import Draft, Outcome
from service.pipeline.ledger import Fresh, Ledger
from storage import endpoints, outbox
from storage.database import Connection
from storage.endpoints import Subscription
from storage.records import Delivery, Event, LaneKind, Task


async def publish(tx: Connection, ledger: Ledger) -> None:
    """Render each event once, and owe it to every endpoint that wants it."""
    made: list[tuple[Event, Task | None]] = [_event(draft, ledger) for step in ledger.steps for draft in step.drafts]
    if any(step.outcome is Outcome.CONFLICT for step in ledger.steps):
        first: dict[str, tuple[Event, Task | None]] = {}
        for event, task in made:
            first.setdefault(event.id, (event, task))
        made = list(first.values())
        told = await outbox.existing(tx, [event.id for event, _ in made])  # the same contradiction is told once
        made = [(event, task) for event, task in made if event.id not in told]
    if not made:
        return
    await owe(tx, ledger, made)


async def owe(
    tx: Connection, ledger: Ledger, made: Sequence[tuple[Event, Task | None]], *, besides: str | None = None
) -> None:
    """Store events, and owe each to every endpoint that wants it, `besides` one."""
    wanting = await endpoints.wanting(tx, {event.project_id for event, _ in made}, now=ledger.now)
    if besides is not None:
        wanting = [one for one in wanting if one.id != besides]
    owed: list[Delivery] = []
    places: Counter[str] = Counter()
    for event, task in made:
        for endpoint_id, url in _subscribers(event, task, wanting):
            # An endpoint's deliveries of one commit are due a microsecond apart, so they start in the order of their events;
            # the next commit is far later than that.
            due_at = ledger.now + places[endpoint_id]
            places[endpoint_id] += 1
            delivery = Delivery(
                id=ledger.mint("dlv"),
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
                    due=outbox.Due(
                        delivery.id,
                        event.id,
                        event.type,
                        0,
                        url,
                        ledger.now,
                        event.body,
                        traceparent=event.traceparent,
                        heard_at=ledger.heard.get(event.task_id) if event.task_id is not None else None,
                    ),
                )
            )
    await outbox.publish(tx, [event for event, _ in made], owed)


def _subscribers(event: Event, task: Task | None, wanting: Sequence[Subscription]) -> Iterator[tuple[str, str | None]]:
    for one in wanting:
        if (
            one.project_id == event.project_id
            and events.wants(one.events, event.type)
            and (one.filter is None or task is None or _passes(one.filter, task))
        ):
            yield one.id, None
    if task is not None and task.webhook_endpoint_id is not None and events.wants(task.webhook_events, event.type):
        yield task.webhook_endpoint_id, task.webhook_url


def _passes(filter: str, task: Task) -> bool:
    return filters.load(filter).admits(task.provider, task.model, task.metadata)


def _event(draft: Draft, ledger: Ledger) -> tuple[Event, Task]:
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
        traceparent=task.traceparent,
        hard=draft.hard,
    )
    return event, task
