from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.cli.dev.home import COMPANIES, KEY, LOCK, MARK, SETTINGS, HomeError, opened, settings_text
from service.providers.registry import PROVIDERS
from service.settings.check import problems
from service.settings.source import load

SANDBOX = "http://127.0.0.1:8090"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_was_kept_is_there_the_next_time_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    with opened(folder, fresh=False) as home:
        assert home.key is None
        home.keep_key("trk_1")
        home.write_settings("port = 1\n")
    with opened(folder, fresh=False) as home:
        assert home.key == "trk_1"
    assert (mode(folder), mode(folder / KEY), mode(folder / SETTINGS)) == (0o700, 0o600, 0o600)
    assert (folder / ".gitignore").read_text() == "*\n"


def test_fresh_empties_it(tmp_path: Path) -> None:
    with opened(tmp_path / "dev", fresh=False) as home:
        home.keep_key("trk_1")
        (home.folder / "more").mkdir()
        (home.folder / "more" / "deep").write_text("x")
    with opened(tmp_path / "dev", fresh=True) as home:
        assert home.key is None
        assert {path.name for path in home.folder.iterdir()} == {LOCK, MARK, ".gitignore"}


def test_a_second_one_is_refused_by_the_number_of_the_first_and_empties_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, fresh=False) as home:
        home.keep_key("trk_1")
        with (
            pytest.raises(HomeError, match=rf"that runs, process {os.getpid()}\. End that one first, or: --folder"),
            opened(tmp_path, fresh=True),
        ):
            pass
        assert home.key == "trk_1"
    with opened(tmp_path, fresh=False):
        pass  # it is free again


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["notes", MARK])
def test_a_folder_of_somebody_else_stays_as_it_is(name: str, fresh: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(HomeError, match=r"stays as it is\. Another place: --folder"), opened(tmp_path, fresh=fresh):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}


def test_where_no_folder_can_be_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(HomeError, match=r"cannot use .*Not a directory"),
        opened(tmp_path / "file" / "dev", fresh=False),
    ):
        pass


def test_its_settings_have_an_account_at_every_company_and_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "taskrelay.toml"
    path.write_text(settings_text(SANDBOX, 8080, 0.2))
    settings = load({}, path)
    assert set(settings.accounts) == set(COMPANIES) == set(PROVIDERS)
    assert {str(account.base_url).rstrip("/") for account in settings.accounts.values()} == {SANDBOX}
    assert settings.accounts["apiinone"].enabled
    assert (settings.port, settings.public_url) == (8080, "http://127.0.0.1:8080")
    found = [problem.text for problem in problems(settings, {}) if "SECRET_KEYS" not in problem.text]
    assert found == []
