from __future__ import annotations

import pytest

from service.cli.client import Api
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json

ABSENT = "task_" + "0" * 26


def lost(relay: Relay, name: str) -> str:
    """A task whose purchase got no clear answer, and cannot be looked for."""
    made = said_json(relay, "submit", f"{name} [sandbox: lost-reply]", "-p", "ulazai", "-m", "kling-3.0")
    tag = None
    with Api(relay.url, relay.client["TASKRELAY_KEY"]) as api:
        while made["status"] != "unconfirmed":
            seen, tag = api.follow(f"/v1/tasks/{made['id']}", tag, 20 if tag else 0)
            made = seen or made
            assert made["finished_at"] is None
    return str(made["id"])


def test_a_purchase_in_doubt_is_settled_by_the_job_one_knows_or_given_up(relay: Relay) -> None:
    first, second = lost(relay, "adopt me"), lost(relay, "give me up")
    adopt = ("tasks", "resolve", first, "--action", "adopt", "--provider-task-id", "job-7")
    adopted = said_json(relay, *adopt)
    assert (adopted["id"], adopted["provider_task_id"]) == (first, "job-7")
    shown = said(relay, "tasks", "resolve", second, "--action", "abandon").out
    assert shown.splitlines()[0] == f"{second}  failed"
    assert "submit_abandoned" in shown
    told = said(relay, "tasks", "timeline", second).out
    assert 'Given up by API key "tests" (key_' in told
    again = said(relay, "tasks", "resolve", second, "--action", "abandon")
    assert again.code == 1 and again.err.startswith("409 cannot_resolve  ")


def test_many_are_settled_by_a_filter(relay: Relay) -> None:
    made = [lost(relay, f"boat {number}") for number in range(2)]
    filters = ("--provider", "ulazai", "--status", "unconfirmed")
    twice = ("--action", "resubmit", "--possible-double-charge")
    found = said_json(relay, "tasks", "resolve", *filters, *twice)
    assert (found["action"], found["count"] >= 2, found["next"]) == ("resubmit", True, None)
    shown = said(relay, "tasks", "resolve", *filters, "--action", "abandon").out
    assert shown.startswith("abandon: ") and shown.endswith(" tasks\n")
    for task_id in made:
        assert said_json(relay, "tasks", "get", task_id)["status"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((ABSENT, "--action", "resubmit"), "resubmit may buy a second time, also past the project's budget"),
        (("--action", "resubmit", "--status", "unconfirmed"), "resubmit may buy a second time"),
        (("--action", "abandon"), "name one task, or say which"),
        ((ABSENT, "--action", "abandon", "--provider", "ulazai"), "name one task, or say which"),
    ],
)
def test_what_is_not_said_clearly_is_not_even_asked_for(arguments: tuple[str, ...], why: str) -> None:
    ended = said(None, "tasks", "resolve", *arguments, "--url", "http://127.0.0.1:1")
    assert (ended.code, ended.out) == (2, "")
    assert why in ended.err
