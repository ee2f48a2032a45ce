"""Subscriptions as they were: what each endpoint was owed, and between which places of its project's feed.

Kept by places and not by instants: an event and a change to an endpoint may carry the same microsecond, and whoever writes
reads the clock before it commits. With one writer the place says exactly which of the two was first. With several a transaction under way
may have got its place before and still tell its events afterwards: such places are noted too, so an event counts as told before a
change exactly if the change could see it. Whoever told one afterwards may have looked for subscribers before; that is then owed and
not sent, and the audit says so.
"""

from __future__ import annotations

from typing import Any, Final

from storage.database import Connection
from storage.positions import TURNS
from storage.records import Endpoint, EndpointStatus, light

STILL: Final = 2**62  # in force

# Beside the place: of each transaction that may still tell something of a lower place, where that begins. Our own is one of them.
END = """
    UPDATE subscriptions
       SET until_position = coalesce((SELECT max(e.position) FROM events e WHERE e.project_id = subscriptions.project_id), 0),
           until_open = /*sqlite:*/ ''
               /*postgres: feed_open((SELECT max(e.position) FROM events e WHERE e.project_id = subscriptions.project_id)) */
     WHERE endpoint_id = :endpoint_id AND until_position = :still
"""

END_CHANGED = """
    UPDATE subscriptions
       SET until_position = coalesce((SELECT max(e.position) FROM events e WHERE e.project_id = subscriptions.project_id), 0),
           until_open = /*sqlite:*/ ''
               /*postgres: feed_open((SELECT max(e.position) FROM events e WHERE e.project_id = subscriptions.project_id)) */
     WHERE endpoint_id = :endpoint_id AND until_position = :still
       AND (events /*sqlite:*/ IS NOT /*postgres: IS DISTINCT FROM */ CAST(:events AS TEXT)
            OR filter /*sqlite:*/ IS NOT /*postgres: IS DISTINCT FROM */ CAST(:filter AS TEXT)
            OR expires_at /*sqlite:*/ IS NOT /*postgres: IS DISTINCT FROM */ CAST(:expires_at AS BIGINT))
"""

# A second change at the same place takes the first one's: nothing was owed between the two.
BEGIN = """
    INSERT INTO subscriptions (endpoint_id, since_position, since_open, until_position, until_open, project_id, events, filter, expires_at)
    SELECT CAST(:endpoint_id AS TEXT), coalesce((SELECT max(e.position) FROM events e WHERE e.project_id = :project_id), 0),
           /*sqlite:*/ '' /*postgres: feed_open((SELECT max(e.position) FROM events e WHERE e.project_id = :project_id)) */,
           CAST(:still AS BIGINT), '', CAST(:project_id AS TEXT), CAST(:events AS TEXT), CAST(:filter AS TEXT),
           CAST(:expires_at AS BIGINT)
     WHERE NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.endpoint_id = :endpoint_id AND s.until_position = :still)
    ON CONFLICT (endpoint_id, since_position, since_open) DO UPDATE SET until_position = excluded.until_position, until_open = '',
       events = excluded.events, filter = excluded.filter, expires_at = excluded.expires_at
"""

BETWEEN = """
    SELECT endpoint_id, since_position, until_position, events, filter, expires_at, since_open, until_open FROM subscriptions
     WHERE project_id = :project_id AND until_position > :after AND (since_position < :upto OR since_open <> '')
"""


@light(frozen=True, slots=True)
class Span:
    """One stretch of the feed in which an endpoint wanted the same: behind `since`, up to and with `until`.

    `since_open`, `until_open`: what of the stretch before each was still under way then, and came after it.
    """

    endpoint_id: str
    since: int
    until: int
    events: str | None
    filter: str | None
    expires_at: int | None
    since_open: tuple[int, ...] = ()
    until_open: tuple[int, ...] = ()

    def holds(self, position: int) -> bool:
        """Whether an event at this place was told while it was in force."""
        return _after(position, self.since, self.since_open) and not _after(position, self.until, self.until_open)


def _after(position: int, edge: int, under_way: tuple[int, ...]) -> bool:
    if position > edge:
        return True
    return any(place < position < (place >> TURNS) + 1 << TURNS for place in under_way)


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
    return [Span(*(*row[:6], _places(row[6]), _places(row[7]))) for row in rows]


def _places(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split())) if text else ()
