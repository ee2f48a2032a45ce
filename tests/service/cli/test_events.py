from __future__ import annotations

import json
import signal

import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import Running, run, run_json


@pytest.mark.slow
def test_the_feed_is_read_from_a_cursor_and_always_says_where_to_go_on(relay: Relay) -> None:
    task = run_json(
        "submit",
        "A boat",
        "-p",
        "cloudsway",
        "-m",
        "kling-3.0-turbo",
        "--wait",
        cwd=relay.folder,
        settings=relay.client,
    )
    found = run_json("events", "list", "--task", task["id"], cwd=relay.folder, settings=relay.client)
    assert [one["type"] for one in found["data"]][-1] == "task.succeeded"
    shown = run("events", "list", "--type", "task.succeeded", "--limit", "1", cwd=relay.folder, settings=relay.client)
    head, line, cursor = shown.stdout.splitlines()
    assert head.split() == ["AT", "TYPE", "ABOUT", "EVENT"] and "task.succeeded" in line
    assert cursor.startswith("… go on: --after ")
    after = run("events", "list", "--after", cursor.split()[-1], cwd=relay.folder, settings=relay.client)
    assert after.returncode == 0 and line not in after.stdout


@pytest.mark.slow
def test_the_tail_shows_events_as_they_happen_and_each_byte_for_byte(relay: Relay) -> None:
    tail = ("events", "tail", "--type", "task.succeeded")
    with (
        Running.start(*tail, cwd=relay.folder, settings=relay.client) as shown,
        Running.start(*tail, "--json", cwd=relay.folder, settings=relay.client) as raw,
    ):
        shown.until(lambda line: "following" in line)
        raw.until(lambda line: "following" in line)
        order = ("submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--reference", "tailed", "--wait")
        task = run_json(*order, cwd=relay.folder, settings=relay.client)
        line = shown.until(lambda line: "task.succeeded" in line and task["id"] in line)
        assert "tailed" in line
        body = raw.until(lambda line: line.startswith('{"id":') and task["id"] in line)
        event = json.loads(body)["id"]
        assert line.endswith(event)
        got = run("events", "get", event, cwd=relay.folder, settings=relay.client)
        assert got.stdout == body + "\n"
        assert (shown.end(signal.SIGINT), raw.end(signal.SIGTERM)) == (0, 0)
    since = Running.start(*tail, "--since", "1h", "--json", cwd=relay.folder, settings=relay.client)
    with since:
        since.until(lambda line: line == body)
        assert since.end() == 0
    unknown = run("events", "tail", "--after", "evt_" + "0" * 26, cwd=relay.folder, settings=relay.client)
    assert unknown.returncode == 1 and "not_found" in unknown.stderr
