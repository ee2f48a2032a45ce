"""Subscribers: their URLs, filters, manners and health."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, LiteralString

from storage import endpoint_secrets, projects, subscriptions
from storage.database import Connection
from storage.dialect import select
from storage.records import Endpoint, EndpointFormat, EndpointStatus, light

COLUMNS: LiteralString = """
    id, project_id, url, status, hidden, description, events, filter, format, headers, max_in_flight, rate_limit, retry_schedule,
    expires_at, disabled_reason, inactive_since, health, tested_at, created_at, updated_at, signatures
"""

INSERT = """
    INSERT INTO endpoints (id, project_id, url, status, hidden, description, events, filter, format, headers, max_in_flight,
        rate_limit, retry_schedule, expires_at, disabled_reason, inactive_since, health, tested_at, created_at, updated_at,
        signatures)
    VALUES (:id, :project_id, :url, :status, :hidden, :description, :events, :filter, :format, :headers, :max_in_flight,
        :rate_limit, :retry_schedule, :expires_at, :disabled_reason, :inactive_since, :health, :tested_at, :created_at,
        :updated_at, :signatures)
    ON CONFLICT (project_id, url) WHERE hidden = 1 DO NOTHING
"""

SAVE = """
    UPDATE endpoints SET url = :url, status = :status, description = :description, events = :events, filter = :filter,
           format = :format, headers = :headers, max_in_flight = :max_in_flight, rate_limit = :rate_limit,
           retry_schedule = :retry_schedule, expires_at = :expires_at, disabled_reason = :disabled_reason,
           inactive_since = :inactive_since, health = :health, tested_at = :tested_at, updated_at = :updated_at,
           signatures = :signatures
     WHERE id = :id AND deleted_at IS NULL AND hidden = 0
"""

GET = select(
    COLUMNS, "FROM endpoints WHERE id = :id AND project_id = :project_id AND deleted_at IS NULL AND hidden = 0"
)

LOCK = select(
    COLUMNS,
    "FROM endpoints WHERE id = :id AND project_id = :project_id AND deleted_at IS NULL AND hidden = 0 /*postgres: FOR UPDATE */",
)

LOCK_OWED = select(
    COLUMNS,
    "FROM endpoints WHERE id = :id AND project_id = :project_id AND deleted_at IS NULL /*postgres: FOR UPDATE */",
)

BY_ID = select(COLUMNS, "FROM endpoints WHERE id = :id AND deleted_at IS NULL")

LOCK_BY_ID = select(COLUMNS, "FROM endpoints WHERE id = :id AND deleted_at IS NULL /*postgres: FOR UPDATE */")

HIDDEN = select(COLUMNS, "FROM endpoints WHERE project_id = :project_id AND url = :url AND hidden = 1")

HIDDEN_IDS = "SELECT id FROM endpoints WHERE project_id = :project_id AND hidden = 1 ORDER BY id"

# Asked with every commit that tells something, so it reads what decides and nothing else.
WANTING = """
    SELECT id, project_id, events, filter FROM endpoints
     WHERE project_id IN (SELECT /*sqlite:*/ value FROM json_each(:projects) /*postgres: unnest(:projects::text[]) */)
       AND deleted_at IS NULL AND hidden = 0 AND status <> 'disabled' AND (expires_at IS NULL OR expires_at > :now)
     ORDER BY id
"""

ANY_EXPIRED = """
    SELECT 1 FROM endpoints
     WHERE expires_at IS NOT NULL AND status <> 'disabled' AND expires_at <= :now AND hidden = 0 AND deleted_at IS NULL
     LIMIT 1
"""

LOCK_EXPIRED = select(
    COLUMNS,
    """
      FROM endpoints
     WHERE expires_at IS NOT NULL AND status <> 'disabled' AND expires_at <= :now AND hidden = 0 AND deleted_at IS NULL
     ORDER BY expires_at, id
     LIMIT :batch /*postgres: FOR UPDATE */
""",
)

COUNT = "SELECT count(*) FROM endpoints WHERE project_id = :project_id AND deleted_at IS NULL AND hidden = 0"

DELETE = """
    UPDATE endpoints SET deleted_at = :now, updated_at = :now, status = 'disabled', disabled_reason = 'deleted', headers = NULL
     WHERE id = :id AND project_id = :project_id AND deleted_at IS NULL AND hidden = 0
 RETURNING id
