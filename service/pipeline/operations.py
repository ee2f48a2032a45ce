"""Operational events: what happens to an endpoint, told to the project's other endpoints and in the feed, never to itself."""

from __future__ import annotations

from dataclasses import replace

from service.core import events
from service.core.events import EventType
from service.core.times import iso
from service.pipeline import audit_trail
from service.pipeline.audit_trail import Act
from service.pipeline.ledger import Ledger
from service.pipeline.publish import owe
from storage import endpoints, outbox
from storage.database import Connection
from storage.records import Endpoint, EndpointStatus, Event

EXPIRED = "expired"  # its lease has ended


async def disable(tx: Connection, ledger: Ledger, endpoint: Endpoint, reason: str) -> bool:
    """Stop sending to an endpoint, cancel what it is owed, and say so. Returns whether it was being sent to."""
    now = ledger.now
    if not await endpoints.disable(tx, endpoint.id, reason, now=now):
        return False
    await outbox.cancel_pending(tx, endpoint.id, now=now)
    rule = Act(action="endpoint.disable", detail={"reason": reason})
    await audit_trail.note(tx, rule, project_id=endpoint.project_id, now=now, mint=ledger.mint, endpoint_id=endpoint.id)
    off = replace(endpoint, status=EndpointStatus.DISABLED, disabled_reason=reason)
    await tell(tx, ledger, off, EventType.ENDPOINT_DISABLED, f"{now}", {"since": iso(now)})
    return True


async def warn(tx: Connection, ledger: Ledger, endpoint: Endpoint, *, since: int, used: int, reason: str) -> None:
    """Say that an endpoint fails. `used`: percent of the time after which it is disabled."""
    told = {"failing_since": iso(since), "patience_used": used, "reason": reason}
    await tell(tx, ledger, endpoint, EventType.ENDPOINT_FAILING, f"{since} {used}", told)


async def tell(
    tx: Connection, ledger: Ledger, endpoint: Endpoint, type: EventType, discriminator: str, told: dict[str, object]
) -> None:
    """Publish one fact about an endpoint, once."""
    event_id = events.event_id(ledger.desk.event_key, endpoint.id, type, discriminator)
    if await outbox.existing(tx, [event_id]):
        return
    view = {**events.endpoint_view(endpoint, public_url=ledger.desk.public_url), **told}
    event = Event(
        id=event_id,
        project_id=endpoint.project_id,
        task_id=None,
        provider=None,
        model=None,
        type=type.value,
        sequence=0,
        created_at=ledger.now,
        body=events.render_event(event_id, type, ledger.now, view),
    )
    await owe(tx, ledger, [(event, None)], besides=endpoint.id)
    ledger.told.add(endpoint.project_id)
