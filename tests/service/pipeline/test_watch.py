from __future__ import annotations

import asyncio

from service.pipeline.watch import Pace, Watch, rest
from tests.service.api.house import until

NEVER = 3600.0


class Counter:
    """Something to look at, which counts the looks."""

    def __init__(self) -> None:
        self.looks = 0
        self.value = 0

    async def look(self) -> int:
        self.looks += 1
        return self.value


async def waits(watch: Watch, seen: Counter, seconds: float = 60.0) -> asyncio.Task[int]:
    task = asyncio.create_task(watch.until("task_1", seen.look, bool, seconds=seconds))
    await until(lambda: watch.waiting > 0)
    return task


async def test_a_change_wakes_those_who_wait_for_it_and_nobody_else() -> None:
    watch, mine, other = Watch(look_again_seconds=NEVER), Counter(), Counter()
    waiting = await waits(watch, mine)
    elsewhere = asyncio.create_task(watch.until("task_2", other.look, bool, seconds=60))
    await until(lambda: watch.waiting == 2)
    mine.value = 1
    watch.changed(["task_1"])
    assert await asyncio.wait_for(waiting, 30) == 1
    assert (mine.looks, other.looks) == (2, 1)
    elsewhere.cancel()
    await asyncio.gather(elsewhere, return_exceptions=True)
    assert watch.waiting == 0


async def test_a_change_while_looking_is_not_missed() -> None:
    watch, looks = Watch(look_again_seconds=NEVER), 0

    async def look() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            watch.changed(["task_1"])  # after the snapshot was taken, before the waiting begins
            return False
        return True

    assert await asyncio.wait_for(watch.until("task_1", look, bool, seconds=60), 30)


async def test_a_change_nobody_rang_for_is_found_all_the_same() -> None:
    watch, seen = Watch(look_again_seconds=0.001), Counter()
    waiting = await waits(watch, seen)
    seen.value = 7
    assert await asyncio.wait_for(waiting, 30) == 7


async def test_when_the_time_is_over_the_last_look_counts() -> None:
    watch, seen = Watch(look_again_seconds=NEVER), Counter()
    assert await watch.until("task_1", seen.look, bool, seconds=0.001) == 0
    assert watch.waiting == 0


async def test_past_the_bound_nobody_waits() -> None:
    watch, seen = Watch(most=1, look_again_seconds=NEVER), Counter()
    first = await waits(watch, seen)
    assert await asyncio.wait_for(watch.until("task_1", seen.look, bool, seconds=60), 30) == 0
    watch.close()
    assert await asyncio.wait_for(first, 30) == 0


async def test_closing_sends_everybody_home_and_lets_nobody_in() -> None:
    watch, seen = Watch(look_again_seconds=NEVER), Counter()
    waiting = await waits(watch, seen)
    watch.close()
    assert await asyncio.wait_for(waiting, 30) == 0
    assert await asyncio.wait_for(watch.until("task_1", seen.look, bool, seconds=60), 30) == 0


async def test_at_the_end_everybody_sees_what_was_changed_while_he_looked() -> None:
    watch, known = Watch(look_again_seconds=NEVER), 0

    async def look() -> int:
        nonlocal known
        seen = known
        if not known:  # committed behind the look's back, and then the end
            known = 1
            watch.changed(["task_1"])
            watch.close()
        return seen

    assert await asyncio.wait_for(watch.until("task_1", look, lambda _: False, seconds=60), 30) == 1


async def test_who_listens_is_told_of_every_change_and_of_the_end() -> None:
    watch = Watch(most=0)
    with watch.listening("prj_1") as rung:
        watch.changed(["prj_2"])
        assert not rung.is_set()
        watch.changed(["prj_1"])
        assert rung.is_set()
        rung.clear()
        watch.close()
        assert rung.is_set() and watch.closed
    watch.changed(["prj_1"])  # nobody is left


async def test_a_rest_ends_with_the_bell_or_by_itself() -> None:
    rung = asyncio.Event()
    resting = asyncio.create_task(rest(rung, 60))
    await asyncio.sleep(0)
    rung.set()
    await asyncio.wait_for(resting, 30)
    await asyncio.wait_for(rest(asyncio.Event(), 0.001), 30)


def test_what_is_held_back_is_looked_for_soon_and_then_ever_less_often() -> None:
    pace = Pace(5.0)
    spans = [pace.seconds(held=True) for _ in range(9)]
    assert spans[0] < 0.01 and spans == sorted(spans) and spans[-1] == 0.25
    assert pace.seconds(held=True, went_on=True) == spans[0]
    assert (pace.seconds(held=False), pace.seconds(held=True)) == (5.0, spans[0])
    assert Pace(0.001).seconds(held=True) == 0.001  # never later than it would look anyway


async def test_who_sees_something_held_back_looks_again_although_nobody_rings() -> None:
    watch, looks = Watch(look_again_seconds=60), 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        return looks

    seen = await asyncio.wait_for(watch.until("prj_1", look, lambda n: n == 3, seconds=60, held=lambda n: n < 3), 30)
    assert seen == 3
