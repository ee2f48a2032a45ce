"""What happens to an account, told to every project that asked for it; and the one place where its lane's health is stored.

Accounts belong to the installation. A project hears of them once one of its endpoints names a type such as `account.*`;
nobody else does, also not an endpoint of another project that takes everything.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from service.core import events
from service.core.care import Care, care_of, holds_of, pauses
from service.core.events import EventType
from service.pipeline.accounts import AccountDesk
from service.pipeline.health import Health
from service.pipeline.ledger import Ledger
from service.pipeline.publish import owe
from storage import endpoints, lanes, outbox
from storage.database import Connection
from storage.records import Event, Lane, LaneKind

log = logging.getLogger("taskrelay.account")

PROJECTS_TOLD = 1000  # at most, by their ids: one order must not write without bound


async def keep_health(tx: Connection, ledger: Ledger, account: AccountDesk, lane: Lane, health: Health) -> Lane | None:
    """Store what an owner has learned of its account, and tell what that changes. None: the lane is somebody else's by now."""
    stored = await lanes.lock(tx, LaneKind.ACCOUNT, lane.key)
    if stored is None or (stored.owner, stored.epoch) != (lane.owner, lane.epoch):
        return None
    kept = health.kept(stored)
    await lanes.save_health(tx, kept)
    await tell_change(tx, ledger, account, stored, kept)
    return kept


async def pause(tx: Connection, ledger: Ledger, account: AccountDesk) -> bool:
    """A person stops the account's purchases. Returns whether that is new."""
    lane = await lanes.lock_made(tx, LaneKind.ACCOUNT, account.account.name)
    care = care_of(lane)
    if care.paused_at is not None:
        return False
    await _order(tx, ledger, account, lane, replace(care, paused_at=ledger.now))
    return True


async def resume(tx: Connection, ledger: Ledger, account: AccountDesk) -> bool:
    """A person says that the account is in order: lifts a person's pause and one for a refused key or balance.

    Returns whether there was one.
    """
    lane = await lanes.lock_made(tx, LaneKind.ACCOUNT, account.account.name)
    if not pauses(lane):
        return False
    holds = holds_of(lane)
    # Behind what was refused in this very instant.
    at = max(ledger.now, holds.submits.since + 1, holds.queries.since + 1)
    await _order(tx, ledger, account, lane, replace(care_of(lane), paused_at=None, resumed_at=at))
    return True


async def note_silence(tx: Connection, ledger: Ledger, account: AccountDesk, *, silent: bool, ends: int) -> bool:
    """Keep whether the account's pushes are missing, and tell it when they go missing. Returns whether that is new."""
    lane = await lanes.lock_made(tx, LaneKind.ACCOUNT, account.account.name)
    care = care_of(lane)
    if silent is (care.silent_since is not None):
        return False
    care = replace(care, silent_since=ledger.now if silent else None)
    await lanes.order(tx, lane.key, care=care.dump(), holds=lane.holds)
    if silent:
        told = {"ends_without_push": ends}
        await _tell(
            tx,
            ledger,
            account,
            replace(lane, care=care.dump()),
            EventType.ACCOUNT_CALLBACKS_MISSING,
            f"{ledger.now}",
            told,
        )
    else:
        log.warning("account %s: its pushes arrive again", lane.key)
    return True


async def tell_change(tx: Connection, ledger: Ledger, account: AccountDesk, before: Lane, after: Lane) -> None:
    """Tell each cause for which nothing is bought any more, and that the last of them is over."""
    was, now = pauses(before), pauses(after)
    for cause in sorted(now.keys() - was.keys()):
        fact = f"{cause} {now[cause].since}"
        await _tell(tx, ledger, account, after, EventType.ACCOUNT_PAUSED, fact, {"cause": cause})
    if was and not now:
        causes = sorted(was)
        await _tell(tx, ledger, account, after, EventType.ACCOUNT_RESUMED, f"{ledger.now}", {"cause": causes[0]})


async def _order(tx: Connection, ledger: Ledger, account: AccountDesk, before: Lane, care: Care) -> None:
    after = replace(before, care=care.dump())
    after = replace(after, holds=holds_of(after).dump())
    await lanes.order(tx, after.key, care=after.care, holds=after.holds)
    ledger.arrive(LaneKind.ACCOUNT, after.key, ledger.now)  # its owner looks at once; without one somebody claims it
    await tell_change(tx, ledger, account, before, after)


async def _tell(
    tx: Connection,
    ledger: Ledger,
    account: AccountDesk,
    lane: Lane,
    type: EventType,
    discriminator: str,
    told: Mapping[str, object],
) -> None:
    """Publish one fact about an account, once to each project that named such events."""
    name = account.account.name
    view = events.account_view(
        name,
        account.provider.name,
        pauses=pauses(lane),
        silent_since=care_of(lane).silent_since,
        public_url=ledger.desk.public_url,
    )
    projects = await endpoints.naming_accounts(tx, now=ledger.now, batch=PROJECTS_TOLD)
    log.warning("account %s: %s (%s), told to %d projects", name, type, discriminator, len(projects))
    ids = {one: events.event_id(ledger.desk.event_key, one, type, f"{name}\0{discriminator}") for one in projects}
    known = await outbox.existing(tx, list(ids.values())) if ids else ()
    made = [
        Event(
            id=event_id,
            project_id=project_id,
            task_id=None,
            provider=account.provider.name,
            model=None,
            type=type.value,
            sequence=0,
            created_at=ledger.now,
            body=events.render_event(event_id, type, ledger.now, {**view, **told}),
        )
        for project_id, event_id in ids.items()
        if event_id not in known
    ]
    if made:
        await owe(tx, ledger, [(event, None) for event in made])
        ledger.told.update(event.project_id for event in made)
