"""Subscriptions as they were: what each endpoint was owed, and between which places of its project's feed.

Kept by places and not by instants: an event and a change to an endpoint may carry the same microsecond, and whoever writes
reads the clock before it commits. With one writer the place says exactly which of the two was first; several writers may have an event
under way that got its place before.
"""

from __future__ import annotations

from typing import Any, Final

from storage.database import Connection
from storage.records import Endpoint, EndpointStatus, light

STILL: Final = 2**62  # in force

END = """
    UPDATE subscriptions
       SET until_position = coalesce((SELECT max(e.position) FROM events e WHERE e.project_id = subscriptions.project_id), 0)
     WHERE endpoint_id = :endpoint_id AND until_position = :still
"""

END_CHANGED = """
    UPDATE subscriptions
       SET until_position = coalesce((SELECT max(e.position) FROM events e WHERE e.project_id = subscriptions.project_id), 0)
     WHERE endpoint_id = :endpoint_id AND until_position = :still
       AND (events /*sqlite:*/ IS NOT /*postgres: IS DISTINCT FROM */ CAST(:events AS TEXT)
            OR filter /*sqlite:*/ IS NOT /*postgres: IS DISTINCT FROM */ CAST(:filter AS TEXT)
            OR expires_at /*sqlite:*/ IS NOT /*postgres: IS DISTINCT FROM */ CAST(:expires_at AS BIGINT))
"""

# A second change at the same place takes the first one's: nothing was owed between the two.
BEGIN = """
    INSERT INTO subscriptions (endpoint_id, since_position, until_position, project_id, events, filter, expires_at)
    SELECT CAST(:endpoint_id AS TEXT), coalesce((SELECT max(e.position) FROM events e WHERE e.project_id = :project_id), 0),
           CAST(:still AS BIGINT), CAST(:project_id AS TEXT), CAST(:events AS TEXT), CAST(:filter AS TEXT), CAST(:expires_at AS BIGINT)
     WHERE NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.endpoint_id = :endpoint_id AND s.until_position = :still)
    ON CONFLICT (endpoint_id, since_position) DO UPDATE SET until_position = excluded.until_position,
       events = excluded.events, filter = excluded.filter, expires_at = excluded.expires_at
"""

BETWEEN = """
    SELECT endpoint_id, since_position, until_position, events, filter, expires_at FROM subscriptions
     WHERE project_id = :project_id AND until_position > :after AND since_position < :upto
"""


@light(frozen=True, slots=True)
class Span:
    """One stretch of the feed in which an endpoint wanted the same: behind `since`, up to and with `until`."""

    endpoint_id: str
    since: int
    until: int
    events: str | None
    filter: str | None
    expires_at: int | None


async def follow(tx: Connection, endpoint: Endpoint) -> None:
    """Note what the endpoint is owed from here on. A hidden one subscribes to nothing: its tasks name it."""
    if endpoint.hidden:
        return
    if endpoint.status is EndpointStatus.DISABLED:
        await end(tx, endpoint.id)
        return
    wanted = {
        "endpoint_id": endpoint.id,
        "still": STILL,
        "events": endpoint.events,
        "filter": endpoint.filter,
        "expires_at": endpoint.expires_at,
    }
    await tx.fetch(END_CHANGED, wanted)
    await tx.fetch(BEGIN, {**wanted, "project_id": endpoint.project_id})


async def end(tx: Connection, endpoint_id: str) -> None:
    """Nothing more is owed to it from here on."""
    await tx.fetch(END, {"endpoint_id": endpoint_id, "still": STILL})


async def between(tx: Connection, project_id: str, *, after: int, upto: int) -> list[Span]:
    """What was in force for any event behind `after`, up to `upto`."""
    rows: list[Any] = await tx.fetch(BETWEEN, {"project_id": project_id, "after": after, "upto": upto})
    return [Span(*row) for row in rows]
