"""Sending again by hand: one delivery, what an endpoint gave up, what it was never owed; and a sample, to see whether it listens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import orjson

from service.core import events, filters, ids, samples
from service.core.events import EventType
from service.core.times import MINUTE, SECOND
from service.pipeline import audit_trail
from service.pipeline.audit_trail import Act
from service.pipeline.ledger import Fresh, Ledger
from service.pipeline.orders import sendable
from service.pipeline.recorder import Recorder, Recording
from storage import endpoints, listings, outbox, replays
from storage.database import Connection, Database
from storage.records import Delivery, Endpoint, EndpointStatus, Event, LaneKind
from storage.replays import Past

Also = Callable[[Connection, Delivery], Awaitable[None]]

BATCH = 500
MOST_OWED = 10_000  # by one request
MOST_LOOKED_AT = 200_000  # events, by one request
TEST_EVERY_SECONDS = 6  # else it would be a port scanner


class Inactive(Exception):
    """The endpoint is not being sent to. The text says what to do."""


class TooSoon(Exception):
    """It was tested a moment ago. `seconds`: until it may be tested again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"an endpoint is tested once in {TEST_EVERY_SECONDS} seconds")
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How many deliveries were made due, and from where to go on: None when nothing is left."""

    count: int
    next_since: int | None = None


def refuse_inactive(endpoint: Endpoint | None, now: int, *, paused: bool = True) -> Endpoint:
    """The endpoint, if deliveries may be owed to it. `paused`: also to one that is."""
    if endpoint is None:
        raise Inactive("The endpoint is gone.")
    if endpoint.expires_at is not None and endpoint.expires_at <= now:
        raise Inactive("Its lease has ended. PATCH expires_at, then POST …/resume.")
    if endpoint.status is EndpointStatus.DISABLED or (endpoint.status is EndpointStatus.PAUSED and not paused):
        raise Inactive(f"The endpoint is {endpoint.status}. POST /v1/endpoints/{endpoint.id}/resume first.")
    return endpoint


async def nothing_else(tx: Connection, delivery: Delivery) -> None:
    """What is stored besides, by default."""


async def retry(
    recorder: Recording, delivery_id: str, project_id: str, act: Act, *, also: Also = nothing_else
) -> Delivery | None:
    """Make one delivery due now, whatever became of it, with a new schedule. Raises `Inactive`. `also`: stored together with it."""

    async def unit(tx: Connection, ledger: Ledger) -> Delivery | None:
        found = await listings.delivery(tx, delivery_id, project_id)
        if found is None:
            return None
        refuse_inactive(await endpoints.lock_owed(tx, found.endpoint_id, project_id), ledger.now)
        if await outbox.restart(tx, delivery_id, project_id, now=ledger.now) is None:
            if await listings.delivery(tx, delivery_id, project_id) is None:
                return None  # retention took it in this very moment
            raise Inactive(f"It was a test. POST /v1/endpoints/{found.endpoint_id}/test makes another.")
        await audit_trail.note(
            tx,
            replace(act, detail={**act.detail, "delivery": delivery_id}),
            project_id=project_id,
            now=ledger.now,
            mint=ledger.mint,
            task_id=found.task_id,
            endpoint_id=found.endpoint_id,
        )
        ledger.arrive(LaneKind.ENDPOINT, found.endpoint_id, ledger.now)
        again = await listings.delivery(tx, delivery_id, project_id)
        if again is not None:
            await also(tx, again)
        return again

    return await recorder.write(unit)


async def replay_failed(recorder: Recorder, endpoint: Endpoint, since: int) -> Replayed:
    """Make due again what was given up: exhausted, canceled or quarantined. Raises `Inactive`, then and midway."""
    count, floor = 0, ids.floor(ids.DELIVERY, since - MINUTE)  # an id may be a moment older than its row says
    while count < MOST_OWED:

        async def unit(tx: Connection, ledger: Ledger) -> int:
            refuse_inactive(await endpoints.lock_owed(tx, endpoint.id, endpoint.project_id), ledger.now)
            made = await replays.restart_failed(
                tx, endpoint.id, endpoint.project_id, since=since, floor=floor, now=ledger.now, batch=BATCH
            )
            if made:
                ledger.arrive(LaneKind.ENDPOINT, endpoint.id, ledger.now)
            return made

        made = await recorder.write(unit)
        count += made
        if made < BATCH:
            return Replayed(count=count)
    return Replayed(count=count, next_since=since)  # what was made due is not found again


async def replay_missing(recorder: Recorder, database: Database, endpoint: Endpoint, since: int) -> Replayed:
    """Owe the endpoint every event since then that it wants and was never owed, oldest first. Raises `Inactive`, then and midway."""
    after = await database.read(lambda tx: replays.before(tx, endpoint.project_id, since))
    count = looked_at = 0
    while count < MOST_OWED and looked_at < MOST_LOOKED_AT:
        start = after
        past = await database.read(
            lambda tx, start=start: replays.window(tx, endpoint.project_id, endpoint.id, after=start, batch=BATCH)  # type: ignore[misc]
        )
        missing = [one for one in past if not one.owed and one.created_at >= since and wants(endpoint, one)]
        if missing:
            count += await _owe(recorder, endpoint, missing)
        if len(past) < BATCH:
            return Replayed(count=count)
        after, looked_at = past[-1].position, looked_at + len(past)
    return Replayed(count=count, next_since=past[-1].created_at)


async def _owe(recorder: Recorder, endpoint: Endpoint, missing: list[Past]) -> int:
    async def unit(tx: Connection, ledger: Ledger) -> int:
        # It may have been deleted or disabled since it was read: nobody would send or cancel what it is owed from then on.
        refuse_inactive(await endpoints.lock_owed(tx, endpoint.id, endpoint.project_id), ledger.now)
        made = [
            Delivery(
                id=ledger.mint("dlv"),
                event_id=one.id,
                endpoint_id=endpoint.id,
                project_id=endpoint.project_id,
                task_id=one.task_id,
                event_type=one.type,
                due_at=ledger.now + place,  # in the order of their events
                created_at=ledger.now,
                updated_at=ledger.now,
            )
            for place, one in enumerate(missing)
        ]
        ledger.arrive(LaneKind.ENDPOINT, endpoint.id, ledger.now)
        return await replays.owe(tx, made)

    return await recorder.write(unit)


def wants(endpoint: Endpoint, past: Past) -> bool:
    """Whether the endpoint would have been owed this event, had it been there."""
    if past.test or not events.wants(endpoint.events, past.type):
        return False
    if past.task_id is None:
        return not past.type.startswith("endpoint.") or orjson.loads(past.body)["data"].get("id") != endpoint.id
    if endpoint.filter is None:
        return True
    filter = filters.load(endpoint.filter)
    metadata = orjson.loads(past.body)["data"].get("metadata", {}) if filter.metadata else {}
    return filter.admits(past.provider, past.model, orjson.dumps(metadata).decode())


async def send_sample(
    recorder: Recording,
    endpoint_id: str,
    project_id: str,
    type: EventType = EventType.TASK_SUCCEEDED,
    *,
    also: Also = nothing_else,
) -> Delivery | None:
    """Send a signed sample on the way that every event goes. Raises `Inactive` or `TooSoon`. `also`: stored together with it."""

    async def unit(tx: Connection, ledger: Ledger) -> Delivery | None:
        endpoint, now = await endpoints.lock(tx, endpoint_id, project_id), ledger.now
        if endpoint is None:
            return None
        refuse_inactive(endpoint, now, paused=False)
        assert sendable(endpoint, now)
        wait = (endpoint.tested_at or 0) + TEST_EVERY_SECONDS * SECOND - now
        if 0 < wait <= TEST_EVERY_SECONDS * SECOND:
            raise TooSoon(-(-wait // SECOND))
        await endpoints.save(tx, replace(endpoint, tested_at=now))
        event, delivery = _sample(endpoint, ledger, type)
        await outbox.publish(tx, [event], [delivery])
        ledger.arrive(LaneKind.ENDPOINT, endpoint_id, now)
        due = outbox.Due(delivery.id, event.id, event.type, 0, None, now, event.body, 0, True)
        ledger.fresh.append(Fresh(endpoint_id=endpoint_id, due=due))
        await also(tx, delivery)
        return delivery

    return await recorder.write(unit)


def _sample(endpoint: Endpoint, ledger: Ledger, type: EventType) -> tuple[Event, Delivery]:
    now = ledger.now
    event_id = events.event_id(ledger.desk.event_key, endpoint.id, type, f"test {now}")
    event = Event(
        id=event_id,
        project_id=endpoint.project_id,
        task_id=None,
        provider=None,
        model=None,
        type=type.value,
        sequence=0,
        created_at=now,
        body=samples.sample(type, id=event_id, now=now, public_url=ledger.desk.public_url),
        test=True,
    )
    delivery = Delivery(
        id=ledger.mint("dlv"),
        event_id=event_id,
        endpoint_id=endpoint.id,
        project_id=endpoint.project_id,
        task_id=None,
        event_type=type.value,
        due_at=now,
        created_at=now,
        updated_at=now,
    )
    return event, delivery
