from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import run, run_json

pytestmark = pytest.mark.slow  # processes, each with its start


def test_a_key_made_while_serving_works_at_once(relay: Relay) -> None:
    made = run_json("keys", "create", "--name", "ci", "--scope", "read", cwd=relay.folder, settings=relay.settings)
    answer = httpx.get(
        f"{relay.url}/v1/whoami", headers={"authorization": f"Bearer {made['key']}"}, trust_env=False, timeout=10
    )
    assert answer.status_code == 200
    assert made["name"] == "ci" and made["scopes"] == ["read"] and made["id"].startswith("key_")


def test_a_key_can_be_made_before_anything_ever_served(tmp_path: Path) -> None:
    made = run_json("keys", "create", "--name", "me", "--scope", "tasks", "--scope", "read", cwd=tmp_path)
    assert made["key"].startswith("trk_") and made["scopes"] == ["read", "tasks"]
    again = run_json("keys", "create", "--name", "you", "--scope", "read,endpoints", cwd=tmp_path)
    assert again["project"] == made["project"] and again["key"] != made["key"]


def test_the_key_itself_is_nowhere_in_the_folder(tmp_path: Path) -> None:
    key = run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path)["key"].encode()
    kept = [path for path in tmp_path.iterdir() if path.is_file()]
    assert [path.name for path in kept if key in path.read_bytes()] == []
    assert stat.S_IMODE((tmp_path / "taskrelay.secret").stat().st_mode) == 0o600


def test_a_person_is_told_that_it_is_shown_once(tmp_path: Path) -> None:
    ended = run("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.startswith("trk_") and "Shown once" in ended.stdout


def test_an_unknown_scope_is_wrong_usage_and_names_those_there_are(tmp_path: Path) -> None:
    ended = run("keys", "create", "--name", "me", "--scope", "everything", cwd=tmp_path)
    assert ended.returncode == 2
    assert "everything" in ended.stderr and "tasks, endpoints, read, admin" in ended.stderr


def test_an_unknown_project_is_refused_and_makes_no_key(tmp_path: Path) -> None:
    ended = run("keys", "create", "--name", "me", "--scope", "tasks", "--project", "nobody", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("keys: there is no project 'nobody'")
