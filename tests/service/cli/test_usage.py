from __future__ import annotations

import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import run, run_json
from tests.service.cli.test_db import submitted


@pytest.mark.slow
def test_what_tasks_came_to_is_shown_as_a_table_and_as_a_document(relay: Relay) -> None:
    task = submitted(relay)
    shown = run("usage", "--by", "account", cwd=relay.folder, settings=relay.client)
    assert shown.returncode == 0, shown.stderr
    head, *rows = shown.stdout.splitlines()
    assert head.split() == ["GROUP", "TASKS", "UNIT", "CHARGED", "ESTIMATED", "OPEN", "POSSIBLE", "SURPLUS"]
    assert any(row.startswith("cloudsway") for row in rows)
    found = run_json("usage", "--by", "day", cwd=relay.folder, settings=relay.client)
    assert sum(group["tasks"]["total"] for group in found["data"]) >= 1
    erased = run("tasks", "delete", task, cwd=relay.folder, settings=relay.client)
    assert (erased.returncode, erased.stdout) == (0, f"{task} is erased: what happened and what it cost stays\n")
    assert run_json("tasks", "get", task, cwd=relay.folder, settings=relay.client)["input"] == {}


def test_what_cannot_be_grouped_by_is_said_on_stderr(relay: Relay) -> None:
    ended = run("usage", "--by", "colour", cwd=relay.folder, settings=relay.client)
    assert (ended.returncode, "/group_by" in ended.stderr) == (1, True)
