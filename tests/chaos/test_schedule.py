"""A schedule is drawn from its seed alone, and never takes every replica away."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.chaos.measures import TTL_SECONDS
from tests.chaos.phases import PAUSE_SECONDS
from tests.chaos.schedule import REPLICAS, ROUND_SECONDS, Fault, schedule


def test_the_same_seed_is_the_same_schedule_and_another_is_not() -> None:
    assert schedule(7, 600, pause_seconds=16) == schedule(7, 600, pause_seconds=16)
    assert schedule(7, 600, pause_seconds=16) != schedule(8, 600, pause_seconds=16)


@pytest.mark.parametrize("seconds", [60, 600])
def test_in_every_round_each_replica_has_its_own_fault_and_the_server_is_restarted_both_ways(seconds: int) -> None:
    steps = schedule(7, seconds, pause_seconds=PAUSE_SECONDS)
    for number in range(int(seconds / ROUND_SECONDS)):
        begin = number * ROUND_SECONDS
        of_round = [step for step in steps if begin <= step.at < begin + ROUND_SECONDS and not step.fault.of_server]
        assert {step.fault for step in of_round} == {Fault.KILL, Fault.PAUSE, Fault.RESTART}
        assert {step.replica for step in of_round} == set(range(REPLICAS))
    server = Counter(step.fault for step in steps if step.fault.of_server)
    assert server == {Fault.SERVER_FAST: 1, Fault.SERVER_IMMEDIATE: 1}


def test_a_pause_outlasts_the_lease_and_only_one_replica_is_paused_at_a_time() -> None:
    for seed in range(200):
        pauses = [step for step in schedule(seed, 600, pause_seconds=PAUSE_SECONDS) if step.fault is Fault.PAUSE]
        assert all(one.seconds > TTL_SECONDS for one in pauses)
        assert all(one.at + one.seconds <= later.at for one, later in pairwise(pauses))
