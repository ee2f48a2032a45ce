"""Lanes: who works a remote party's queue, until when, and when there is something to do.

The rules that keep a row from being stranded (each was broken once in a trial): whoever adds work calls `arrive` in the same
transaction, which writes it last, whether or not it lowers the time; an owner releases in two statements, first the lock, then the new
time from the rows. Leases run by the database's clock; on SQLite that is the injected one.

Everybody writes these rows, so nobody may lock two of them out of order: arrivals are written last and sorted; a result is written
under `hold`, which no arrival waits for; a unit that locks lanes otherwise (`claim`, `heartbeat`, `hold_still`) is written `apart`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, LiteralString

from storage.database import Connection, Key, Params
from storage.dialect import select
from storage.records import Lane, LaneKind, OnAmbiguous, light

COLUMNS: LiteralString = "kind, key, epoch, owner, until, next_due_at, breaker, held_until, holds, care"

ARRIVE = """
    INSERT INTO lanes (kind, key, epoch, until, next_due_at) VALUES (:kind, :key, 0, 0, :due_at)
    ON CONFLICT (kind, key) DO UPDATE SET next_due_at = CASE
        WHEN lanes.next_due_at IS NULL OR lanes.next_due_at > excluded.next_due_at THEN excluded.next_due_at
        ELSE lanes.next_due_at END
"""

CLAIM = """
    WITH due AS /*postgres: MATERIALIZED */ (
        SELECT kind, key FROM lanes
         WHERE next_due_at <= /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */
           AND until <= /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */
           AND (kind = 'endpoint'
                OR key IN (SELECT /*sqlite:*/ value FROM json_each(:accounts) /*postgres: unnest(:accounts::text[]) */))
         ORDER BY next_due_at
         LIMIT :batch /*postgres: FOR UPDATE SKIP LOCKED */
    )
    UPDATE lanes SET owner = :owner, epoch = epoch + 1,
           until = /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */ + :ttl
     WHERE (kind, key) IN (SELECT kind, key FROM due) AND next_due_at IS NOT NULL -- else a plan for any batch reads every lane
 RETURNING kind, key, epoch, owner, until, next_due_at, breaker, held_until, holds, care
"""

NEXT_CLAIM = """
    SELECT min(CASE WHEN until > next_due_at THEN until ELSE next_due_at END)
           - /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */ FROM lanes
     WHERE next_due_at IS NOT NULL AND (owner IS NULL OR owner <> :owner)
       AND (kind = 'endpoint'
            OR key IN (SELECT /*sqlite:*/ value FROM json_each(:accounts) /*postgres: unnest(:accounts::text[]) */))
"""

# `arrive` writes the row of an owned lane too, also where it changes nothing in it. SQLite has one owner, who hears by itself.
VERSIONS = """
    SELECT kind, key, /*sqlite:*/ 0 /*postgres: xmin::text::bigint */ FROM lanes WHERE owner = :owner
"""

HEARTBEAT = """
    WITH mine AS /*postgres: MATERIALIZED */ (
        SELECT kind, key FROM lanes WHERE owner = :owner
         ORDER BY kind, key /*postgres: COLLATE "C" FOR NO KEY UPDATE */
    )
    UPDATE lanes
       SET until = /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */ + :ttl
     WHERE owner = :owner AND (kind, key) IN (SELECT kind, key FROM mine)
       AND until > /*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */
 RETURNING kind, key, epoch
"""

# Locks the row against another owner until the end of the transaction, and not against arrivals: those are many, and change no key.
HOLD = """
    SELECT epoch FROM lanes WHERE kind = :kind AND key = :key AND owner = :owner AND epoch = :epoch /*postgres: FOR KEY SHARE */
"""

# Locks it against everybody.
HOLD_STILL = """
    SELECT epoch FROM lanes WHERE kind = :kind AND key = :key AND owner = :owner AND epoch = :epoch /*postgres: FOR UPDATE */