"""

KNOWN = "SELECT id FROM endpoints WHERE id = :id AND project_id = :project_id AND hidden = 0"

DISABLE = """
    UPDATE endpoints SET status = 'disabled', disabled_reason = :reason, inactive_since = :now, updated_at = :now
     WHERE id = :id AND hidden = 0 AND deleted_at IS NULL AND status <> 'disabled'
 RETURNING id
"""

# Every endpoint is looked at: asked when an account is paused, resumed or missed, and when a process starts.
NAMING_ACCOUNTS = """
    SELECT DISTINCT project_id FROM endpoints
     WHERE events LIKE '%account.%' AND deleted_at IS NULL AND hidden = 0 AND status <> 'disabled'
       AND (expires_at IS NULL OR expires_at > :now)
     ORDER BY project_id
     LIMIT :batch
"""

# Every endpoint is looked at, when a person asks what is wrong with this installation.
AILING = """
    SELECT id, project_id, status, disabled_reason, expires_at, health FROM endpoints
     WHERE hidden = 0 AND deleted_at IS NULL AND (status <> 'active' OR health IS NOT NULL OR expires_at <= :soon)
     ORDER BY id
     LIMIT :batch
"""

NOTE_HEALTH = "UPDATE endpoints SET health = :health WHERE id = :id AND hidden = 0 AND deleted_at IS NULL"


@light(frozen=True, slots=True)
class Subscription:
    """What decides whether an endpoint wants an event."""

    id: str
    project_id: str
    events: str | None
    filter: str | None


async def insert(tx: Connection, endpoint: Endpoint) -> None:
    await tx.fetch(INSERT, _params(endpoint))
    await subscriptions.follow(tx, endpoint)


async def insert_within(tx: Connection, endpoint: Endpoint, *, most: int) -> bool:
    """The same, unless its project has so many already. Returns whether it was."""
    await projects.turn(tx, endpoint.project_id)
    if await count(tx, endpoint.project_id) >= most:
        return False
    await insert(tx, endpoint)
    return True


async def save(tx: Connection, endpoint: Endpoint) -> None:
    """Write a changed endpoint back. Read it with `lock` in the same transaction."""
    await tx.fetch(SAVE, _params(endpoint))
    await subscriptions.follow(tx, endpoint)


def _params(endpoint: Endpoint) -> dict[str, object]:
    return {
        "id": endpoint.id,
        "project_id": endpoint.project_id,
        "url": endpoint.url,
        "status": endpoint.status.value,
        "hidden": int(endpoint.hidden),
        "description": endpoint.description,
        "events": endpoint.events,
        "filter": endpoint.filter,
        "format": endpoint.format.value,
        "headers": endpoint.headers,
        "max_in_flight": endpoint.max_in_flight,
        "rate_limit": endpoint.rate_limit,
        "retry_schedule": endpoint.retry_schedule,
        "expires_at": endpoint.expires_at,
        "disabled_reason": endpoint.disabled_reason,
        "inactive_since": endpoint.inactive_since,
        "health": endpoint.health,
        "tested_at": endpoint.tested_at,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "signatures": endpoint.signatures,
    }


async def get(tx: Connection, endpoint_id: str, project_id: str) -> Endpoint | None:
    """A project's own endpoint; hidden and deleted ones are not there."""
    rows = await tx.fetch(GET, {"id": endpoint_id, "project_id": project_id})
    return from_row(rows[0]) if rows else None


async def lock(tx: Connection, endpoint_id: str, project_id: str) -> Endpoint | None:
    """The same, for a transaction that is going to change it."""
    rows = await tx.fetch(LOCK, {"id": endpoint_id, "project_id": project_id})
    return from_row(rows[0]) if rows else None


async def lock_owed(tx: Connection, endpoint_id: str, project_id: str) -> Endpoint | None:
    """For a transaction that is going to owe it something: also one that carries per-task URLs."""
    rows = await tx.fetch(LOCK_OWED, {"id": endpoint_id, "project_id": project_id})
    return from_row(rows[0]) if rows else None


async def by_id(tx: Connection, endpoint_id: str) -> Endpoint | None:
    """For the relay: any endpoint that still exists."""
    rows = await tx.fetch(BY_ID, {"id": endpoint_id})
    return from_row(rows[0]) if rows else None


async def lock_by_id(tx: Connection, endpoint_id: str) -> Endpoint | None:
    """The same, for a relay that is going to say something of it."""
    rows = await tx.fetch(LOCK_BY_ID, {"id": endpoint_id})
    return from_row(rows[0]) if rows else None


