"""How long the last jobs of each kind took: one narrow row a kind, its text the core's business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storage.database import Connection

ALL = """
    SELECT account, model, seconds, level, spans FROM durations ORDER BY account, model, seconds, level LIMIT :bound
"""

# So that there is something to lock: two replicas may see the first end of a kind at the same time.
MAKE = """
    INSERT INTO durations (account, model, seconds, level, spans, updated_at) VALUES (:account, :model, :seconds, :level, '', 0)
    ON CONFLICT (account, model, seconds, level) DO NOTHING
"""

LOCK = """
    SELECT account, model, seconds, level, spans FROM durations
     WHERE account = :account AND model = :model AND seconds = :seconds AND level = :level /*postgres: FOR UPDATE */
"""

SAVE = """
    INSERT INTO durations (account, model, seconds, level, spans, updated_at)
    VALUES (:account, :model, :seconds, :level, :spans, :now)
    ON CONFLICT (account, model, seconds, level) DO UPDATE SET spans = excluded.spans, updated_at = excluded.updated_at
"""


class Kind(NamedTuple):
    """Jobs that should take about as long. `seconds`: of video; `level`: of quality, in the contract's word.

    0 and "" stand for all jobs of the model.
    """

    account: str
    model: str
    seconds: int = 0
    level: str = ""


async def every(tx: Connection, *, bound: int) -> dict[Kind, str]:
    """What is stored of each kind."""
    return _kinds(await tx.fetch(ALL, {"bound": bound}))


async def lock(tx: Connection, kinds: Sequence[Kind]) -> dict[Kind, str]:
    """What is stored of these, held until the end of the transaction, so that two replicas add to one another. "": nothing yet."""
    wanted = [kind._asdict() for kind in sorted(kinds)]
    await tx.many(MAKE, wanted)
    return _kinds(await tx.each(LOCK, wanted))


async def save(tx: Connection, spans: Mapping[Kind, str], *, now: int) -> None:
    await tx.many(SAVE, [{**kind._asdict(), "spans": spans[kind], "now": now} for kind in sorted(spans)])


def _kinds(rows: Sequence[tuple[object, ...]]) -> dict[Kind, str]:
    return {
        Kind(str(account), str(model), int(str(seconds)), str(level)): str(spans)
        for account, model, seconds, level, spans in rows
    }