"""

RELEASE = """
    UPDATE lanes SET owner = NULL, until = 0, next_due_at = :next_due_at, breaker = :breaker, held_until = :held_until,
           holds = :holds
     WHERE kind = :kind AND key = :key AND owner = :owner AND epoch = :epoch
 RETURNING key
"""

HEALTH = """
    UPDATE lanes SET breaker = :breaker, held_until = :held_until, holds = :holds
     WHERE kind = :kind AND key = :key AND owner = :owner AND epoch = :epoch
"""

# A person's word on an endpoint counts more than its last answers. An owner, who has those in memory, finds them gone when it looks.
FORGIVE = """
    UPDATE lanes SET breaker = NULL, held_until = NULL,
           next_due_at = CASE WHEN next_due_at > :now THEN :now ELSE next_due_at END
     WHERE kind = :kind AND key = :key
"""

# What a person orders is beside what the owner writes, so neither overwrites the other's.
ORDER = """
    INSERT INTO lanes (kind, key, epoch, until, care, holds) VALUES ('account', :key, 0, 0, :care, :holds)
    ON CONFLICT (kind, key) DO UPDATE SET care = excluded.care, holds = excluded.holds
"""

CARE = "SELECT care FROM lanes WHERE kind = 'account' AND key = :key"

VOID_LEASES = "UPDATE lanes SET owner = NULL, until = 0 WHERE owner IS NOT NULL"

GET = select(COLUMNS, "FROM lanes WHERE kind = :kind AND key = :key")

# For who makes a task: both in one statement, and not what the arrival returns, which is written last. The project's row is held as the
# new task will hold it by referring to it, so that whoever waits for all who make tasks (storage/books.py) waits for this one.
POLICY = select(
    COLUMNS,
    """
    , p.on_ambiguous, p.booking,
           (SELECT count(*) FROM (SELECT 1 FROM tasks
                                   WHERE account = :account AND status IN ('submitting', 'unconfirmed', 'processing')
                                   LIMIT :most) AS q)
      FROM projects p LEFT JOIN lanes l ON l.kind = 'account' AND l.key = :account
     WHERE p.id = :project_id /*postgres: FOR KEY SHARE OF p */
""",
)

LOCK = select(COLUMNS, "FROM lanes WHERE kind = :kind AND key = :key /*postgres: FOR UPDATE */")

MAKE = "INSERT INTO lanes (kind, key, epoch, until) VALUES (:kind, :key, 0, 0) ON CONFLICT (kind, key) DO NOTHING"

# Lanes that have work but no time: a bug elsewhere, mended here and counted.
STRANDED_ENDPOINTS = """
    UPDATE lanes SET next_due_at = (
            SELECT min(at) FROM (
                SELECT min(d.due_at) AS at FROM deliveries d
                 WHERE d.endpoint_id = lanes.key AND d.status = 'pending' AND d.attempts = 0
                UNION ALL
                SELECT min(d.due_at) AS at FROM deliveries d
                 WHERE d.endpoint_id = lanes.key AND d.status = 'pending' AND d.attempts > 0
            ) AS halves)
     WHERE kind = 'endpoint' AND owner IS NULL AND next_due_at IS NULL
       AND (EXISTS (SELECT 1 FROM deliveries d
                     WHERE d.endpoint_id = lanes.key AND d.status = 'pending' AND d.attempts = 0)
            OR EXISTS (SELECT 1 FROM deliveries d
                        WHERE d.endpoint_id = lanes.key AND d.status = 'pending' AND d.attempts > 0))
       AND EXISTS (SELECT 1 FROM endpoints e WHERE e.id = lanes.key AND e.status = 'active')
 RETURNING key
