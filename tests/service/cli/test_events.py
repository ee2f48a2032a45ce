from __future__ import annotations

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import run, run_json


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
