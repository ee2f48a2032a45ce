"""Fail-points kill where they are armed and nowhere else, each stands at one place, and unarmed they cost nothing."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import timeit
from collections import Counter
from pathlib import Path

import pytest

from service.telemetry import failpoints
from tests.kill.plan import KINDS

SOURCES = Path(failpoints.__file__).parent.parent
MOST_SECONDS = 1e-6  # 20 ns were measured; a look-up in a table of armed points would already be 60


def program(armed: str, reached: str) -> list[str]:
    text = f"from service.telemetry import failpoints as f; f.arm({armed!r}); [f.reach(n) for n in {reached!r}.split()]"
    return [sys.executable, "-c", text]


def run(armed: str, reached: str) -> int:
    return subprocess.run(program(armed, reached), check=False).returncode


def test_an_armed_point_kills_without_a_word() -> None:
    assert run("after_intent", "after_intent") == -signal.SIGKILL


def test_the_third_arrival_dies_when_three_are_asked_for() -> None:
    assert run("after_intent:3", "after_intent after_intent") == 0
    assert run("after_intent:3", "after_intent after_intent after_intent") == -signal.SIGKILL


def test_another_point_or_none_lets_everything_live() -> None:
    assert run("after_intent", "after_reply") == 0
    assert run("", "after_intent") == 0


def test_a_point_can_stop_the_process_once_until_it_is_told_to_go_on() -> None:
    with subprocess.Popen(program("after_intent:1:stop", "after_intent after_intent")) as stopped:
        _, status = os.waitpid(stopped.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait() == 0


@pytest.mark.parametrize(
    "text", ["after_lunch", "after_intent:", "after_intent:0", "after_intent:x", "after_intent:1:go"]
)
def test_what_is_no_fail_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"after_intent|FAILPOINT"):
        failpoints.arm(text)


def test_every_point_is_passed_at_exactly_one_place() -> None:
    found: Counter[str] = Counter()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="reach", value=ast.Name(id="failpoints")), args=[argument]):
                    assert isinstance(argument, ast.Constant), path
                    found[str(argument.value)] += 1
                case _:
                    pass
    assert found == Counter(failpoints.POINTS)


def test_every_point_belongs_to_the_flow_of_some_provider_kind() -> None:
    assert {point for kind in KINDS.values() for point in kind.points} == set(failpoints.POINTS)


def test_an_unarmed_point_costs_next_to_nothing() -> None:
    turns = 200_000
    spent = min(timeit.repeat(lambda: failpoints.reach("after_push"), number=turns, repeat=5))
    assert spent / turns < MOST_SECONDS
