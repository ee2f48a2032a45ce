"""Each measure of the machine beyond its bound is told, and none within."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.cli.doctor.finding import Finding, Grade
from service.cli.doctor.host import Measured, judge, measure
from service.settings import Settings

GOOD = Measured(python=(3, 12, 9), sqlite=(3, 45, 0), files=65_536, free=50 * 10**9, strangers=(), own=True)


def told(**measured: object) -> list[Finding]:
    return [one for one in judge(replace(GOOD, **measured), Settings()) if one.grade is not Grade.FINE]  # type: ignore[arg-type]


def test_a_good_machine_has_no_fault() -> None:
    assert told() == []


@pytest.mark.parametrize(("measured", "grade", "text"), [
    ({"python": (3, 10, 14)}, Grade.WRONG, "Python 3.10.14 is too old"),
    ({"python": (3, 11, 9)}, Grade.NOTE, "CVE-2024-4032"),
    ({"python": (3, 12, 3)}, Grade.NOTE, "CVE-2024-4032"),
    ({"sqlite": (3, 36, 0)}, Grade.WRONG, "SQLite 3.36.0 is too old"),
    ({"files": 256}, Grade.WRONG, "only 256 files"),
    ({"free": 10**8}, Grade.WRONG, "0.1 GB free"),
    ({"free": 10**9}, Grade.NOTE, "1.0 GB free"),
    ({"strangers": ("other-dist",)}, Grade.WRONG, "other-dist also installed"),
])  # fmt: skip
def test_each_is_told_with_a_line(measured: dict[str, object], grade: Grade, text: str) -> None:
    [found] = told(**measured)
    assert found.grade is grade and text in found.text and found.fix


@pytest.mark.parametrize("measured", [{"python": (3, 11, 10)}, {"python": (3, 13, 0)}, {"files": -1}, {"free": None}])
def test_at_its_bound_or_unknown_nothing_is_told(measured: dict[str, object]) -> None:
    assert told(**measured) == []


def test_this_machine_can_be_measured() -> None:
    seen = measure(Settings())
    assert seen.python >= (3, 11, 0) and seen.sqlite > (3, 0) and seen.free
