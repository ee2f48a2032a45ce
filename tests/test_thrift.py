"""What is spared is time and nothing else: see tests/thrift.py."""

from __future__ import annotations

import gc
import os
from collections import namedtuple
from pathlib import Path
from typing import cast

import pytest

from tests import thrift

Use = namedtuple("Use", "total used free")
Mount = namedtuple("Mount", "f_flag")


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_DEBUG_TEMPROOT", raising=False)
    there(monkeypatch)


def there(monkeypatch: pytest.MonkeyPatch, *, free: int = 8 << 30, flag: int = 0) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Use(free, 0, free))
    monkeypatch.setattr("os.statvfs", lambda folder: Mount(flag))


def test_garbage_is_searched_while_tests_run() -> None:
    assert gc.isenabled()
    gc.unfreeze()
    thrift.collecting()
    assert not gc.isenabled()
    thrift.collected()
    assert gc.isenabled() and gc.get_freeze_count() > 0


def test_folders_are_in_memory_where_there_is_room(tmp_path: Path) -> None:
    thrift.folders(tmp_path)
    assert os.environ["PYTEST_DEBUG_TEMPROOT"] == str(tmp_path)


def test_folders_stay_where_somebody_has_put_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", "/elsewhere")
    thrift.folders(tmp_path)
    assert os.environ["PYTEST_DEBUG_TEMPROOT"] == "/elsewhere"


@pytest.mark.parametrize("lacking", [{"free": 64 << 20}, {"flag": os.ST_NOEXEC}])
def test_folders_stay_on_the_disk_where_memory_is_scarce_or_executes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: dict[str, int]
) -> None:
    there(monkeypatch, **lacking)
    thrift.folders(tmp_path)
    assert "PYTEST_DEBUG_TEMPROOT" not in os.environ


def test_folders_stay_on_the_disk_where_there_is_no_memory_to_write_to(tmp_path: Path) -> None:
    thrift.folders(tmp_path / "none")
    assert "PYTEST_DEBUG_TEMPROOT" not in os.environ


class Item:
    """What is looked at of one of pytest's."""

    def __init__(self, name: str, *allowed: float) -> None:
        self.name, self.path = name, Path(name[0])
        self._marks = [pytest.mark.timeout(seconds).mark for seconds in allowed]

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return next((mark for mark in self._marks if mark.name == name), None)


def test_the_files_with_the_most_patience_begin_and_each_stays_whole() -> None:
    items = [Item("a1"), Item("a2"), Item("b1", 600), Item("c1"), Item("c2", 900), Item("c3", 5), Item("d1", 600)]
    thrift.order(cast("list[pytest.Item]", items))
    assert [item.name for item in items] == ["c1", "c2", "c3", "b1", "d1", "a1", "a2"]
