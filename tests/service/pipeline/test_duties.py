from __future__ import annotations

from collections.abc import Awaitable, Callable

from service.pipeline.duties import Duties
from tests.service.pipeline.rig import Rig


def replica(rig: Rig, name: str, done: list[str], *, alone: bool = False, did: int = 0) -> Callable[[], Awaitable[int]]:
    async def sweep() -> int:
        done.append(name)
        return did

    return Duties(rig.database, owner=name, clock=rig.clock, alone=alone).in_turn("sweep", sweep, 30.0)


async def test_of_three_that_come_at_once_one_does_it(still: Rig) -> None:
    done: list[str] = []
    three = [replica(still, name, done) for name in "abc"]
    for one in three:
        await one()
    assert done == ["a"]
    still.clock.advance(26)
    for one in reversed(three):
        await one()
    assert done == ["a", "a"]  # it may go on as long as its turn lasts
    still.clock.advance(28)
    await three[2]()
    assert done == ["a", "a", "c"]  # who does not come is followed


async def test_what_it_did_is_told_so_that_it_goes_on(still: Rig) -> None:
    done: list[str] = []
    assert await replica(still, "a", done, did=7)() == 7
    assert await replica(still, "b", done, did=7)() == 0


async def test_alone_nothing_is_asked_and_nothing_written(still: Rig) -> None:
    done: list[str] = []
    await replica(still, "a", done, alone=True)()
    assert done == ["a"] and await still.rows("SELECT name FROM duties") == []
