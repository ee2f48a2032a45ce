from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from service.cli.demo.play import settings_for
from service.cli.doctor import flat
from tests.service.cli.processes import run, run_json

KEY = "a-key-that-nobody-may-read-0123456789abcdef"


def good() -> dict[str, str]:
    return settings_for("http://127.0.0.1:1", "http://127.0.0.1:2") | {"TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": KEY}


def test_all_well_is_exit_0_and_shows_what_is_in_force_without_secrets(tmp_path: Path) -> None:
    run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path, settings=good())
    ended = run("doctor", cwd=tmp_path, settings=good())
    assert ended.returncode == 0, ended.stdout
    assert "TASKRELAY_PUBLIC_URL" in ended.stdout and "http://127.0.0.1:2" in ended.stdout
    assert "opens, schema is current, synchronous=FULL, 1 API key\n" in ended.stdout
    assert "✓ account cloudsway: http://127.0.0.1:1 resolves and may be called" in ended.stdout
    for secret in (KEY, good()["TASKRELAY_SECRET_KEYS"]):
        assert secret not in ended.stdout + ended.stderr


def test_every_mistake_is_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    settings = good() | {"TASKRELAY_ACCOUNTS__ULAZAI__PROVIDER": "ulazi", "TASKRELAY_PUBLIK_URL": "x"}
    del settings["TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH"]
    ended = run("doctor", "--json", cwd=tmp_path, settings=settings)
    told = json.loads(ended.stdout)
    assert ended.returncode == 1 and told["ok"] is False
    fixes = {problem["fix"] for problem in told["problems"] if not problem["note"]}
    assert fixes == {
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH=<the segment it gave you>",
        "TASKRELAY_ACCOUNTS__ULAZAI__PROVIDER=ulazai",
        "rename it to TASKRELAY_PUBLIC_URL",
    }


def test_settings_that_cannot_be_read_are_told_with_misspelt_ones(tmp_path: Path) -> None:
    ended = run("doctor", "--json", cwd=tmp_path, settings={"TASKRELAY_PORT": "x", "TASKRELAY_HOSTS": "y"})
    assert ended.returncode == 1
    assert [problem["fix"] for problem in json.loads(ended.stdout)["problems"]] == [
        "TASKRELAY_PORT=8080",
        "rename it to TASKRELAY_HOST",
    ]


def test_an_address_that_may_not_be_called_is_found_without_calling_it(tmp_path: Path) -> None:
    settings = good() | {"TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL": "https://169.254.169.254"}
    ended = run("doctor", "--json", cwd=tmp_path, settings=settings)
    checks = {check["name"]: check for check in json.loads(ended.stdout)["checks"]}
    assert ended.returncode == 1
    assert checks["account cloudsway"]["ok"] is False and "169.254.169.254" in checks["account cloudsway"]["detail"]
    assert checks["account ulazai"]["ok"] is True


def test_it_makes_nothing_that_was_not_there(tmp_path: Path) -> None:
    ended = run("doctor", cwd=tmp_path, settings=good())
    assert ended.returncode == 0 and "not there yet; serve makes it" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_lost_key_file_is_noticed_and_not_made_anew(tmp_path: Path) -> None:
    settings = good()
    del settings["TASKRELAY_SECRET_KEYS"]
    run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path, settings=settings)
    (tmp_path / "taskrelay.secret").unlink()
    ended = run("doctor", cwd=tmp_path, settings=settings)
    assert ended.returncode == 1 and "taskrelay.secret is missing" in ended.stdout
    assert not (tmp_path / "taskrelay.secret").exists()


@pytest.mark.parametrize("spoilt", ["text", "newer"])
def test_a_database_that_cannot_be_used_is_told(spoilt: str, tmp_path: Path) -> None:
    if spoilt == "text":
        (tmp_path / "taskrelay.db").write_text("dear database, how are you? " * 10)
    else:
        run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path, settings=good())
        raw = sqlite3.connect(tmp_path / "taskrelay.db")
        raw.execute("INSERT INTO migrations (number, name, applied_at) VALUES (9999, 'later', 0)")
        raw.commit()
        raw.close()
    ended = run("doctor", cwd=tmp_path, settings=good())
    assert ended.returncode == 1
    assert ("is not an SQLite database" if spoilt == "text" else "newer release") in ended.stdout


def test_pushes_that_nobody_knows_are_counted(tmp_path: Path) -> None:
    run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path, settings=good())
    with sqlite3.connect(tmp_path / "taskrelay.db") as raw:
        raw.execute("INSERT INTO callbacks VALUES ('cbk_1', 'cloudsway', 'sub_restored', x'00', x'7b7d', 1)")
    raw.close()
    ended = run("doctor", cwd=tmp_path, settings=good())
    assert ended.returncode == 0
    assert "1 push of tasks it does not know" in ended.stdout


def test_offline_opens_nothing(tmp_path: Path) -> None:
    told = run_json("doctor", "--offline", cwd=tmp_path, settings=good())
    assert told["ok"] is True and told["checks"] == []


def test_settings_are_shown_as_the_variables_that_set_them() -> None:
    shown = {"port": 1, "egress": {"ports": [443, 444], "allow": []}, "unsafe_timing": False, "public_url": None}
    assert list(flat(shown)) == [
        ("TASKRELAY_PORT", "1"),
        ("TASKRELAY_EGRESS__PORTS", "443,444"),
        ("TASKRELAY_EGRESS__ALLOW", "-"),
        ("TASKRELAY_UNSAFE_TIMING", "false"),
        ("TASKRELAY_PUBLIC_URL", "-"),
    ]
