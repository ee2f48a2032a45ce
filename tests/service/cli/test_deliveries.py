from __future__ import annotations

import time
from typing import Any

import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.inside import receiving, said, said_json
from tests.service.cli.processes import SECONDS, run


def settled(relay: Relay, task: str) -> list[dict[str, Any]]:
    """What a task is owed, once nothing of it waits."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found: list[dict[str, Any]] = said_json(relay, "deliveries", "list", "--task", task)["data"]
        if found and all(one["status"] != "pending" for one in found):
            return found
        time.sleep(0.1)
    raise AssertionError("it never settled")


def bought(relay: Relay, hook: str) -> str:
    made = said_json(relay, "submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--webhook-url", hook)
    return str(made["id"])


def test_a_delivery_is_listed_with_its_attempts_and_answer(relay: Relay) -> None:
    with receiving() as receiver:
        task = bought(relay, f"{receiver.url}/done")
        [one] = settled(relay, task)
    assert (one["status"], one["event_type"]) == ("delivered", "task.succeeded")
    shown = said(relay, "deliveries", "list", "--status", "delivered", "--task", task).out
    head, line = shown.splitlines()
    assert head.split() == ["DELIVERY", "STATUS", "TYPE", "ENDPOINT", "ATTEMPTS", "LAST", "NEXT"]
    assert line.split()[1:3] == ["delivered", "task.succeeded"] and line.split()[4:] == ["1", "204", "-"]


def test_a_status_that_there_is_not_is_refused_by_name(relay: Relay) -> None:
    refused = run("deliveries", "list", "--status", "lost", cwd=relay.folder, settings=relay.client)
    assert refused.returncode == 1 and refused.stderr.startswith("422 ") and "delivered" in refused.stderr


@pytest.mark.slow
def test_what_a_tasks_own_url_did_not_take_is_sent_again(relay: Relay) -> None:
    with receiving() as receiver:
        receiver.answers = [410]
        task = bought(relay, f"{receiver.url}/mine")
        [one] = settled(relay, task)
        assert one["status"] == "canceled"
        shown = said(relay, "deliveries", "get", one["id"]).out
        assert shown.splitlines()[0] == f"{one['id']}  canceled  task.succeeded" and "HTTP 410" in shown
        assert said(relay, "deliveries", "retry", "--task", task).out == "0 deliveries made due\n", "none is exhausted"
        done = said_json(relay, "deliveries", "retry", "--task", task, "--status", "canceled")
        assert done == {"object": "retries", "count": 1, "refused": []}
        [again] = settled(relay, task)
        assert (again["status"], len(again["attempts"])) == ("delivered", 2)
        assert said(relay, "deliveries", "retry", again["id"]).out == "1 deliveries made due\n"
        settled(relay, task)
        assert len(receiver.got) == 3 and len(set(receiver.got)) == 1, "the same bytes each time"


@pytest.mark.slow
def test_since_an_instant_only_what_was_made_after_it_is_sent_again(relay: Relay) -> None:
    with receiving() as receiver:
        receiver.answers = [410, 410]
        # One after the other: two ends that are written together are of one instant.
        early, late = (settled(relay, bought(relay, f"{receiver.url}/own"))[0] for _ in range(2))
        made = said_json(relay, "deliveries", "retry", "--since", late["created_at"], "--status", "canceled")
        assert made["count"] == 1
        assert [one["status"] for one in settled(relay, late["task"])] == ["delivered"]
        assert [one["status"] for one in settled(relay, early["task"])] == ["canceled"]


@pytest.mark.slow
def test_what_is_refused_is_told_and_an_endpoint_that_is_gone_is_asked_for_once(relay: Relay) -> None:
    with receiving() as receiver, receiving() as gone:
        gone.answers = [410]
        made = said_json(relay, "endpoints", "create", f"{gone.url}/hook")
        tasks = [bought(relay, f"{receiver.url}/own"), bought(relay, f"{receiver.url}/own")]
        for task in tasks:
            settled(relay, task)
    said(relay, "endpoints", "delete", made["id"])
    ended = said(relay, "deliveries", "retry", "--endpoint", made["id"], "--status", "canceled")
    assert ended.code == 1 and ended.out == "0 deliveries made due\n"
    assert all("409 endpoint_inactive" in line for line in ended.err.splitlines()) and ended.err
    absent = said(relay, "deliveries", "retry", "dlv_" + "0" * 26)
    assert absent.code == 1 and "404 not_found" in absent.err


@pytest.mark.parametrize("arguments", [[], ["dlv_1", "--task", "task_1"], ["--since", "soon"]])
def test_what_is_not_said_clearly_is_not_even_asked_for(relay: Relay, arguments: list[str]) -> None:
    ended = said(relay, "deliveries", "retry", *arguments)
    assert ended.code == 2 and not ended.out
