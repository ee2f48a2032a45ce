from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.cli.demo.kept import KEPT, MARK, MARK_TEXT, discard, keep


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of a demo that failed, called from another one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made = tmp_path / "stage"
    made.mkdir()
    (made / "taskrelay.log").write_text("log")
    return made


def test_what_is_known_lies_where_the_next_look_is(folder: Path) -> None:
    assert keep(folder, {"task2": {"status": "processing"}}) == KEPT
    assert json.loads((KEPT / "task2.json").read_text()) == {"status": "processing"}
    assert (KEPT / "taskrelay.log").read_text() == "log"
    assert not folder.exists()


def test_what_an_earlier_demo_left_makes_room(folder: Path) -> None:
    KEPT.mkdir()
    (KEPT / MARK).write_text(MARK_TEXT)
    (KEPT / "task9.json").write_text("{}")
    assert keep(folder, {}) == KEPT
    assert {path.name for path in KEPT.iterdir()} == {MARK, "taskrelay.log"}


def test_a_folder_of_somebody_else_stays_and_ours_stays_where_it_was(folder: Path) -> None:
    KEPT.mkdir()
    (KEPT / MARK).write_text("mine")
    assert keep(folder, {"task1": {}}) == folder
    assert (folder / "task1.json").exists()
    discard()
    assert {path.name: path.read_text() for path in KEPT.iterdir()} == {MARK: "mine"}


def test_what_is_ours_is_discarded_and_nothing_there_is_no_fault(folder: Path) -> None:
    discard()
    keep(folder, {})
    discard()
    assert not KEPT.exists()
