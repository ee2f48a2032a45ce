"""Whose word counts no more: an owner whose lane is somebody else's by now, and a drill that another replica has finished.

What a provider said is evidence, whoever heard it, and is never fenced. What is said out of a replica's own knowledge is: an
intent to buy, what is told of tasks without asking, and that a copy of the database was brought back.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.core.observation import Claim, Observation
from service.pipeline.ledger import Callback
from storage import lanes, restores
from storage.database import Connection
from storage.records import Lane


async def void(tx: Connection, seen: Sequence[Observation | Callback]) -> frozenset[int]:
    """The places of those in a batch. What still counts, counts until the end of the transaction."""
    said = {place: one for place, one in enumerate(seen) if isinstance(one, Observation)}
    by_lane = {place: one.lane for place, one in said.items() if one.lane is not None}
    of_a_drill = {place for place, one in said.items() if one.claim is Claim.RESTORED}
    found = await _lapsed(tx, by_lane) if by_lane else set()
    if of_a_drill and not await restores.still_a_copy(tx):
        found |= of_a_drill
    return frozenset(found)


async def _lapsed(tx: Connection, by_lane: dict[int, Lane]) -> set[int]:
    lost: dict[tuple[str, int], bool] = {}
    for lane in sorted(by_lane.values(), key=_lease):
        if _lease(lane) not in lost:
            lost[_lease(lane)] = not await lanes.hold(tx, lane)
    return {place for place, lane in by_lane.items() if lost[_lease(lane)]}


def _lease(lane: Lane) -> tuple[str, int]:
    return lane.key, lane.epoch
