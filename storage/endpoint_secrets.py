"""The secrets that sign for an endpoint, sealed: the one in force and those that a rotation left to retire."""

from __future__ import annotations

from typing import Any

from storage.database import Connection
from storage.records import EndpointSecret

LIVE = """
    SELECT endpoint_id, number, sealed, created_at, retires_at FROM endpoint_secrets
     WHERE endpoint_id = :endpoint_id AND (retires_at IS NULL OR retires_at > :now)
     ORDER BY number DESC
"""

INSERT = """
    INSERT INTO endpoint_secrets (endpoint_id, number, sealed, created_at, retires_at)
    VALUES (:endpoint_id, :number, :sealed, :created_at, :retires_at)
"""

# Without an overlap every older one ends as well, also what an earlier rotation left: somebody may hold a secret that leaked.
RETIRE = """
    UPDATE endpoint_secrets SET retires_at = :retires_at
     WHERE endpoint_id = :endpoint_id AND (retires_at IS NULL OR (retires_at > :now AND CAST(:retires_at AS BIGINT) <= :now))
"""

FORGET_RETIRED = """
    DELETE FROM endpoint_secrets
     WHERE endpoint_id = :endpoint_id AND retires_at IS NOT NULL AND (retires_at <= :now OR number <= :oldest)
"""

FORGET = "DELETE FROM endpoint_secrets WHERE endpoint_id = :endpoint_id"


async def insert(tx: Connection, secret: EndpointSecret) -> None:
    """Raises `Duplicate` when another rotation was first."""
    await tx.fetch(
        INSERT,
        {
            "endpoint_id": secret.endpoint_id,
            "number": secret.number,
            "sealed": secret.sealed,
            "created_at": secret.created_at,
            "retires_at": secret.retires_at,
        },
    )


async def live(tx: Connection, endpoint_id: str, *, now: int) -> list[EndpointSecret]:
    """What signs now, newest first."""
    rows: list[Any] = await tx.fetch(LIVE, {"endpoint_id": endpoint_id, "now": now})
    return [
        EndpointSecret(endpoint_id=row[0], number=row[1], sealed=row[2], created_at=row[3], retires_at=row[4])
        for row in rows
    ]


async def rotate(
    tx: Connection, endpoint_id: str, sealed: str, *, now: int, retires_at: int, most: int
) -> EndpointSecret:
    """Put a new secret in force. The one before signs until `retires_at`, which ends all old ones when it is now; at most so
    many of them are kept."""
    before = await live(tx, endpoint_id, now=now)
    newest = EndpointSecret(
        endpoint_id=endpoint_id, number=before[0].number + 1 if before else 1, sealed=sealed, created_at=now
    )
    await tx.fetch(RETIRE, {"endpoint_id": endpoint_id, "retires_at": retires_at, "now": now})
    await insert(tx, newest)
    await tx.fetch(FORGET_RETIRED, {"endpoint_id": endpoint_id, "now": now, "oldest": newest.number - most - 1})
    return newest


async def forget(tx: Connection, endpoint_id: str) -> None:
    """The endpoint is gone."""
    await tx.fetch(FORGET, {"endpoint_id": endpoint_id})
