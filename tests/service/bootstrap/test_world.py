from __future__ import annotations

import re

from service import __version__
from service.bootstrap.world import REAL, USER_AGENT, Ports, clock, mint


def test_an_id_is_made_of_the_world_it_is_made_in() -> None:
    ports = Ports(clock=lambda: 1_790_000_000_000_000, entropy=lambda count: b"\x01" * count)
    assert ports.mint("task") == ports.mint("task") != mint("task") != mint("task")
    assert re.fullmatch(r"task_[0-9A-Z]{26}", ports.mint("task"))


def test_the_real_one_counts_microseconds_and_says_who_we_are() -> None:
    assert REAL.clock() // 10**15 == clock() // 10**15 == 1
    assert f"taskrelay/{__version__}" == USER_AGENT
