from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.tasks import instant, next_line, task_lines, timeline_lines
from tests.service.cli.conftest import Relay
from tests.service.cli.processes import run, run_json

ABSENT = "task_" + "0" * 26


@pytest.fixture(scope="module")
def task(relay: Relay) -> dict[str, str]:
    found: dict[str, str] = run_json(
        "submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--wait", "--reference", "of-tasks",
        cwd=relay.folder, settings=relay.client,
    )  # fmt: skip
    return found


def test_a_task_is_shown_for_people_and_for_programs(relay: Relay, task: dict[str, str]) -> None:
    found = run_json("tasks", "get", task["id"], cwd=relay.folder, settings=relay.client)
    assert (found["id"], found["status"]) == (task["id"], "succeeded")
    shown = run("tasks", "get", task["id"], cwd=relay.folder, settings=relay.client).stdout.splitlines()
    assert shown[0] == f"{task['id']}  succeeded"
    assert f"  output     {found['output_url']}" in shown


def test_a_list_is_filtered_and_says_how_to_go_on(relay: Relay, task: dict[str, str]) -> None:
    found = run_json("tasks", "list", "--reference", "of-tasks", cwd=relay.folder, settings=relay.client)
    assert [one["id"] for one in found["data"]] == [task["id"]]
    run_json("submit", "B", "-p", "cloudsway", "-m", "kling-3.0-turbo", cwd=relay.folder, settings=relay.client)
    page = run("tasks", "list", "--limit", "1", cwd=relay.folder, settings=relay.client).stdout.splitlines()
    assert page[0].split() == ["TASK", "STATUS", "MODEL", "REFERENCE", "CREATED"]
    assert len(page) == 3 and page[2].startswith("… more: --after ")
    following = run(
        "tasks", "list", "--limit", "1", "--after", page[2].split()[-1], cwd=relay.folder, settings=relay.client
    )
    assert following.stdout.splitlines()[1] != page[1]


def test_a_timeline_tells_what_happened_in_order(relay: Relay, task: dict[str, str]) -> None:
    lines = run("tasks", "timeline", task["id"], cwd=relay.folder, settings=relay.client).stdout.splitlines()
    assert lines[0] == f"{task['id']}  succeeded"
    spans = [float(line.split()[0]) for line in lines[2:]]
    assert spans[0] == 0 and spans == sorted(spans) and len(spans) >= 4
    assert "nothing is bought before this" in lines[3]


def test_what_was_bought_cannot_be_canceled_and_says_why(relay: Relay, task: dict[str, str]) -> None:
    ended = run("tasks", "cancel", task["id"], cwd=relay.folder, settings=relay.client)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("409 cannot_cancel  ")


def lost(relay: Relay, name: str) -> str:
    """A task whose purchase got no clear answer, and cannot be looked for."""
    made = run_json(
        "submit", f"{name} [sandbox: lost-reply]", "-p", "ulazai", "-m", "kling-3.0", cwd=relay.folder, settings=relay.client
    )  # fmt: skip
    wanted = ("tasks", "get", made["id"])
    for _ in range(100):
        if run_json(*wanted, cwd=relay.folder, settings=relay.client)["status"] == "unconfirmed":
            return str(made["id"])
    raise AssertionError("it never became unconfirmed")


@pytest.mark.slow
def test_a_purchase_in_doubt_is_settled_by_the_job_one_knows_or_given_up(relay: Relay) -> None:
    first, second = lost(relay, "adopt me"), lost(relay, "give me up")
    adopt = ("tasks", "resolve", first, "--action", "adopt", "--provider-task-id", "job-7")
    adopted = run_json(*adopt, cwd=relay.folder, settings=relay.client)
    assert (adopted["id"], adopted["provider_task_id"]) == (first, "job-7")
    shown = run("tasks", "resolve", second, "--action", "abandon", cwd=relay.folder, settings=relay.client).stdout
    assert shown.splitlines()[0] == f"{second}  failed"
    assert "submit_abandoned" in shown
    told = run("tasks", "timeline", second, cwd=relay.folder, settings=relay.client).stdout
    assert 'Given up by API key "tests" (key_' in told
    again = run("tasks", "resolve", second, "--action", "abandon", cwd=relay.folder, settings=relay.client)
    assert again.returncode == 1 and again.stderr.startswith("409 cannot_resolve  ")


