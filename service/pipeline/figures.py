"""What the rows say of an account, read in one go for people: how much waits and runs, and whether its pushes arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.core.times import DAY
from service.pipeline import due
from storage import account_tasks, ends, lanes
from storage.database import Connection
from storage.ends import End
from storage.records import Lane, LaneKind

COUNTED = 100_000  # tasks that wait are counted up to this
EVENTS = 10_000  # of the feed's newest are looked at for pushes: a bound, so that asking costs the same in a busy year
WEEK = 7 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushes:
    """Ends of which a push was to be expected, and of how many at least one push was seen. `since`: how far back was looked."""

    since: int
    expected: int
    seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one account. `next_due_at`: when its rows say that something is to be done."""

    lane: Lane | None
    queued: int
    open_at_provider: int
    next_due_at: int | None
    day: Pushes
    week: Pushes


async def read(tx: Connection, accounts: Sequence[str], *, now: int) -> Mapping[str, Figures]:
    """The figures of these accounts."""
    found = await ends.latest(tx, since=now - WEEK, most=EVENTS)
    reach = await ends.reach(tx, most=EVENTS) or 0
    return {name: await _of(tx, name, [end for end in found if end.account == name], reach, now) for name in accounts}


async def _of(tx: Connection, account: str, ended: Sequence[End], reach: int, now: int) -> Figures:
    return Figures(
        lane=await lanes.get(tx, LaneKind.ACCOUNT, account),
        queued=await account_tasks.queued_at_most(tx, account, bound=COUNTED),
        open_at_provider=await account_tasks.open_at_provider(tx, account),
        next_due_at=await due.next_due(tx, account, {}, 0),
        day=_pushes(ended, now - DAY, reach),
        week=_pushes(ended, now - WEEK, reach),
    )


def _pushes(ended: Sequence[End], since: int, reach: int) -> Pushes:
    # The feed reaches back to its first event; only where more of it is left out than read is the span shorter than asked.
    late = [end for end in ended if end.at >= since]
    return Pushes(since=max(since, reach), expected=len(late), seen=sum(end.pushed for end in late))
