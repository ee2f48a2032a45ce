"""The same orders on this machine's own database and over HTTP: `keys` and `projects` say the same of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.app import app
from service.cli.terminal import Stop
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import Said

Order = Callable[..., Said]


def said(environment: dict[str, str], *arguments: str) -> Said:
    ended = CliRunner().invoke(app, arguments, env=environment)
    if isinstance(ended.exception, Stop):
        return Said(ended.exception.code, ended.stdout, ended.exception.text, ended.exception.facts)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Said(ended.exit_code, ended.stdout, ended.stderr)


@pytest.fixture(params=["here", "there"])
def order(request: pytest.FixtureRequest, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Order:
    """A command on the folder of a serving taskrelay, or asking it over HTTP with an admin's key."""
    monkeypatch.chdir(relay.folder)
    here = {**relay.settings, "TASKRELAY_URL": "http://127.0.0.1:1"}  # a client's variable turns nothing elsewhere
    if request.param == "here":
        return lambda *arguments: said(here, *arguments)
    made = said(here, "keys", "create", "--name", "admin", "--scope", "admin", "--json").json
    there = {"TASKRELAY_KEY": made["key"]}
    return lambda *arguments: said(there, *arguments, "--url", relay.url)


def test_a_tenant_comes_and_goes(order: Order, request: pytest.FixtureRequest) -> None:
    name = f"shop of {request.node.name}"
    project = order(
        "projects", "create", "--name", name, "--budget", "50.00 USD month", "--max-open-tasks", "7", "--json"
    ).json
    assert project["webhook_secret"].startswith("whsec_") and project["max_open_tasks"] == 7
    assert (project["budget"]["currency"], project["budget"]["period"]) == ("USD", "month")
    key = order("keys", "create", "--name", "k", "--scope", "tasks,read", "--project", name, "--json").json
    assert key["project"] == project["id"] and key["scopes"] == ["read", "tasks"]
    [listed] = order("keys", "list", "--project", name, "--json").json["data"]
    assert (listed["id"], listed["prefix"], "key" in listed) == (key["id"], key["key"][:12], False)
    refused = order("projects", "delete", name)
    assert refused.code == 1 and "keys in force (1)" in refused.err
    for _ in range(2):
        assert order("keys", "revoke", key["id"]).code == 0
    changed = order("projects", "update", name, "--no", "budget", "--no", "max_open_tasks", "--json").json
    assert (changed["budget"], changed["max_open_tasks"]) == (None, None)
    rotated = order("projects", "rotate-secret", name, "--overlap-seconds", "60", "--json").json
    assert rotated["webhook_secret"] != project["webhook_secret"] and rotated["old_secret_retires_at"]
    assert name in [one["name"] for one in order("projects", "list", "--all", "--json").json["data"]]
    assert order("projects", "show", project["id"], "--json").json["name"] == name
    assert order("projects", "delete", name, "--json").json == {
        "object": "project", "id": project["id"], "deleted": True,
    }  # fmt: skip
    gone = order("projects", "show", name)
    assert gone.code == 1 and name in gone.err


def test_a_person_reads_lines(order: Order, request: pytest.FixtureRequest) -> None:
    name = f"store of {request.node.name}"
    made = order("projects", "create", "--name", name, "--on-ambiguous", "resubmit", "--possible-double-charge").out
    assert "whsec_" in made and "in doubt     resubmit" in made and "taskrelay keys create --project prj_" in made
    key = order("keys", "create", "--name", "k", "--scope", "read", "--project", name).out.split()[0]
    listed = order("keys", "list", "--project", name).out
    assert key.startswith("trk_") and key[:12] in listed and key not in listed and "never" in listed
    assert name in order("projects", "list", "--all").out
    assert order("projects", "rotate-secret", name).out.startswith("whsec_")
    id = listed.splitlines()[1].split()[0]
    assert "is revoked" in order("keys", "revoke", id).out
    assert order("projects", "delete", name).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("projects", "update", "current"), 2, "say what to change"),
        (("projects", "create", "--name", "x", "--budget", "50"), 2, "50.00 USD month"),
        (("projects", "create", "--name", "x", "--budget", "50 USD week"), 1, "/budget/period"),
        (("projects", "create", "--name", "prj_x"), 1, "/name"),
        (("projects", "create", "--name", "x", "--on-ambiguous", "resubmit"), 1, "/possible_double_charge"),
        (("keys", "create", "--name", "k", "--scope", "read", "--project", "nobody"), 1, "nobody"),
        (("keys", "revoke", "key_00000000000000000000000000"), 1, "key"),
        (("projects", "show", "nobody"), 1, "nobody"),
    ],
)
def test_what_cannot_be_done_says_why(order: Order, arguments: tuple[str, ...], code: int, told: str) -> None:
    ended = order(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err


def test_lists_go_on_where_they_ended(order: Order) -> None:
    made = [order("keys", "create", "--name", "page", "--scope", "read", "--json").json["id"] for _ in range(3)]
    first = order("keys", "list", "--limit", "1", "--json").json
    then = order("keys", "list", "--limit", "2", "--after", first["next"], "--json").json
    assert [one["id"] for one in (*first["data"], *then["data"])] == made[::-1]
    whole: list[Any] = order("keys", "list", "--all", "--json").json["data"]
    assert [one["id"] for one in whole[:3]] == made[::-1] and len(whole) > 3
    assert f"--after {first['next']}" in order("keys", "list", "--limit", "1").out or first["next"] is None


def test_over_http_it_takes_a_key_that_may(relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = said(relay.client, "keys", "create", "--name", "x", "--scope", "read", "--url", relay.url)
    assert refused.code == 1 and refused.err.startswith("403 missing_scope")
    assert list(tmp_path.iterdir()) == [], "nothing was made here"


def test_a_key_that_reads_sees_the_keys_of_its_project(relay: Relay) -> None:
    listed = said(relay.client, "keys", "list", "--all", "--url", relay.url, "--json")
    assert "tests" in [one["name"] for one in json.loads(listed.out)["data"]]
