from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.service.cli.processes import run, run_json

pytestmark = pytest.mark.slow  # processes, each with its start


def test_a_file_is_made_shown_and_found_sound(tmp_path: Path) -> None:
    missing = run("db", "status", cwd=tmp_path)
    assert missing.returncode == 1 and missing.stderr.startswith("db status: there is no database at ")
    assert run_json("db", "migrate", cwd=tmp_path) == {
        "database": "sqlite:///taskrelay.db",
        "applied": ["0001_first"],
    }
    said = run("db", "status", cwd=tmp_path)
    assert said.returncode == 0 and "schema      1 of 1" in said.stdout and "served by   nobody" in said.stdout
    checked = run("db", "check", cwd=tmp_path)
    assert checked.returncode == 0 and "All well" in checked.stdout
    assert not (tmp_path / "taskrelay.secret").exists() and not (tmp_path / "taskrelay.db.lock").exists()


@pytest.mark.parametrize("command", ["migrate", "status", "check"])
def test_a_server_that_is_not_there_is_one_line_without_the_password_and_code_3(command: str, tmp_path: Path) -> None:
    url = "postgresql://relay:very-secret@127.0.0.1:1/tasks"
    ended = run("db", command, "--json", cwd=tmp_path, settings={"TASKRELAY_DATABASE_URL": url})
    assert ended.returncode == 3 and "very-secret" not in ended.stderr + ended.stdout
    assert json.loads(ended.stderr)["error"]["detail"] == (
        f"db {command}: nobody listens at 127.0.0.1:1. Start PostgreSQL there, or mend TASKRELAY_DATABASE_URL"
    )


def test_a_database_without_a_schema_is_brought_up_and_served(server_url: str, tmp_path: Path) -> None:
    settings = {"TASKRELAY_DATABASE_URL": server_url, "TASKRELAY_SECRET_KEYS": "k3yQv9Lx2mT7wZp4Rn8sJd5Hb6Fc1Ga0"}
    refused = run("serve", "--port", "0", cwd=tmp_path, settings=settings)
    assert refused.returncode == 1 and "Run: taskrelay db migrate" in refused.stderr
    told = run("db", "check", cwd=tmp_path, settings=settings)
    assert told.returncode == 1 and "then run taskrelay db check again" in told.stdout
    assert run_json("db", "migrate", cwd=tmp_path, settings=settings)["applied"] == ["0001_first"]
    seen = run_json("db", "status", cwd=tmp_path, settings=settings)
    assert (seen["schema"], seen["faults"], seen["replicas"]) == (1, [], [])
    assert run("db", "check", cwd=tmp_path, settings=settings).returncode == 0
    assert run("db", "migrate", cwd=tmp_path, settings=settings).stdout.startswith("the schema is this release's: ")
