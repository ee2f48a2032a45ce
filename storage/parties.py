"""The endpoints that deliveries are owed to, each with its lane: what decides when one is tried next. Deleted ones too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from storage.database import Connection
from storage.records import EndpointStatus, Party

PARTIES = """
    SELECT p.id, p.url, p.status, p.hidden, p.deleted_at, p.disabled_reason, p.inactive_since, p.expires_at, p.rate_limit,
           p.retry_schedule, l.breaker, l.held_until
      FROM endpoints p LEFT JOIN lanes l ON l.kind = 'endpoint' AND l.key = p.id
     WHERE p.id IN (SELECT /*sqlite:*/ value FROM json_each(:ids) /*postgres: unnest(:ids::text[]) */)
"""


async def of(tx: Connection, endpoint_ids: Iterable[str]) -> dict[str, Party]:
    """Those that are there, by id."""
    rows: list[Any] = await tx.fetch(PARTIES, {"ids": sorted(set(endpoint_ids))})
    return {
        row[0]: Party(
            id=row[0],
            url=row[1],
            status=EndpointStatus(row[2]),
            hidden=bool(row[3]),
            deleted_at=row[4],
            disabled_reason=row[5],
            inactive_since=row[6],
            expires_at=row[7],
            rate_limit=row[8],
            retry_schedule=row[9],
            breaker=row[10],
            held_until=row[11],
        )
        for row in rows
    }
