"""`taskrelay audit`: a ledger that adds up, exit 1 when something is missing, and who ordered what."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli.app import app
from service.cli.audit import LEDGER, SHOWN, added, ordered_by, tell
from service.pipeline.audit_part import COUNTS
from tests.service.cli.conftest import Relay

BUY = ("submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--wait")


def said(relay: Relay, *arguments: str) -> Result:
    """In this process, which is quicker; that the command itself starts is tried elsewhere."""
    return CliRunner().invoke(app, list(arguments), env=relay.client)


def done(relay: Relay, *arguments: str) -> Any:
    ended = said(relay, *arguments, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def test_the_ledger_is_told_to_people_and_programs(relay: Relay) -> None:
    since = done(relay, *BUY)["created_at"]
    document = said(relay, "audit", "--since", since, "--json")
    found = json.loads(document.stdout)
    assert (document.exit_code, found["unexplained"], found["since"]) == (0, [], since)
    assert found["counts"]["tasks"] >= 1 and found["counts"]["orphans"] is None
    assert not {"next", "has_more"} & set(found)
    shown = said(relay, "audit", "--since", since)
    assert shown.exit_code == 0 and "Nothing is missing" in shown.stdout
    assert "pushes nobody owns              (needs a key with scope admin)" in shown.stdout


@pytest.mark.slow
def test_what_was_taken_away_on_purpose_is_listed_and_the_exit_says_so(relay: Relay) -> None:
    task = done(relay, *BUY, "--webhook-url", f"{relay.sandbox}/nowhere")
    with sqlite3.connect(relay.folder / "taskrelay.db", timeout=10) as raw:
        [row] = raw.execute("SELECT * FROM deliveries WHERE task_id = ?", (task["id"],)).fetchall()
        raw.execute("DELETE FROM deliveries WHERE task_id = ?", (task["id"],))
    try:
        shown = said(relay, "audit", "--since", task["created_at"])
        assert shown.exit_code == 1
        assert "UNEXPLAINED delivery_missing: task.succeeded was wanted by ep_" in shown.stdout
        assert shown.stdout.splitlines()[-1].endswith("nobody can explain: please report this.")
        found = json.loads(said(relay, "audit", "--since", task["created_at"], "--json").stdout)
        assert [one["task"] for one in found["unexplained"]] == [task["id"]]
    finally:
        with sqlite3.connect(relay.folder / "taskrelay.db", timeout=10) as raw:
            raw.execute(f"INSERT INTO deliveries VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 (marks alone)
    assert said(relay, "audit", "--since", task["created_at"]).exit_code == 0


def test_the_log_says_who_ordered_what(relay: Relay) -> None:
    endpoint = done(relay, "endpoints", "create", f"{relay.sandbox}/log")["id"]
    said(relay, "endpoints", "delete", endpoint)
    document = json.loads(said(relay, "audit", "log", "--endpoint", endpoint, "--json").stdout)
    assert [one["action"] for one in document["data"]] == ["endpoint.delete", "endpoint.create"]
    head, *lines = said(relay, "audit", "log", "--endpoint", endpoint).stdout.splitlines()
    assert head.split() == ["AT", "ACTION", "OF", "BY", "DETAIL"]
    assert [line.split()[1:3] for line in lines] == [["endpoint.delete", endpoint], ["endpoint.create", endpoint]]


def test_what_the_command_made_here_is_told_from_what_a_rule_did() -> None:
    assert [ordered_by({"key": key, "detail": detail}) for key, detail in (
        ("key_1", {}), (None, {"by": "command"}), (None, {"endpoint": "ep_1"})
    )] == ["key_1", "the command", "a rule"]  # fmt: skip


def part(next: str | None, **counts: int | None) -> dict[str, Any]:
    found = {"kind": "orphan", "message": "m"}
    return {
        "since": None,
        "counts": {**dict.fromkeys(COUNTS, 0), **counts},
        "next_attempt_at": None,
        "unexplained": [found] * int(counts.get("unexplained") or 0),
        "unknown": [],
        "next": next,
    }


def test_stretches_add_up() -> None:
    whole = part("a", owed=2, orphans=None)
    added(whole, part("b", owed=1, unexplained=2, orphans=None) | {"next_attempt_at": "2026-01-02"})
    added(whole, part(None, owed=4, orphans=None) | {"next_attempt_at": "2026-01-01"})
    assert (whole["counts"]["owed"], whole["counts"]["orphans"], whole["next"]) == (7, None, None)
    assert (whole["next_attempt_at"], len(whole["unexplained"])) == ("2026-01-01", 2)


def test_more_than_a_person_reads_is_counted_and_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    whole = part(None, unexplained=SHOWN - 1)
    added(whole, part(None, unexplained=4, unknown=3))
    assert len(whole["unexplained"]) == SHOWN
    tell(whole)
    shown = capsys.readouterr().out
    assert "… and 3 more" in shown and "1,003 things that nobody can explain" in shown
    tell(part(None, unknown=3))
    assert "3 cannot be judged any more." in capsys.readouterr().out


def test_every_count_has_its_line() -> None:
    assert [name for name, _ in LEDGER] == list(COUNTS)