async def hidden(tx: Connection, project_id: str, origin: str) -> Endpoint | None:
    """The endpoint that carries the per-task URLs of one origin."""
    rows = await tx.fetch(HIDDEN, {"project_id": project_id, "url": origin})
    return from_row(rows[0]) if rows else None


async def hidden_ids(tx: Connection, project_id: str) -> list[str]:
    """The endpoints that carry per-task URLs: what the project's secret signs for."""
    return [str(id) for (id,) in await tx.fetch(HIDDEN_IDS, {"project_id": project_id})]


async def wanting(tx: Connection, projects: Iterable[str], *, now: int) -> list[Subscription]:
    """Those that may want an event of these projects. A paused one is owed its events too."""
    rows: list[Any] = await tx.fetch(WANTING, {"projects": sorted(set(projects)), "now": now})
    return [Subscription(*row) for row in rows]


async def naming_accounts(tx: Connection, *, now: int, batch: int) -> list[str]:
    """Projects of which an endpoint names events of accounts; `*` alone names none."""
    return [str(project) for (project,) in await tx.fetch(NAMING_ACCOUNTS, {"now": now, "batch": batch})]


@light(frozen=True, slots=True)
class Ailing:
    """An endpoint that is not simply well."""

    id: str
    project_id: str
    status: EndpointStatus
    disabled_reason: str | None
    expires_at: int | None
    health: str | None


async def ailing(tx: Connection, *, soon: int, batch: int) -> list[Ailing]:
    """Endpoints of all projects, for whoever runs this installation: paused, disabled, failing, or with a lease over by then."""
    rows: list[Any] = await tx.fetch(AILING, {"soon": soon, "batch": batch})
    return [Ailing(id, project, EndpointStatus(status), *rest) for id, project, status, *rest in rows]


async def any_expired(tx: Connection, *, now: int) -> bool:
    """Whether there is one whose lease has ended and that is not disabled yet."""
    return bool(await tx.fetch(ANY_EXPIRED, {"now": now}))


async def lock_expired(tx: Connection, *, now: int, batch: int) -> list[Endpoint]:
    """Those, and nobody renews one until the end of the transaction."""
    return [from_row(row) for row in await tx.fetch(LOCK_EXPIRED, {"now": now, "batch": batch})]


async def count(tx: Connection, project_id: str) -> int:
    [(found,)] = await tx.fetch(COUNT, {"project_id": project_id})
    return int(found)  # type: ignore[call-overload, no-any-return]


async def delete(tx: Connection, endpoint_id: str, project_id: str, *, now: int) -> bool:
    """Forgets its secrets. Returns whether there was one to delete."""
    deleted = bool(await tx.fetch(DELETE, {"id": endpoint_id, "project_id": project_id, "now": now}))
    if deleted:
        await endpoint_secrets.forget(tx, endpoint_id)
        await subscriptions.end(tx, endpoint_id)
    return deleted


async def known(tx: Connection, endpoint_id: str, project_id: str) -> bool:
    """Whether the project has, or once had, this endpoint."""
    return bool(await tx.fetch(KNOWN, {"id": endpoint_id, "project_id": project_id}))


async def disable(tx: Connection, endpoint_id: str, reason: str, *, now: int) -> bool:
    """Stop sending to it. Returns whether it was being sent to; hidden endpoints are never disabled."""
    disabled = bool(await tx.fetch(DISABLE, {"id": endpoint_id, "reason": reason, "now": now}))
    if disabled:
        await subscriptions.end(tx, endpoint_id)
    return disabled


async def note_health(tx: Connection, endpoint_id: str, health: str | None) -> None:
    """Keep how it is doing. Only on a change: a success while all is well writes nothing."""
    await tx.fetch(NOTE_HEALTH, {"id": endpoint_id, "health": health})


def from_row(row: Any) -> Endpoint:
    """A row of `COLUMNS`."""
    return Endpoint(
        id=row[0],
        project_id=row[1],
        url=row[2],
        status=EndpointStatus(row[3]),
        hidden=bool(row[4]),
        description=row[5],
        events=row[6],
        filter=row[7],
        format=EndpointFormat(row[8]),
        headers=row[9],
        max_in_flight=row[10],
        rate_limit=row[11],
        retry_schedule=row[12],
        expires_at=row[13],
        disabled_reason=row[14],
        inactive_since=row[15],
        health=row[16],
        tested_at=row[17],
        created_at=row[18],
        updated_at=row[19],
        signatures=row[20],
    )
