"""What creating requests were answered, for those who ask again: in the transaction that did what was asked.

A row is made first and filled last, so that of two who ask the same at once the second waits for the first's commit (PostgreSQL:
at the unique index) and finds the answer. A row without one is seen by others only where the work takes several transactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import light

LOOKED_AT = 200  # equal requests

COLUMNS: LiteralString = """
    id, project_id, route, asked_as, number, fingerprint, asked_at, least, most, until, status, headers, body, sealed, task_id, keep_until
"""

# The project's row before any place, where it keeps books: who makes a task holds it to the end, and may then want a place of somebody
# who waits for the row. In the statement itself, because a look of its own would be a round trip for every key.
CLAIM = """
    INSERT INTO answers (id, project_id, route, asked_as, number, fingerprint, asked_at, least, most, until, keep_until)
    SELECT :id, :project_id, :route, :asked_as, :number, :fingerprint, :asked_at, :least, :most, :until, :keep_until
     WHERE /*sqlite:*/ 1 = 1 /*postgres: (
           SELECT count(*) FROM (SELECT id FROM projects WHERE id = :project_id AND booking = 1 FOR NO KEY UPDATE) AS turn) >= 0 */
    ON CONFLICT (project_id, route, asked_as, number) DO NOTHING
    RETURNING id
"""

FIND = select(
    COLUMNS,
    "FROM answers WHERE project_id = :project_id AND route = :route AND asked_as = :asked_as AND number = :number",
)

# Of a try of an SDK: what it may be a repeat of. One made by a later try that overtook this one counts as well. First what the try
# before was answered with. Of very many equal requests the newest alone, or each would be looked at for each.
CANDIDATE = select(
    COLUMNS,
    """
      FROM answers
     WHERE project_id = :project_id AND route = :route AND asked_as = :asked_as AND number > :above AND asked_at > :since
       AND (most < :try OR (least > :try AND asked_at > :asked_at))
     ORDER BY most DESC, number
     LIMIT 1
""",
)

# Zero rows: another try has taken it in this very moment.
TAKE = """
    UPDATE answers SET least = :least, most = :most
     WHERE id = :id AND project_id = :project_id AND least = :was_least AND most = :was_most
       AND /*sqlite:*/ 1 = 1 /*postgres: (
           SELECT count(*) FROM (SELECT id FROM projects WHERE id = :project_id AND booking = 1 FOR NO KEY UPDATE) AS turn) >= 0 */
 RETURNING id
"""

NEXT_NUMBER = """
    SELECT coalesce(max(number), 0) + 1 FROM answers
     WHERE project_id = :project_id AND route = :route AND asked_as = :asked_as
"""

KEEP = """
    UPDATE answers SET status = :status, headers = :headers, body = :body, sealed = :sealed, task_id = :task_id,
        keep_until = :keep_until, until = NULL
     WHERE id = :id AND status IS NULL
 RETURNING id
"""

DROP = "DELETE FROM answers WHERE id = :id AND status IS NULL"

# Of work in several transactions whose maker fell silent.
TAKE_OVER = """
    UPDATE answers SET id = :id, until = :until WHERE id = :was AND status IS NULL AND until = :was_until RETURNING id
"""


@light(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer, or its place. `asked_as`: what a repeat states again. `least`, `most`: the tries of an SDK it answered.

    `until`: it is still worked on, at most until then. `body`, `sealed`: one of them; neither once its task was erased.
    """

    id: str
    project_id: str
    route: str
    asked_as: str
    number: int
    fingerprint: str
    asked_at: int
    least: int = 0
    most: int = 0
    until: int | None = None
    status: int | None = None
    headers: str = "{}"
    body: bytes | None = None
    sealed: str | None = None
    task_id: str | None = None
    keep_until: int


async def claim(tx: Connection, place: Kept) -> bool:
    """Take the place. False: somebody has it, whose answer can be read now."""
    return bool(
        await tx.fetch(
            CLAIM,
            {
                "id": place.id,
                "project_id": place.project_id,
                "route": place.route,
                "asked_as": place.asked_as,
                "number": place.number,
                "fingerprint": place.fingerprint,
                "asked_at": place.asked_at,
                "least": place.least,
                "most": place.most,
                "until": place.until,
                "keep_until": place.keep_until,
            },
        )
    )


async def find(tx: Connection, place: Kept) -> Kept | None:
    """Whoever has the place."""
    rows = await tx.fetch(FIND, {**_name(place), "number": place.number})
    return _kept(rows[0]) if rows else None


async def retried(tx: Connection, place: Kept, *, since: int) -> Kept | None:
    """The one earlier answer that this try of an SDK repeats the request of, now taken for it; None: there is none."""
    attempt = place.most
    while True:
        above = max(await next_number(tx, place) - 1 - LOOKED_AT, 0)
        params = {**_name(place), "since": since, "try": attempt, "asked_at": place.asked_at, "above": above}
        rows = await tx.fetch(CANDIDATE, params)
        if not rows:
            return None
        found = _kept(rows[0])
        taken = {"least": min(found.least, attempt), "most": max(found.most, attempt)}
        was = {"was_least": found.least, "was_most": found.most}
        if await tx.fetch(TAKE, {"id": found.id, "project_id": place.project_id, **taken, **was}):
            return found


async def next_number(tx: Connection, place: Kept) -> int:
    rows: list[Any] = await tx.fetch(NEXT_NUMBER, _name(place))
    return int(rows[0][0])


async def keep(tx: Connection, kept: Kept) -> bool:
    """Fill the place. False: it is not ours any more."""
    return bool(
        await tx.fetch(
            KEEP,
            {
                "id": kept.id,
                "status": kept.status,
                "headers": kept.headers,
                "body": kept.body,
                "sealed": kept.sealed,
                "task_id": kept.task_id,
                "keep_until": kept.keep_until,
            },
        )
    )


async def drop(tx: Connection, id: str) -> None:
    """Give the place back: nothing was done."""
    await tx.fetch(DROP, {"id": id})


async def take_over(tx: Connection, silent: Kept, place: Kept) -> bool:
    """Take the place of somebody who was to be done by now. False: another was first."""
    params = {"id": place.id, "until": place.until, "was": silent.id, "was_until": silent.until}
    return bool(await tx.fetch(TAKE_OVER, params))


def _name(place: Kept) -> dict[str, object]:
    return {"project_id": place.project_id, "route": place.route, "asked_as": place.asked_as}


def _kept(row: Sequence[Any]) -> Kept:
    return Kept(
        id=row[0],
        project_id=row[1],
        route=row[2],
        asked_as=row[3],
        number=row[4],
        fingerprint=row[5],
        asked_at=row[6],
        least=row[7],
        most=row[8],
        until=row[9],
        status=row[10],
        headers=row[11] or "{}",
        body=bytes(row[12]) if row[12] is not None else None,
        sealed=row[13],
        task_id=row[14],
        keep_until=row[15],
    )
