"""What the database says of the parties outside: endpoints that are not well, accounts that buy nothing or hear nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from service.cli.doctor.finding import Finding, note, wrong

if TYPE_CHECKING:
    from service.settings import Settings
    from storage.database import Database
    from storage.endpoints import Ailing

NAMED = 20  # endpoints, before the rest is only counted
MOST = 1_000
SOON_DAYS = 7


async def endpoints_in(database: Database, now: int) -> list[Finding]:
    """Each endpoint that needs somebody."""
    from service.core.times import DAY
    from storage import endpoints

    ill = await database.read(lambda tx: endpoints.ailing(tx, soon=now + SOON_DAYS * DAY, batch=MOST))
    found = [_endpoint(one, now) for one in ill[:NAMED]]
    if len(ill) > NAMED:
        more = f"{len(ill) - NAMED}{' or more' if len(ill) == MOST else ''} further ones are not well"
        found.append(note("endpoints", more, "taskrelay endpoints list"))
    return found


def _endpoint(one: Ailing, now: int) -> Finding:
    from service.core.health import Health
    from service.core.times import iso
    from storage.records import EndpointStatus

    about, look = f"endpoint {one.id}", f"taskrelay endpoints resume {one.id}"
    health = Health.load(one.health)
    if one.expires_at is not None and one.expires_at <= now:
        renew = f"taskrelay endpoints update {one.id} --expires-at <a later time>"
        return wrong(about, f"its lease ended at {iso(one.expires_at)}: nothing is sent to it", renew)
    if one.status is EndpointStatus.DISABLED:
        return wrong(about, f"disabled ({one.disabled_reason or 'no reason was kept'}): nothing is sent to it", look)
    if one.status is EndpointStatus.PAUSED:
        return note(about, "paused: its events wait", look)
    if health.blocked:
        return wrong(about, "its address may not be called", "TASKRELAY_EGRESS__ALLOW=<its range>   (or another URL)")
    if health.since is not None:
        text = f"failing since {iso(health.since)}; it is disabled after five days of that"
        return note(about, text, f"taskrelay deliveries list --endpoint {one.id}")
    renew = f"taskrelay endpoints update {one.id} --expires-at <a later time>"
    return note(about, f"its lease ends at {iso(one.expires_at or now)}", renew)


async def accounts_in(database: Database, settings: Settings, now: int) -> list[Finding]:
    """Accounts that are stopped, and those whose pushes are missing."""
    from service.core.care import care_of, pauses
    from service.core.times import iso
    from storage import lanes
    from storage.records import LaneKind

    found: list[Finding] = []
    for name, account in settings.accounts.items():
        if not account.enabled:
            continue
        lane = await database.read(partial(lanes.get, kind=LaneKind.ACCOUNT, key=name))
        for cause, pause in pauses(lane).items():
            text = f"stopped by {cause} since {iso(pause.since)}, so it buys nothing"
            text += f": {pause.reason}" if pause.reason else ""
            found.append(wrong(f"account {name}", text, f"taskrelay accounts resume {name}"))
        if (silent := care_of(lane).silent_since) is not None:
            text = f"its pushes are missing since {iso(silent)}; every end is found by polling, later"
            found.append(wrong(f"account {name}", text, "mend TASKRELAY_PUBLIC_URL and what stands before it"))
    return found
