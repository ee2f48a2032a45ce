from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from service.cli.opening import settings_of, store_of
from service.cli.terminal import FAILED, Stop
from storage import api_keys


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRELAY_PORT", "9000")
    monkeypatch.setenv("TASKRELAY_HOST", "0.0.0.0")
    settings = settings_of("serve", {"PORT": 9001, "HOST": None, "ROLES": "work"})
    assert (settings.port, settings.host, list(settings.roles)) == (9001, "0.0.0.0", ["work"])


def test_every_mistake_is_told_at_once_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRELAY_PORT", "many")
    monkeypatch.setenv("TASKRELAY_PUBLIC_URL", "relay.example.com")
    with pytest.raises(Stop) as stop:
        settings_of("serve")
    assert stop.value.code == FAILED
    lines = stop.value.text.splitlines()
    assert {line.split()[1].strip(":") for line in lines if line.startswith("serve: ")} == {
        "TASKRELAY_PORT",
        "TASKRELAY_PUBLIC_URL",
    }
    assert "    TASKRELAY_PORT=8080" in lines
    assert stop.value.facts is not None and len(stop.value.facts["problems"]) == 2


def test_a_clients_own_variables_are_no_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRELAY_KEY", "trk_x")
    monkeypatch.setenv("TASKRELAY_URL", "http://127.0.0.1:1")
    settings_of("serve")


async def test_the_store_is_open_inside_and_closed_after(alone: Path) -> None:
    async with store_of("keys", settings_of("keys")) as (database, keyring):
        assert await database.read(api_keys.count) == 0
        assert len(keyring.key_ids) == 1
    assert (alone / "taskrelay.secret").stat().st_mode & 0o777 == 0o600


async def test_a_file_that_is_no_database_is_one_clear_line(alone: Path) -> None:
    (alone / "taskrelay.db").write_text("this is a letter, not a database; it is long enough to be looked at")
    with pytest.raises(Stop) as stop:
        async with store_of("keys", settings_of("keys")):
            pass
    assert stop.value.text == "keys: taskrelay.db is not an SQLite database"


async def test_a_missing_folder_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRELAY_DATABASE_URL", "sqlite:///nowhere/at/all.db")
    with pytest.raises(Stop) as stop:
        async with store_of("keys", settings_of("keys")):
            pass
    assert stop.value.text.startswith("keys: ") and "\n" not in stop.value.text
    assert "TASKRELAY_DATABASE_URL" in stop.value.text


async def test_a_database_of_a_newer_release_is_refused_and_left_alone(alone: Path) -> None:
    async with store_of("keys", settings_of("keys")):
        pass
    with sqlite3.connect(alone / "taskrelay.db") as raw:
        raw.execute("INSERT INTO migrations (number, name, oldest, applied_at) VALUES (9999, 'later', 9999, 0)")
    raw.close()
    with pytest.raises(Stop, match=r"keys: .*newer release"):
        async with store_of("keys", settings_of("keys")):
            pass
