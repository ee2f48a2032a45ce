"""Every bound that is promised is found out when it is not kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.measures import DEFAULT_TAKEN_OVER_WITHIN, STOPPED_WITHIN, TAKEN_OVER_WITHIN, Measured, broken

PHASES = ("storm", "rolling", "cut", "defaults")
KEPT = Measured(
    take_over_killed=[12.0],
    take_over_paused=[12.0],
    take_over_stopped=[0.1],
    take_over_default=61.0,
    cut_noticed=1.5,
    cut_taken_over=12.0,
    cut_back=0.2,
    cut_works_again=1.0,
)


def test_where_all_were_kept_nothing_is_found() -> None:
    assert list(broken(KEPT, PHASES)) == []


@pytest.mark.parametrize(
    "told",
    [
        {"take_over_killed": [1.0, TAKEN_OVER_WITHIN + 1]},
        {"take_over_paused": [TAKEN_OVER_WITHIN + 1]},
        {"take_over_stopped": [STOPPED_WITHIN + 1]},
        {"take_over_default": DEFAULT_TAKEN_OVER_WITHIN + 1},
        {"take_over_default": None},
        {"rolling_trouble": {"POST /v1/tasks: connection lost": 1}},
        {"cut_noticed": None},
        {"cut_taken_over": None},
        {"cut_back": None},
        {"cut_works_again": 1000.0},
    ],
)
def test_a_bound_that_was_not_kept_is_found(told: dict[str, Any]) -> None:
    assert len(list(broken(replace(KEPT, **told), PHASES))) == 1


def test_what_was_not_tried_is_not_asked_for() -> None:
    assert list(broken(Measured(), ("storm",))) == []


def test_a_replica_without_a_door_cannot_say_that_it_is_not_ready() -> None:
    assert list(broken(replace(KEPT, cut_door=False, cut_noticed=None, cut_back=None), PHASES)) == []
