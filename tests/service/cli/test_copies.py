"""A copy of a serving database by the command, one in its place, and what came for tasks that it never knew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import run, run_json
from tests.service.cli.test_db import submitted


@pytest.mark.slow
def test_a_serving_database_is_copied_and_the_copy_restored_elsewhere(relay: Relay, tmp_path: Path) -> None:
    submitted(relay)
    target = tmp_path / "copy.db"
    ended = run("db", "backup", str(target), cwd=relay.folder, settings=relay.settings)
    assert ended.returncode == 0, ended.stderr
    assert f"{target}  " in ended.stdout and "every page is in order" in ended.stdout
    assert "taskrelay.secret are not in it" in ended.stdout or "TASKRELAY_SECRET_KEYS are not in it" in ended.stdout
    again = run("db", "backup", str(target), cwd=relay.folder, settings=relay.settings)
    assert (again.returncode, "say --force" in again.stderr) == (1, True)
    home = tmp_path / "home"
    home.mkdir()
    restored = run_json("db", "restore", str(target), cwd=home)
    assert (restored["tasks"] >= 1, restored["aside"]) == (True, None)
    assert run_json("db", "replay", cwd=home)["differing"] == 0
    told = run("db", "restore", str(target), cwd=home)
    assert "what was there before is" in told.stdout and "looks for what was bought since" in told.stdout


@pytest.mark.slow
def test_a_served_database_is_not_replaced(relay: Relay, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    run_json("db", "backup", str(target), cwd=relay.folder, settings=relay.settings)
    ended = run("db", "restore", str(target), cwd=relay.folder, settings=relay.settings)
    assert (ended.returncode, "is served by process" in ended.stderr) == (1, True)


@pytest.mark.slow
def test_pushes_of_unknown_tasks_are_listed_with_the_task_they_name(relay: Relay, tmp_path: Path) -> None:
    target = tmp_path / "taskrelay.db"
    run_json("db", "backup", str(target), cwd=relay.folder, settings=relay.settings)
    with closing(sqlite3.connect(target)) as raw, raw:
        raw.execute("INSERT INTO callbacks VALUES ('cbk_1', 'cloudsway', 'sub_01M-2', x'00', x'7b7d', 1)")
        raw.execute("INSERT INTO callbacks VALUES ('cbk_2', 'cloudsway', 'sub_old', x'01', x'ff', 1)")
    found = run_json("db", "orphans", cwd=tmp_path)["data"]
    assert [(one["task"], one["submission"], one["push"]) for one in found] == [
        (None, "sub_old", "\ufffd"), ("task_01M", "sub_01M-2", "{}"),
    ]  # fmt: skip
    assert "task_01M" in run("db", "orphans", cwd=tmp_path).stdout


@pytest.mark.slow
def test_another_engine_has_tools_of_its_own(tmp_path: Path) -> None:
    settings = {
        "TASKRELAY_DATABASE_URL": "postgresql://u@localhost/t",
        "TASKRELAY_SECRET_KEYS": "kjhsdfkjh2398fkjhsdfkjhsdf98234kjhsdf234",
    }
    for command in ("backup", "restore"):
        ended = run("db", command, "copy.db", cwd=tmp_path, settings=settings)
        assert (ended.returncode, "pg_dump" in ended.stderr) == (1, True)
