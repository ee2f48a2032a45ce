"""Subscribers: their URLs, filters and secrets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import Endpoint, EndpointStatus

COLUMNS: LiteralString = """
    id, project_id, url, status, hidden, description, events, secret, max_in_flight, disabled_reason, created_at, updated_at
"""

INSERT = """
    INSERT INTO endpoints (id, project_id, url, status, hidden, description, events, secret, max_in_flight, disabled_reason,
        created_at, updated_at)
    VALUES (:id, :project_id, :url, :status, :hidden, :description, :events, :secret, :max_in_flight, :disabled_reason,
        :created_at, :updated_at)
    ON CONFLICT (project_id, url) WHERE hidden = 1 DO NOTHING
"""

GET = select(
    COLUMNS, "FROM endpoints WHERE id = :id AND project_id = :project_id AND deleted_at IS NULL AND hidden = 0"
)

BY_ID = select(COLUMNS, "FROM endpoints WHERE id = :id AND deleted_at IS NULL")

HIDDEN = select(COLUMNS, "FROM endpoints WHERE project_id = :project_id AND url = :url AND hidden = 1")

OF_PROJECTS = select(
    COLUMNS,
    """
      FROM endpoints
     WHERE project_id IN (SELECT /*sqlite:*/ value FROM json_each(:projects) /*postgres: unnest(:projects::text[]) */)
       AND deleted_at IS NULL AND hidden = 0 AND status <> 'disabled'
     ORDER BY id
""",
)

COUNT = "SELECT count(*) FROM endpoints WHERE project_id = :project_id AND deleted_at IS NULL AND hidden = 0"

DELETE = """
    UPDATE endpoints SET deleted_at = :now, updated_at = :now, status = 'disabled', disabled_reason = 'deleted', secret = NULL
     WHERE id = :id AND project_id = :project_id AND deleted_at IS NULL AND hidden = 0
 RETURNING id
"""

KNOWN = "SELECT id FROM endpoints WHERE id = :id AND project_id = :project_id AND hidden = 0"

DISABLE = """
    UPDATE endpoints SET status = 'disabled', disabled_reason = :reason, updated_at = :now
     WHERE id = :id AND hidden = 0 AND status <> 'disabled'
 RETURNING id
"""


async def insert(tx: Connection, endpoint: Endpoint) -> None:
    await tx.fetch(
        INSERT,
        {
            "id": endpoint.id,
            "project_id": endpoint.project_id,
            "url": endpoint.url,
            "status": endpoint.status.value,
            "hidden": int(endpoint.hidden),
            "description": endpoint.description,
            "events": endpoint.events,
            "secret": endpoint.secret,
            "max_in_flight": endpoint.max_in_flight,
            "disabled_reason": endpoint.disabled_reason,
            "created_at": endpoint.created_at,
            "updated_at": endpoint.updated_at,
        },
    )


async def get(tx: Connection, endpoint_id: str, project_id: str) -> Endpoint | None:
    """A project's own endpoint; hidden and deleted ones are not there."""
    rows = await tx.fetch(GET, {"id": endpoint_id, "project_id": project_id})
    return from_row(rows[0]) if rows else None


async def by_id(tx: Connection, endpoint_id: str) -> Endpoint | None:
    """For the relay: any endpoint that still exists."""
    rows = await tx.fetch(BY_ID, {"id": endpoint_id})
    return from_row(rows[0]) if rows else None


async def hidden(tx: Connection, project_id: str, origin: str) -> Endpoint | None:
    """The endpoint that carries the per-task URLs of one origin."""
    rows = await tx.fetch(HIDDEN, {"project_id": project_id, "url": origin})
    return from_row(rows[0]) if rows else None


async def of_projects(tx: Connection, projects: Iterable[str]) -> list[Endpoint]:
    """Endpoints that may want an event of these projects. A paused one is owed its events too."""
    return [from_row(row) for row in await tx.fetch(OF_PROJECTS, {"projects": sorted(set(projects))})]


async def count(tx: Connection, project_id: str) -> int:
    [(found,)] = await tx.fetch(COUNT, {"project_id": project_id})
    return int(found)  # type: ignore[call-overload, no-any-return]


async def delete(tx: Connection, endpoint_id: str, project_id: str, *, now: int) -> bool:
    """Returns whether there was one to delete."""
    return bool(await tx.fetch(DELETE, {"id": endpoint_id, "project_id": project_id, "now": now}))


async def known(tx: Connection, endpoint_id: str, project_id: str) -> bool:
    """Whether the project has, or once had, this endpoint."""
    return bool(await tx.fetch(KNOWN, {"id": endpoint_id, "project_id": project_id}))


async def disable(tx: Connection, endpoint_id: str, reason: str, *, now: int) -> bool:
    """Stop sending to it. Returns whether it was being sent to; hidden endpoints are never disabled."""
    return bool(await tx.fetch(DISABLE, {"id": endpoint_id, "reason": reason, "now": now}))


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
        secret=row[7],
        max_in_flight=row[8],
        disabled_reason=row[9],
        created_at=row[10],
        updated_at=row[11],
    )
