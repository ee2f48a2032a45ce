from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from service.cli.bookmark import Bookmark, Place, usual
from service.cli.terminal import Stop

PLACE = Place(after="evt_1", at=1.5, secret="whsec_x")


def test_a_place_is_kept_for_the_next_listener_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.json"
    with Bookmark(path) as bookmark:
        assert bookmark.read() == Place()
        bookmark.write(PLACE)
    with Bookmark(path) as bookmark:
        assert bookmark.read() == PLACE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(one.name for one in path.parent.iterdir()) == ["state.json", "state.json.lock"]


def test_two_listeners_do_not_share_a_place(tmp_path: Path) -> None:
    with Bookmark(tmp_path / "s"):
        with pytest.raises(Stop, match="Give this one its own: --state FILE"), Bookmark(tmp_path / "s"):
            pass
        with Bookmark(tmp_path / "t"):
            pass
    with Bookmark(tmp_path / "s"):
        pass


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"after": 1, "at": 0, "secret": null}', "\x00"])
def test_a_place_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "s").write_text(text)
    with Bookmark(tmp_path / "s") as bookmark, pytest.raises(Stop, match="holds no place in a feed"):
        bookmark.read()


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Stop, match=r"cannot be used: .*--state"), Bookmark(tmp_path / "file" / "s"):
        pass
    with Bookmark(tmp_path / "s") as bookmark:
        (tmp_path / "s").mkdir()
        with pytest.raises(Stop, match="cannot be used"):
            bookmark.read()
        with pytest.raises(Stop, match="cannot be used"):
            bookmark.write(PLACE)


def test_each_project_of_each_server_has_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    paths = {
        usual("http://a", "prj_1"),
        usual("http://a/", "prj_1"),
        usual("http://a", "prj_2"),
        usual("http://b", "prj_1"),
    }
    assert len(paths) == 3 and all(path.is_relative_to(tmp_path) for path in paths)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert usual("http://a", "prj_1").is_relative_to(tmp_path / "home" / ".local" / "state" / "taskrelay")


def test_a_user_without_a_home_is_told_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_001)
    with pytest.raises(Stop, match=r"this user has no home .* --state FILE"):
        usual("https://relay.example.org", "prj_1")