"""

STRANDED_ACCOUNTS = """
    UPDATE lanes SET next_due_at = (
            SELECT min(at) FROM (
                SELECT min(t.due_at) AS at FROM tasks t
                 WHERE t.account = lanes.key AND t.due_at IS NOT NULL AND t.status = 'queued'
                UNION ALL
                SELECT min(t.due_at) AS at FROM tasks t
                 WHERE t.account = lanes.key AND t.due_at IS NOT NULL AND t.status <> 'queued'
            ) AS halves)
     WHERE kind = 'account' AND owner IS NULL AND next_due_at IS NULL
       AND (EXISTS (SELECT 1 FROM tasks t
                     WHERE t.account = lanes.key AND t.due_at IS NOT NULL AND t.status = 'queued')
            OR EXISTS (SELECT 1 FROM tasks t
                        WHERE t.account = lanes.key AND t.due_at IS NOT NULL AND t.status <> 'queued'))
 RETURNING key
"""


@light(frozen=True, slots=True, kw_only=True)
class Policy:
    """What concerns a new task: its project's wishes, and the account that will buy it. `lane`: there may be none yet."""

    on_ambiguous: OnAmbiguous = OnAmbiguous.HOLD
    booking: bool = False  # what the task comes to is booked
    open_jobs: int = 0  # of the account, at its provider
    lane: Lane | None = None


async def arrive(tx: Connection, due: Mapping[tuple[LaneKind, str], int]) -> None:
    """Tell lanes that something is due, in the transaction that adds the work."""
    rows: dict[Key, Params] = {
        (kind.value, key): {"kind": kind.value, "key": key, "due_at": at} for (kind, key), at in due.items()
    }
    await tx.lastly(ARRIVE, rows, _sooner)


async def claim(
    tx: Connection, *, owner: str, accounts: Sequence[str], now: int, ttl_seconds: float, batch: int
) -> list[Lane]:
    """Take lanes that have due work and no live owner, oldest first."""
    rows = await tx.fetch(
        CLAIM,
        {"owner": owner, "accounts": list(accounts), "now": now, "ttl": int(ttl_seconds * 1e6), "batch": batch},
    )
    return sorted((_lane(row) for row in rows), key=lambda lane: lane.next_due_at or 0)


async def next_claim(tx: Connection, *, owner: str, accounts: Sequence[str], now: int) -> int | None:
    """In how many microseconds the next lane of somebody else becomes claimable; by whose clock does not matter then."""
    [(span,)] = await tx.fetch(NEXT_CLAIM, {"owner": owner, "accounts": list(accounts), "now": now})
    return span  # type: ignore[return-value]


async def versions(tx: Connection, *, owner: str) -> dict[tuple[LaneKind, str], int]:
    """Each lane that is ours, with a number that differs once anybody has written its row."""
    rows: list[Any] = await tx.fetch(VERSIONS, {"owner": owner})
    return {(LaneKind(kind), key): version for kind, key, version in rows}


async def heartbeat(tx: Connection, *, owner: str, now: int, ttl_seconds: float) -> set[tuple[LaneKind, str, int]]:
    """Extend every lease that is still alive; a lapsed one stays lapsed. Returns (kind, key, epoch) of the living."""
    rows = await tx.fetch(HEARTBEAT, {"owner": owner, "now": now, "ttl": int(ttl_seconds * 1e6)})
    return {(LaneKind(str(kind)), str(key), int(epoch)) for kind, key, epoch in rows}  # type: ignore[call-overload]


async def hold(tx: Connection, lane: Lane) -> bool:
    """Whether the lane is still ours, and stays so until the end of the transaction."""
    return bool(await tx.fetch(HOLD, _who(lane)))


async def hold_still(tx: Connection, lane: Lane) -> bool:
    """The same, and nothing arrives meanwhile: for who leaves. In a unit that is written `apart`."""
    return bool(await tx.fetch(HOLD_STILL, _who(lane)))


async def release(tx: Connection, lane: Lane, *, next_due_at: int | None) -> bool:
    """Give the lane back, with its health. Call after `hold_still`, with the time read from the rows after that."""
    return bool(await tx.fetch(RELEASE, {**_who(lane), **_health(lane), "next_due_at": next_due_at}))


async def save_health(tx: Connection, lane: Lane) -> None:
    """Keep breaker and holds, so that the next owner starts with them. Read the lane with `lock` before."""
    await tx.fetch(HEALTH, {**_who(lane), **_health(lane)})


