"""Each measure of the machine beyond its bound is told, and none within."""

from __future__ import annotations

import resource
from dataclasses import replace

import pytest

from service.cli.doctor.finding import Finding, Grade
from service.cli.doctor.host import TURNED_AWAY, Measured, judge, measure
from service.net.crowd import SPARE
from service.runtime import raise_file_limit
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
    ({"files": 655}, Grade.WRONG, "only 655 files"),
    ({"files": 656}, Grade.NOTE, "4096 connections and the rest can be 4680"),
    ({"files": 4679}, Grade.NOTE, "only 4679 files"),
    ({"free": 10**8}, Grade.WRONG, "0.1 GB free"),
    ({"free": 10**9}, Grade.NOTE, "1.0 GB free"),
    ({"strangers": ("other-dist",)}, Grade.WRONG, "other-dist also installed"),
])  # fmt: skip
def test_each_is_told_with_a_line(measured: dict[str, object], grade: Grade, text: str) -> None:
    [found] = told(**measured)
    assert found.grade is grade and text in found.text and found.fix


@pytest.mark.parametrize(
    "measured", [{"python": (3, 11, 10)}, {"python": (3, 13, 0)}, {"files": 4680}, {"files": -1}, {"free": None}]
)
def test_at_its_bound_or_unknown_nothing_is_told(measured: dict[str, object]) -> None:
    assert told(**measured) == []


def test_those_who_are_turned_away_are_counted_as_the_door_counts_them() -> None:
    assert TURNED_AWAY == SPARE


def test_fewer_connections_fit_into_fewer_files() -> None:
    [found] = told(files=2000)
    assert found.fix is not None and found.fix.endswith("or TASKRELAY_MAX_CONNECTIONS=1416")
    fewer = Settings(max_connections=1416)
    assert [one.grade for one in judge(replace(GOOD, files=2000), fewer) if "open files" in one.text] == [Grade.FINE]


def test_files_are_counted_as_serve_will_raise_them() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 400), hard))
    try:
        assert measure(Settings()).files == raise_file_limit()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_this_machine_can_be_measured() -> None:
    seen = measure(Settings())
    assert seen.python >= (3, 11, 0) and seen.sqlite > (3, 0) and seen.free
