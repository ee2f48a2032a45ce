"""What tasks came to, in sums that lose nothing: equal rows are counted here, and the amounts, which are texts, are added elsewhere.

Read in stretches of ids, which begin with the moment a task was made: a range of one index, whatever is grouped by.
"""

from __future__ import annotations

from typing import Any, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import light

ALIKE: LiteralString = """
    grouped, status, charge, cost_unit, cost_estimated, cost_charged, unit_price, surplus, count(*), max(id)
      FROM (SELECT t.id, t.status, t.charge, t.cost_unit, t.cost_estimated, t.cost_charged, t.unit_price, t.surplus,
                   CASE CAST(:by AS TEXT)
                   WHEN 'project' THEN t.project_id
                   WHEN 'account' THEN t.account
                   WHEN 'model' THEN t.provider || '/' || t.model
                   WHEN 'day' THEN CAST(t.created_at / 86400000000 AS TEXT)
                   WHEN 'metadata' THEN /*sqlite:*/ (SELECT value FROM json_each(t.metadata) WHERE key = :key)
                                        /*postgres: CAST(t.metadata AS json) ->> CAST(:key AS text) */
                   END AS grouped
              FROM tasks t
"""
TAIL: LiteralString = """
             ORDER BY t.id LIMIT :batch) AS stretch
     GROUP BY grouped, status, charge, cost_unit, cost_estimated, cost_charged, unit_price, surplus
"""
OF_PROJECT = select(ALIKE, "WHERE t.project_id = :project_id AND t.id > :after AND t.id < :below" + TAIL)
OF_ALL = select(ALIKE, "WHERE t.id > :after AND t.id < :below" + TAIL)


@light(frozen=True, slots=True, kw_only=True)
class Alike:
    """So many tasks that are alike in what they cost. `surplus`: JSON of the jobs too many of each."""

    group: str | None
    status: str
    charge: str
    unit: str | None
    estimated: str | None
    charged: str | None
    unit_price: str | None
    surplus: str
    count: int


async def stretch(
    tx: Connection, *, project_id: str | None, by: str, key: str, after: str, below: str, batch: int
) -> tuple[list[Alike], str | None]:
    """The next tasks behind an id, alike by alike, and the id behind which to go on; None at the end. `project_id` None: all."""
    params = {"by": by, "key": key, "after": after, "below": below, "batch": batch}
    if project_id is None:
        rows: list[Any] = await tx.fetch(OF_ALL, params)
    else:
        rows = await tx.fetch(OF_PROJECT, {**params, "project_id": project_id})
    alike = [
        Alike(
            group=row[0],
            status=row[1],
            charge=row[2],
            unit=row[3],
            estimated=row[4],
            charged=row[5],
            unit_price=row[6],
            surplus=row[7],
            count=row[8],
        )
        for row in rows
    ]
    full = sum(one.count for one in alike) == batch
    return alike, max(row[9] for row in rows) if full else None
