from __future__ import annotations

import pytest

from service.cli.client import Api
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json

ABSENT = "task_" + "0" * 26
TURBO = ("-p", "cloudsway", "-m", "kling-3.0-turbo")


@pytest.fixture(scope="module")
def task(relay: Relay) -> dict[str, str]:
    named = ("--reference", "of-tasks", "--metadata", "of=tasks")
    found: dict[str, str] = said_json(relay, "submit", "A boat [sandbox: seconds=0]", *TURBO, "--wait", *named)
    return found


def test_a_task_is_shown_for_people_and_for_programs(relay: Relay, task: dict[str, str]) -> None:
    found = said_json(relay, "tasks", "get", task["id"])
    assert (found["id"], found["status"]) == (task["id"], "succeeded")
    shown = said(relay, "tasks", "get", task["id"]).out.splitlines()
    assert shown[0] == f"{task['id']}  succeeded"
    assert f"  output     {found['output_url']}" in shown


def test_a_list_is_filtered_and_says_how_to_go_on(relay: Relay, task: dict[str, str]) -> None:
    found = said_json(relay, "tasks", "list", "--reference", "of-tasks")
    assert [one["id"] for one in found["data"]] == [task["id"]]
    said_json(relay, "submit", "B", *TURBO)
    page = said(relay, "tasks", "list", "--limit", "1").out.splitlines()
    assert page[0].split() == ["TASK", "STATUS", "MODEL", "REFERENCE", "CREATED"]
    assert len(page) == 3 and page[2].startswith("… more: --all, or --after ")
    following = said(relay, "tasks", "list", "--limit", "1", "--after", page[2].split()[-1])
    assert following.out.splitlines()[1] != page[1]


def test_a_timeline_tells_what_happened_in_order(relay: Relay, task: dict[str, str]) -> None:
    lines = said(relay, "tasks", "timeline", task["id"]).out.splitlines()
    assert lines[0] == f"{task['id']}  succeeded"
    spans = [float(line.split()[0]) for line in lines[2:]]
    assert spans[0] == 0 and spans == sorted(spans) and len(spans) >= 4
    assert "nothing is bought before this" in lines[3]


def test_what_was_bought_cannot_be_canceled_and_says_why(relay: Relay, task: dict[str, str]) -> None:
    ended = said(relay, "tasks", "cancel", task["id"])
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("409 cannot_cancel  ")


@pytest.mark.parametrize("command", ["get", "timeline", "cancel"])
def test_a_task_that_is_not_there_is_exit_1(command: str, relay: Relay) -> None:
    ended = said(relay, "tasks", command, ABSENT)
    assert ended.code == 1 and ended.err.startswith("404 not_found  ")


def test_nobody_there_is_exit_3() -> None:
    assert said(None, "tasks", "get", ABSENT, "--url", "http://127.0.0.1:1").code == 3


def test_a_list_takes_metadata_and_the_time_of_creation_as_so_long_ago(relay: Relay, task: dict[str, str]) -> None:
    def ids(*filters: str) -> list[str]:
        return [one["id"] for one in said_json(relay, "tasks", "list", *filters)["data"]]

    mine = ("--metadata", "of=tasks")
    assert ids(*mine, "--created-after", "1h") == ids(*mine, "--created-before", "2100-01-01T00:00:00Z") == [task["id"]]
    assert ids(*mine, "--created-before", "1h") == ids("--metadata", "of=boats") == []
    wrong = said(relay, "tasks", "list", "--created-after", "yesterday")
    assert wrong.code == 2 and wrong.err.startswith("--created-after 'yesterday'")


def test_a_provider_is_asked_at_once(relay: Relay) -> None:
    made = said_json(relay, "submit", "A boat [sandbox: stuck]", "-p", "ulazai", "-m", "kling-3.0")
    tag = None
    with Api(relay.url, relay.client["TASKRELAY_KEY"]) as api:
        while made["status"] != "processing":
            seen, tag = api.follow(f"/v1/tasks/{made['id']}", tag, 20 if tag else 0)
            made = seen or made
    shown = said(relay, "tasks", "reconcile", made["id"])
    assert (shown.code, shown.out.splitlines()[0]) == (0, f"{made['id']}  processing")
    assert "asked" in said(relay, "tasks", "timeline", made["id"]).out


def test_what_has_ended_is_not_asked_after(relay: Relay, task: dict[str, str]) -> None:
    ended = said(relay, "tasks", "reconcile", task["id"])
    assert ended.code == 1 and ended.err.startswith("409 cannot_reconcile  ")
    assert said(relay, "tasks", "reconcile", ABSENT).err.startswith("404 not_found  ")


@pytest.fixture(scope="module")
def erased(relay: Relay) -> dict[str, str]:
    """One more, of the test that erases what it is given."""
    named = ("--reference", "to-be-erased", "--wait")
    found: dict[str, str] = said_json(relay, "submit", "A boat [sandbox: seconds=0]", *TURBO, *named)
    return found


@pytest.mark.parametrize(
    "command", [("get",), ("timeline",), ("cancel",), ("reconcile",), ("resolve", "--action", "abandon"), ("delete",)]
)
def test_a_task_is_named_by_its_reference_as_well(
    command: tuple[str, ...], relay: Relay, erased: dict[str, str]
) -> None:
    by_id = said(relay, "tasks", *command, erased["id"])
    assert erased["id"] in by_id.out or by_id.err.startswith("409 ")
    by_reference = said(relay, "tasks", *command, erased["reference"])
    assert (by_reference.code, by_reference.out, by_reference.err) == (by_id.code, by_id.out, by_id.err)
