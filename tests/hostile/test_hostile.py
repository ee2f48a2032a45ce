"""Every hostile case against the real process. `make hostile` runs them under strace, and two measurements more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from service.sandbox.hostile import Hostile
from tests.hostile.run import WALL_MOST, _faults, every_case, scene
from tests.hostile.table import TABLE, TOGETHER, named


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_case_ends_as_the_table_says_in_time_and_within_bounds(tmp_path: Path) -> None:
    async with scene(tmp_path) as (stack, hostile):
        rows = [row async for row in every_case(stack, hostile)]
    assert {row.case: row.faults for row in rows if row.faults} == {}
    assert {row.case for row in rows} == set(TABLE)


async def test_the_table_knows_every_case_that_the_hostile_subscriber_offers() -> None:
    async with Hostile() as hostile:
        offered = set(hostile.urls) - {"followed"}  # where the redirects lead, and nobody must go
    assert set(TABLE) == offered | set(named(443))


def test_the_judge_of_a_row_can_say_no() -> None:
    expected = TABLE["wait-seconds"]
    good = replace(expected, wait=(1250.0, 1250.0), seconds=(0.1, 0.1))
    assert _faults(expected, good, 0.2, 80, 1, 0) == []
    wrong = [
        (replace(good, status="delivered"), 0.2, 80, 1, 0),
        (replace(good, code=503), 0.2, 80, 1, 0),
        (replace(good, error="timeout"), 0.2, 80, 1, 0),
        (replace(good, endpoint="disabled"), 0.2, 80, 1, 0),
        (replace(good, wait=(600.0, 600.0)), 0.2, 80, 1, 0),
        (replace(good, wait=None), 0.2, 80, 1, 0),
        (replace(good, seconds=(15.0, 15.0)), 0.2, 80, 1, 0),
        (good, 26.0, 80, 1, 0),
        (good, 0.2, 100_000, 1, 0),
        (good, 0.2, 80, 2, 0),
        (good, 0.2, 80, 1, 6_000_000),
    ]
    assert all(len(_faults(expected, *seen)) == 1 for seen in wrong)
    assert all(TABLE[name].seconds[1] < WALL_MOST for name in TOGETHER)
