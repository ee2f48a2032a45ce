from __future__ import annotations

import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import run, run_json


@pytest.fixture(scope="module")
def admin(relay: Relay) -> dict[str, str]:
    """What the environment of somebody holds who may order."""
    made = run_json("keys", "create", "--name", "boss", "--scope", "admin", cwd=relay.folder, settings=relay.settings)
    return {**relay.client, "TASKRELAY_KEY": made["key"]}


def test_a_person_pauses_an_account_sees_it_and_resumes_it(relay: Relay, admin: dict[str, str]) -> None:
    try:
        paused = run("accounts", "pause", "cloudsway", cwd=relay.folder, settings=admin)
        assert paused.returncode == 0, paused.stderr
        assert "paused (person)" in paused.stdout or "draining (person)" in paused.stdout
        listed = run("accounts", "list", cwd=relay.folder, settings=relay.client).stdout
        [line] = [line for line in listed.splitlines() if line.startswith("cloudsway")]
        assert "(person)" in line
    finally:
        resumed = run_json("accounts", "resume", "cloudsway", cwd=relay.folder, settings=admin)
    assert resumed["status"] == "active"
    shown = run("accounts", "get", "cloudsway", cwd=relay.folder, settings=relay.client).stdout
    assert shown.startswith("cloudsway  active") and "open at the provider" in shown and "pushes" in shown


def test_a_check_says_that_the_key_is_taken_and_exits_with_it(relay: Relay, admin: dict[str, str]) -> None:
    found = run("accounts", "check", "cloudsway", cwd=relay.folder, settings=admin)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "credentials accepted, reached" in found.stdout and "200 in" in found.stdout


def test_who_may_only_read_is_told_what_is_missing(relay: Relay) -> None:
    refused = run("accounts", "pause", "cloudsway", cwd=relay.folder, settings=relay.client)
    assert refused.returncode == 1 and "admin" in refused.stderr
