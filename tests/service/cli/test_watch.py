from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from service.cli.client import Api
from service.cli.terminal import FAILED, UNREACHABLE, Stop
from service.cli.watch import Turn
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json
from tests.service.cli.processes import SECONDS, Running
from tests.service.cli.scripted import Reply, Scripted, problem, scripting

SOON = ("--within", "60")  # what never ends is to fail, not to hang
TURBO = ("-p", "cloudsway", "-m", "kling-3.0-turbo")


def finish(relay: Relay, tasks: set[str]) -> None:
    """End the jobs of these tasks, each once it is bought."""
    left, until = set(tasks), time.monotonic() + SECONDS
    while left:
        assert time.monotonic() < until, left
        for job in httpx.get(f"{relay.sandbox}/_sandbox/jobs", trust_env=False, timeout=SECONDS).json():
            if job["external_id"] in left:
                httpx.post(
                    f"{relay.sandbox}/_sandbox/jobs/{job['id']}/finish", trust_env=False, timeout=SECONDS
                ).raise_for_status()
                left.remove(job["external_id"])
        time.sleep(0.02)


def test_tasks_are_watched_until_all_have_ended_and_success_is_exit_0(relay: Relay) -> None:
    orders = [("submit", f"Boat {number} [sandbox: stuck]", *TURBO, "--metadata", "w=all") for number in range(2)]
    ids = {said_json(relay, *order, "--reference", f"watched-{n}")["id"] for n, order in enumerate(orders)}
    watch = ("tasks", "watch", "--metadata", "w=all", *SOON)
    with Running.start(*watch, cwd=relay.folder, settings=relay.client) as watching:
        watching.until(lambda line: "watched-1" in line)  # the younger one: both are watched
        finish(relay, ids)
        assert watching.wait() == 0
    *lines, total = watching.said
    assert total == "2 tasks: 2 succeeded"
    assert {line.split()[1] for line in lines} == ids
    assert any("watched-0" in line for line in lines)


def test_one_that_fails_is_exit_1_and_each_change_is_a_document(relay: Relay) -> None:
    made = said_json(relay, "submit", "Boat [sandbox: fail, seconds=0]", *TURBO, "--reference", "watched-to-fail")
    ended = said(relay, "tasks", "watch", "watched-to-fail", "--json", *SOON)
    *changes, total = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 1
    assert {one["id"] for one in changes} == {made["id"]} and changes[-1]["status"] == "failed"
    assert total == {"ended": "watch", "tasks": 1, "statuses": {"failed": 1}}


def test_what_has_ended_already_is_told_at_once(relay: Relay) -> None:
    made = said_json(relay, "submit", "Boat [sandbox: seconds=0]", *TURBO, "--wait")
    ended = said(relay, "tasks", "watch", made["id"], *SOON)
    assert ended.code == 0 and ended.out.splitlines()[-1] == "1 task: 1 succeeded"


def test_there_is_nothing_to_wait_for_where_nothing_is_open(relay: Relay) -> None:
    ended = said(relay, "tasks", "watch", "--metadata", "nobody=has-this")
    assert (ended.code, ended.out) == (0, "no task is open\n")


def test_names_and_filters_do_not_go_together(relay: Relay) -> None:
    ended = said(relay, "tasks", "watch", "order-1", "--provider", "ulazai")
    assert ended.code == 2 and "not both" in ended.err


class Told:
    """A screen that remembers."""

    live = False

    def __init__(self) -> None:
        self.statuses: list[str] = []

    def tell(self, task: Mapping[str, Any]) -> None:
        self.statuses.append(task["status"])

    def sum_up(self) -> None:
        raise AssertionError("the turn does not")


def document(body: object) -> Reply:
    return 200, {}, json.dumps(body).encode()


def task(status: str, sequence: int) -> dict[str, Any]:
    return {"id": "task_" + "0" * 26, "status": status, "sequence": sequence, "created_at": "2026-01-01T00:00:00Z"}


def feed(*tasks: dict[str, Any]) -> Reply:
    return document({"data": [{"data": one} for one in tasks], "has_more": False, "next": "p2"})


def turn(scripted: Scripted, *answers: Reply, until: float | None = None) -> tuple[Turn, Told, list[float]]:
    """A turn that watches one task, before whatever the feed answers next."""
    rest, waited = [document({"data": [], "next": "p1"}), document(task("processing", 2)), *answers], list[float]()
    scripted.answer = lambda: rest.pop(0)
    api = Api(scripted.url, "trk_x", pause=waited.append)
    return Turn(api=api, until=until, pause=waited.append, clock=lambda: 100.0), Told(), waited


def test_the_place_in_the_feed_is_taken_before_the_tasks_so_that_nothing_falls_between() -> None:
    with scripting() as scripted:
        watching, told, _ = turn(scripted, feed(task("succeeded", 3)))
        with watching.api:
            watching.begin(["task_" + "0" * 26], {})
            watching.follow(told)
    assert [path.partition("?")[0] for _, path, _, _ in scripted.asked] == [
        "/v1/events",
        "/v1/tasks/task_" + "0" * 26,
        "/v1/events",
    ]
    assert "after=p1" in scripted.asked[2][1] and told.statuses == ["processing", "succeeded"]


def test_older_news_than_what_is_known_and_news_of_others_change_nothing() -> None:
    other = {**task("failed", 9), "id": "task_other"}
    with scripting() as scripted:
        watching, told, _ = turn(scripted, feed(task("queued", 1), other), feed(task("succeeded", 3)))
        with watching.api:
            watching.begin(["task_" + "0" * 26], {})
            watching.follow(told)
    assert told.statuses == ["processing", "succeeded"] and list(watching.tasks) == ["task_" + "0" * 26]


def test_a_service_that_goes_away_is_waited_for_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    away = [None] * 3 + [problem(503, code="unavailable", detail="Stopping.")] * 3
    with scripting() as scripted:
        watching, told, waited = turn(scripted, *away, feed(task("succeeded", 3)))
        with watching.api:
            watching.begin(["task_" + "0" * 26], {})
            watching.follow(told)
    assert told.statuses[-1] == "succeeded" and waited == [2.0, 1.0, 1.0, 2.0]
    assert "gave no answer" in capsys.readouterr().err


def test_a_refusal_ends_it() -> None:
    with scripting() as scripted:
        watching, told, _ = turn(scripted, problem(401, code="unauthorized"))
        with watching.api, pytest.raises(Stop, match="401 unauthorized"):
            watching.begin(["task_" + "0" * 26], {})
            watching.follow(told)


def test_nobody_there_at_the_beginning_is_exit_3() -> None:
    assert said(None, "tasks", "watch", "--url", "http://127.0.0.1:1").code == UNREACHABLE


def test_it_gives_up_when_the_time_is_over() -> None:
    with scripting() as scripted:
        watching, told, _ = turn(scripted, until=99.0)
        with watching.api, pytest.raises(Stop) as stop:
            watching.begin(["task_" + "0" * 26], {})
            watching.follow(told)
    assert (stop.value.code, stop.value.text) == (FAILED, "1 of 1 tasks have not ended within the time given")
