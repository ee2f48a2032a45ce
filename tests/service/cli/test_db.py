from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import run, run_json
from tests.service.cli.test_submit import TURBO


def submitted(relay: Relay) -> str:
    made = run_json("submit", "A paper boat", *TURBO, "--wait", cwd=relay.folder, settings=relay.client)
    return str(made["id"])


def copied(relay: Relay, folder: Path) -> sqlite3.Connection:
    """The serving database as it is now, in another folder."""
    with closing(sqlite3.connect(relay.folder / "taskrelay.db")) as live:
        copy = sqlite3.connect(folder / "taskrelay.db")
        live.backup(copy)
    return copy


@pytest.mark.slow
def test_the_tasks_of_a_serving_database_are_what_their_histories_give(relay: Relay) -> None:
    submitted(relay)
    found = run_json("db", "replay", cwd=relay.folder, settings=relay.settings)
    assert found["tasks"] >= 1 and found["observations"] >= 3
    assert (found["differing"], found["differences"]) == (0, [])
    ended = run("db", "replay", cwd=relay.folder, settings=relay.settings)
    assert ended.returncode == 0 and "every row, event and timeline is what its history gives" in ended.stdout


@pytest.mark.slow
def test_a_row_changed_by_hand_is_named_with_its_field(relay: Relay, tmp_path: Path) -> None:
    task = submitted(relay)
    with closing(copied(relay, tmp_path)) as database, database:
        database.execute("UPDATE tasks SET charge = 'none', progress = 7 WHERE id = ?", (task,))
    ended = run("db", "replay", cwd=tmp_path)
    assert ended.returncode == 1
    assert f"{task}  progress: stored 7, replayed 100" in ended.stdout
    assert "1 tasks differ. Unless somebody changed rows by hand, please report this." in ended.stdout
    told = json.loads(run("db", "replay", "--json", cwd=tmp_path).stdout)
    assert [(one["task"], one["field"], one["stored"]) for one in told["differences"]] == [
        (task, "progress", "7"), (task, "charge", "none"),
    ]  # fmt: skip


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    ended = run("db", "replay", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"db replay: there is no database at {tmp_path}/taskrelay.db")
    assert list(tmp_path.iterdir()) == []
