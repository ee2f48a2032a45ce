"""`taskrelay tasks why`: what happened, what happens next, who is told, and what one can do."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli.app import app
from service.cli.why import lines, money, possible
from tests.service.cli.conftest import Relay
from tests.service.cli.processes import SECONDS

COST: dict[str, Any] = {"unit": "unit", "estimated": "4", "charged": None, "money": None, "surplus": []}
TASK: dict[str, Any] = {
    "id": "task_1",
    "status": "queued",
    "reference": "order-1",
    "provider": "cloudsway",
    "model": "kling",
    "account": "cloudsway",
    "created_at": "2026-11-20T21:10:00.000000Z",
    "finished_at": None,
    "final": False,
    "charge": "none",
    "cost": COST,
    "error": None,
    "links": {"cancel": None, "resolve": None},
}
OWED = {
    "id": "dlv_1",
    "event_type": "task.failed",
    "endpoint": "ep_1",
    "origin": "https://app.example.org",
    "status": "exhausted",
    "next": {"action": "none", "at": None, "reason": "Given up."},
    "links": {"retry": "…", "resume": None},
}
NEXT = {"action": "poll", "at": "2026-11-20T21:10:30.000000Z", "reason": "It has it."}
NOW = 1_795_209_018.0  # 21:10:18


def said(relay: Relay, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["tasks", "why", *arguments], env=relay.client)


def done(relay: Relay, *arguments: str) -> Any:
    ended = CliRunner().invoke(app, [*arguments, "--json"], env=relay.client)
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def told(task: dict[str, Any], next: object = None, entries: int = 0, owed: tuple[dict[str, Any], ...] = ()) -> str:
    one = {"at": "2026-11-20T21:10:00.000000Z", "source": "poll"}
    data = [{**one, "message": f"line {number}."} for number in range(entries)]
    return "\n".join(lines(task, {"data": data, "next": next}, owed, list(possible(task, owed)), now=NOW))


def test_a_task_is_explained_by_its_reference_to_people_and_programs(relay: Relay) -> None:
    buy = ("submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--reference", "why-1", "--wait")
    task = done(relay, *buy, "--webhook-url", f"{relay.sandbox}/nowhere")
    shown = said(relay, "why-1")
    assert shown.exit_code == 0 and shown.stdout.startswith(f"{task['id']}  succeeded  why-1\n")
    for part in (
        "nothing is bought before this",
        "Charged, as the provider states.",
        "Nothing: it is succeeded for good.",
    ):
        assert part in shown.stdout
    assert f"task.succeeded    pending     {relay.sandbox}" in shown.stdout
    found = json.loads(said(relay, task["id"], "--json").stdout)
    assert (found["task"]["id"], found["next"]) == (task["id"], None)
    assert [one["event_type"] for one in found["deliveries"]] == ["task.succeeded"]
    assert [one["command"] for one in found["you_can"]] == [
        f"taskrelay deliveries retry {found['deliveries'][0]['id']}"
    ]


@pytest.mark.slow
def test_a_purchase_in_doubt_is_explained_with_the_commands_that_settle_it(relay: Relay) -> None:
    buy = ("submit", "why [sandbox: lost-reply]", "-p", "ulazai", "-m", "kling-3.0", "--reference", "why-2")
    id = done(relay, *buy)["id"]
    until = time.monotonic() + SECONDS
    while (found := json.loads(said(relay, "why-2", "--json").stdout))["task"]["status"] != "unconfirmed":
        assert time.monotonic() < until, found
    assert found["next"]["action"] == "hold" and found["next"]["at"]
    assert [one["command"].partition(" --action ")[2] for one in found["you_can"]] == [
        "adopt --provider-task-id JOB",
        "resubmit --possible-double-charge",
        "abandon",
    ]
    done(relay, "tasks", "resolve", id, "--action", "abandon")
    shown = said(relay, id).stdout
    assert "because submit_abandoned" in shown and "This end is not final" in shown
    assert "It may have been charged: nobody knows." in shown and "--action adopt" in shown


def test_a_task_that_there_is_not_is_no_answer(relay: Relay) -> None:
    gone = said(relay, "no such order")
    assert gone.exit_code == 1 and "has the id or the reference 'no such order'" in str(gone.exception)


def test_a_long_story_is_cut_in_the_middle_and_says_where_the_rest_is() -> None:
    shown = told(TASK, NEXT, entries=40)
    assert "line 3." in shown and "line 4." not in shown and "line 29." not in shown and "line 30." in shown
    assert "… 26 more: taskrelay tasks timeline task_1" in shown
    assert "more:" not in told(TASK, NEXT, entries=15)


@pytest.mark.parametrize(
    ("next", "line"),
    [
        (NEXT, "poll at 2026-11-20T21:10:30.000000Z (in 12 s): It has it."),
        ({**NEXT, "at": "2026-11-20T21:10:18.100000Z"}, "poll at 2026-11-20T21:10:18.100000Z (now): It has it."),
        ({**NEXT, "at": "2026-11-20T23:10:18.000000Z"}, "poll at 2026-11-20T23:10:18.000000Z (in 2 h): It has it."),
        ({**NEXT, "at": "2026-11-20T21:15:18.000000Z"}, "poll at 2026-11-20T21:15:18.000000Z (in 5 min): It has it."),
        ({**NEXT, "at": None}, "poll: It has it."),
        (None, "Nothing: it is queued for good."),
    ],
)
def test_what_comes_next_is_said_with_the_time_that_is_left(next: object, line: str) -> None:
    assert f"  {line}" in told(TASK, next).splitlines()


def test_who_is_told_is_said_with_what_comes_of_it_or_what_can_be_done() -> None:
    waits = {**OWED, "status": "pending", "next": {**NEXT, "action": "attempt"}}
    paused = {**OWED, "id": "dlv_3", "origin": None, "links": {"retry": "…", "resume": "…"}}
    shown = told(TASK, owed=(waits, OWED, paused))
    assert "      attempt at 2026-11-20T21:10:30.000000Z: It has it." in shown and "      Given up." in shown
    assert "task.failed       exhausted   https://app.example.org" in shown and "exhausted   ep_1" in shown
    assert "  taskrelay endpoints resume ep_1\n" in shown and shown.count("taskrelay deliveries retry dlv_1") == 2
    assert "Nobody so far. Who subscribed and named no events is told of the end" in told(TASK)
    assert "Nobody was subscribed" in told({**TASK, "finished_at": "2026-11-20T21:11:00.000000Z", "final": True})


def test_what_can_be_done_follows_from_the_links() -> None:
    assert list(possible(TASK, ())) == []
    [(command, _)] = possible({**TASK, "links": {"cancel": "…", "resolve": None}}, ())
    assert command == "taskrelay tasks cancel task_1"
    failed = {**TASK, "status": "failed", "error": {"retryable": True}, "links": {"cancel": None, "resolve": "…"}}
    assert [command.split()[2] for command, _ in possible(failed, ())] == ["resolve", "…"]


def test_money_is_said_with_how_sure_it_is() -> None:
    assert money(TASK) == "Nothing is charged. 4 unit expected."
    price = {"estimated": "0.04", "charged": "0.05", "currency": "USD"}
    paid = {**COST, "charged": "5", "money": price, "surplus": [{"provider_task_id": "job-2"}]}
    assert money({**TASK, "charge": "confirmed", "cost": paid}) == (
        "Charged, as the provider states. 5 unit (0.05 USD) charged. Bought too many, charged as well: job-2."
    )
    assert money({**TASK, "cost": {**COST, "estimated": None}}) == "Nothing is charged."
    error = {"code": "content_rejected", "message": "refused", "provider_message": "nudity", "retryable": False}
    assert "  cloudsway said: nudity" in told({**TASK, "error": error})