async def save_own_health(tx: Connection, lane: Lane) -> None:
    """The same of a lane on whose row nobody else writes health, and so without `lock`."""
    await tx.lastly(HEALTH, {(lane.kind.value, lane.key): {**_who(lane), **_health(lane)}}, _newer)


async def forgive(tx: Connection, endpoint_id: str, *, now: int) -> None:
    """Forget why an endpoint is not to be called just now: its breaker, and the pause it asked for."""
    key = LaneKind.ENDPOINT.value, endpoint_id
    await tx.lastly(FORGIVE, {key: {"kind": key[0], "key": key[1], "now": now}}, _newer)


async def lock(tx: Connection, kind: LaneKind, key: str) -> Lane | None:
    """A lane as it is stored, whoever owns it; held until the end of the transaction."""
    rows = await tx.fetch(LOCK, {"kind": kind.value, "key": key})
    return _lane(rows[0]) if rows else None


async def lock_made(tx: Connection, kind: LaneKind, key: str) -> Lane:
    """The same of a lane that nobody may have had anything to do with yet: two that are the first to order would not wait."""
    found = await lock(tx, kind, key)
    if found is None:
        await tx.fetch(MAKE, {"kind": kind.value, "key": key})
        found = await lock(tx, kind, key)
    assert found is not None  # lanes are never taken away
    return found


async def order(tx: Connection, account: str, *, care: str | None, holds: str | None) -> None:
    """Keep what a person ordered of an account, and the holds that this leaves. Read the lane with `lock` before."""
    await tx.fetch(ORDER, {"key": account, "care": care, "holds": holds})


async def care(tx: Connection, account: str) -> str | None:
    """What people ordered of an account."""
    rows = await tx.fetch(CARE, {"key": account})
    return str(rows[0][0]) if rows and rows[0][0] is not None else None


async def void_leases(tx: Connection) -> None:
    """End every lease. Only for a process that alone may serve the database."""
    await tx.fetch(VOID_LEASES)


async def get(tx: Connection, kind: LaneKind, key: str) -> Lane | None:
    rows = await tx.fetch(GET, {"kind": kind.value, "key": key})
    return _lane(rows[0]) if rows else None


async def policy(tx: Connection, project_id: str, account: str, *, most: int) -> Policy:
    """Held to the end of the transaction. `most`: up to how many jobs are counted."""
    rows: list[Any] = await tx.fetch(POLICY, {"project_id": project_id, "account": account, "most": most})
    if not rows:
        return Policy()
    [(*lane, wanted, booking, jobs)] = rows
    return Policy(
        on_ambiguous=OnAmbiguous(wanted),
        booking=bool(booking),
        open_jobs=jobs,
        lane=_lane(lane) if lane[0] is not None else None,
    )


async def mend(tx: Connection) -> list[str]:
    """Give a time to lanes that have work and none. Returns their keys; there should never be one."""
    rows = await tx.fetch(STRANDED_ENDPOINTS) + await tx.fetch(STRANDED_ACCOUNTS)
    return [str(key) for (key,) in rows]


def _sooner(one: Params, other: Params) -> Params:
    return min(one, other, key=itemgetter("due_at"))


def _newer(_: Params, other: Params) -> Params:
    return other


def _who(lane: Lane) -> dict[str, object]:
    return {"kind": lane.kind.value, "key": lane.key, "owner": lane.owner, "epoch": lane.epoch}


def _health(lane: Lane) -> dict[str, object]:
    return {"breaker": lane.breaker, "held_until": lane.held_until, "holds": lane.holds}


def _lane(row: Any) -> Lane:
    return Lane(
        kind=LaneKind(row[0]),
        key=row[1],
        epoch=row[2],
        owner=row[3],
        until=row[4],
        next_due_at=row[5],
        breaker=row[6],
        held_until=row[7],
        holds=row[8],
        care=row[9],
    )