@pytest.mark.slow
def test_many_are_settled_by_a_filter(relay: Relay) -> None:
    made = [lost(relay, f"boat {number}") for number in range(2)]
    filters = ("--provider", "ulazai", "--status", "unconfirmed")
    twice = ("--action", "resubmit", "--possible-double-charge")
    found = run_json("tasks", "resolve", *filters, *twice, cwd=relay.folder, settings=relay.client)
    assert (found["action"], found["count"] >= 2, found["next"]) == ("resubmit", True, None)
    shown = run("tasks", "resolve", *filters, "--action", "abandon", cwd=relay.folder, settings=relay.client).stdout
    assert shown.startswith("abandon: ") and shown.endswith(" tasks\n")
    for task_id in made:
        assert run_json("tasks", "get", task_id, cwd=relay.folder, settings=relay.client)["status"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((ABSENT, "--action", "resubmit"), "resubmit may buy a second time"),
        (("--action", "resubmit", "--status", "unconfirmed"), "resubmit may buy a second time"),
        (("--action", "abandon"), "name one task, or say which"),
        ((ABSENT, "--action", "abandon", "--provider", "ulazai"), "name one task, or say which"),
    ],
)
def test_what_is_not_said_clearly_is_not_even_asked_for(arguments: tuple[str, ...], why: str, tmp_path: Path) -> None:
    ended = run("tasks", "resolve", *arguments, "--url", "http://127.0.0.1:1", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert why in ended.stderr


def test_a_job_too_many_is_shown_with_what_it_costs() -> None:
    jobs = [
        {"provider_task_id": "job-2", "estimated": "4", "charged": None, "unit": "unit"},
        {"provider_task_id": "job-3"},
    ]
    shown = task_lines({**BARE, "cost": {"surplus": jobs}})
    assert "  surplus    bought too many, charged as well: job-2 4 unit, job-3" in shown


@pytest.mark.parametrize("command", ["get", "timeline", "cancel"])
def test_a_task_that_is_not_there_is_exit_1(command: str, relay: Relay) -> None:
    ended = run("tasks", command, ABSENT, cwd=relay.folder, settings=relay.client)
    assert ended.returncode == 1 and ended.stderr.startswith("404 not_found  ")


def test_nobody_there_is_exit_3(tmp_path: Path) -> None:
    assert run("tasks", "get", ABSENT, "--url", "http://127.0.0.1:1", cwd=tmp_path).returncode == 3


BARE = {
    "id": "task_1", "status": "failed", "provider": "p", "account": "a", "model": "m", "final": True, "charge": "possible",
    "finished_at": "2026-01-02T03:04:05Z", "created_at": "2026-01-02T03:04:00Z",
}  # fmt: skip


def test_what_is_not_known_is_left_out() -> None:
    assert task_lines(BARE) == [
        "task_1  failed",
        "  model      p/m   account a",
        "  charge     possible",
        "  created    2026-01-02T03:04:00Z",
        "  finished   2026-01-02T03:04:05Z",
    ]


def test_an_end_that_may_change_and_a_failure_worth_repeating_say_so() -> None:
    error = {"code": "provider_error", "message": "it broke", "retryable": True}
    shown = "\n".join(task_lines({**BARE, "final": False, "error": error, "cost": {"charged": "4", "unit": "unit"}}))
    assert "provider_error  it broke" in shown and "charged again" in shown and "late verdict" in shown
    assert "charge     possible 4 unit" in shown


def test_what_comes_next_is_said_with_when_and_why() -> None:
    following = {"action": "poll", "at": "2026-01-02T03:04:05Z", "reason": "Its push is overdue."}
    assert next_line(following) == "poll at 2026-01-02T03:04:05Z: Its push is overdue."
    assert next_line({}) is None
    told = {"task": "task_1", "status": "processing", "data": [], "next": following}
    assert timeline_lines(told) == ["task_1  processing", f"  next: {next_line(following)}"]
    assert instant("1970-01-01T00:00:01.5Z") == 1.5
