"""The siege can be lost: each thing it looks for is seen when it is there."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.siege.__main__ import ALONE, TOGETHER
from tests.siege.forces import BOMBS, FORCES
from tests.siege.healthy import Seen


def seen(**more: object) -> Seen:
    fine = {
        "raw": [0.01] * 200,
        "waits": [0.01] * 200,
        "lags": [0.001] * 200,
        "answers": Counter({"200": 150, "202": 50}),
        "megabytes": 90.0,
    }
    return Seen(**{**fine, **more})  # type: ignore[arg-type]


def test_a_siege_that_costs_nothing_is_won() -> None:
    assert seen().faults() == seen().delays() == []


@pytest.mark.parametrize(
    "more",
    [
        {"answers": Counter({"200": 199, "503": 1})},
        {"answers": Counter({"200": 199, "ReadTimeout": 1})},
        {"megabytes": 301.0},
        {"waits": []},
        {"lags": []},
    ],
)
def test_a_wrong_answer_too_much_memory_or_nothing_measured_is_a_fault_at_once(more: dict[str, object]) -> None:
    assert seen(**more).faults()


@pytest.mark.parametrize("more", [{"waits": [0.01] * 190 + [0.6] * 10}, {"lags": [0.001] * 190 + [0.25] * 10}])
def test_what_was_slow_is_told(more: dict[str, object]) -> None:
    assert seen(**more).delays() and not seen(**more).faults()


def test_every_force_is_sent_alone_and_with_the_others() -> None:
    assert set(ALONE) == set(TOGETHER) == set(FORCES)


def test_every_bomb_fits_through_the_door_and_is_as_heavy_as_that_allows() -> None:
    assert all(100_000 < len(make()) <= 2**20 + 2000 for make in BOMBS.values())
