"""Fail-points kill where they are armed and nowhere else."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from service.telemetry import failpoints


def run(armed: str, reached: str) -> int:
    program = (
        f"from service.telemetry import failpoints as f; f.arm({armed!r}); [f.reach(n) for n in {reached!r}.split()]"
    )
    return subprocess.run([sys.executable, "-c", program], check=False).returncode


def test_an_armed_point_kills_without_a_word() -> None:
    assert run("after_intent", "after_intent") == -signal.SIGKILL


def test_the_third_arrival_dies_when_three_are_asked_for() -> None:
    assert run("after_intent:3", "after_intent after_intent") == 0
    assert run("after_intent:3", "after_intent after_intent after_intent") == -signal.SIGKILL


def test_another_point_or_none_lets_everything_live() -> None:
    assert run("after_intent", "after_reply") == 0
    assert run("", "after_intent") == 0


def test_a_point_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="after_intent"):
        failpoints.arm("after_lunch")
