from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from service.cli.demo.play import settings_for
from service.cli.demo.stage import free_port
from service.cli.listen import moment
from service.cli.terminal import USAGE, Stop
from tests.service.cli.conftest import Relay
from tests.service.cli.processes import Running, run, run_json
from tests.service.cli.receiver import Receiver, receiving, status

ORDER = ("submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--wait")


@pytest.mark.parametrize(("said", "age"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("3d", 259_200)])
def test_an_age_is_an_instant_that_long_ago(said: str, age: int) -> None:
    before = datetime.now(UTC)
    at = datetime.fromisoformat(moment(said) or "")
    ago = timedelta(seconds=age)
    assert before - ago - timedelta(seconds=1) < at <= datetime.now(UTC) - ago  # some are told in whole seconds


def test_an_instant_is_taken_as_it_is_and_now_is_none() -> None:
    assert moment("2026-11-20T21:10:00Z") == "2026-11-20T21:10:00Z"
    assert moment("now") is None and moment(None) is None
    assert moment("999999999d") == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("said", ["", "yesterday", "2w", "-1h", "2026-11-20", "2026-11-20T21:10:00", "h"])
def test_what_is_no_time_is_refused_with_what_would_be(said: str) -> None:
    with pytest.raises(Stop, match="--since") as stop:
        moment(said)
    assert stop.value.code == USAGE


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def listen(relay: Relay, to: str, *arguments: str, folder: Path) -> Running:
    settings = relay.client | {"XDG_STATE_HOME": str(folder)}
    return Running.start("listen", "--forward-to", to, *arguments, cwd=relay.folder, settings=settings)


def order(relay: Relay, *arguments: str) -> Any:
    return run_json(*ORDER, *arguments, cwd=relay.folder, settings=relay.client)


def about(receiver: Receiver, task: str) -> list[str]:
    """The types of what came about a task."""
    bodies = [json.loads(body) for _, _, _, body in receiver.came]
    return [body["type"] for body in bodies if body["data"]["id"] == task]


def at_the_second_try(door: BaseHTTPRequestHandler) -> None:
    """It takes each event then, and not at the first."""
    status(500 if door.headers["taskrelay-attempt"] == "1" else 204)(door)


@pytest.mark.slow
def test_events_are_forwarded_signed_and_what_was_missed_is_made_up_for(
    relay: Relay, receiver: Receiver, tmp_path: Path
) -> None:
    with listen(relay, f"{receiver.url}/hooks", folder=tmp_path) as listening:
        listening.until(lambda line: "beginning now" in line)
        [secret] = [line.split()[-1] for line in listening.said if "whsec_" in line]
        first = order(relay, "--reference", "order-8841")
        shown = listening.until(lambda line: "task.succeeded" in line and first["id"] in line)
        assert "order-8841" in shown and "204 in" in shown
        assert listening.end(signal.SIGINT) == 0
        assert "events were taken" in listening.said[-1]
    for _, path, headers, body in receiver.came:
        Webhook(secret).verify(body, headers)
        assert path == "/hooks" and headers["webhook-id"] == json.loads(body)["id"]
    assert about(receiver, first["id"])[-1] == "task.succeeded"
    missed = order(relay)
    with listen(relay, receiver.url, "--json", folder=tmp_path) as listening:
        ready = json.loads(listening.until(lambda line: '"ready"' in line))
        assert ready["secret"] is None and "whsec_" not in str(ready)
        assert "missed meanwhile, forwarding them" in listening.until(lambda line: "resumed after" in line)
        listening.until(lambda line: "task.succeeded" in line and missed["id"] in line)
        assert listening.end() == 0
        assert json.loads(listening.said[-1])["not_taken"] == []
    Webhook(secret).verify(receiver.came[-1][3], receiver.came[-1][2])
    assert about(receiver, missed["id"])[-1] == "task.succeeded"
    ids = [headers["webhook-id"] for _, _, headers, _ in receiver.came]
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_a_receiver_that_is_down_is_tried_again_and_an_event_given_up_is_named(
    relay: Relay, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answer = at_the_second_try
    with listen(relay, receiver.url, "--events", "task.succeeded", "--secret", "project", folder=tmp_path) as listening:
        listening.until(lambda line: "beginning now" in line)
        assert not any("whsec_" in line for line in listening.said)
        task = order(relay)
        assert "500" in listening.until(lambda line: "again in 1 s" in line)
        assert "204" in listening.until(lambda line: "at try 2" in line)
        assert listening.end(signal.SIGINT) == 0
    assert about(receiver, task["id"]) == ["task.succeeded", "task.succeeded"]  # the filter let nothing else through
    with listen(relay, receiver.url, folder=tmp_path) as other:
        other.until(lambda line: "resumed after" in line)
        refused = run(
            "listen",
            "--forward-to",
            receiver.url,
            cwd=relay.folder,
            settings=relay.client | {"XDG_STATE_HOME": str(tmp_path)},
        )
        assert refused.returncode == 1 and "--state" in refused.stderr


@pytest.mark.slow
def test_since_begins_earlier_and_a_place_unknown_there_is_told(
    relay: Relay, receiver: Receiver, tmp_path: Path
) -> None:
    task = order(relay)
    with listen(relay, receiver.url, "--since", "1h", folder=tmp_path) as listening:
        listening.until(lambda line: "task.succeeded" in line and task["id"] in line)
        assert listening.end() == 0
    assert about(receiver, task["id"])[-1] == "task.succeeded"
    [state] = (tmp_path / "taskrelay").glob("*.json")
    state.write_text(state.read_text().replace('"after": "', '"after": "evt_00000000000000000000000000'))
    with listen(relay, receiver.url, folder=tmp_path) as listening:
        assert listening.wait() == 1
        assert "To begin anew: --since" in "\n".join(listening.said)


@pytest.mark.slow
def test_a_server_that_goes_away_is_waited_for_and_nothing_is_missed(receiver: Receiver, tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        sandbox = stack.enter_context(
            Running.start("sandbox", "--port", "0", "--job-seconds", "0.3", "--json", cwd=tmp_path)
        )
        settings = settings_for(sandbox.ready()["url"], f"http://127.0.0.1:{port}")
        serve = ("serve", "--port", str(port), "--json")
        serving = stack.enter_context(Running.start(*serve, cwd=tmp_path, settings=settings))
        url = serving.ready()["url"]
        made = run_json("keys", "create", "--name", "t", "--scope", "tasks", cwd=tmp_path, settings=settings)
        client = {"TASKRELAY_URL": url, "TASKRELAY_KEY": made["key"], "XDG_STATE_HOME": str(tmp_path / "state")}
        relay = Relay(url=url, sandbox="", folder=tmp_path, settings=settings, client=client)
        listening = stack.enter_context(listen(relay, receiver.url, folder=tmp_path))
        tailing = stack.enter_context(Running.start("events", "tail", "--json", cwd=tmp_path, settings=client))
        listening.until(lambda line: "beginning now" in line)
        tailing.until(lambda line: "following" in line)
        assert serving.end() == 0  # with two streams open
        listening.until(lambda line: "connecting again" in line)
        serving = stack.enter_context(Running.start(*serve, cwd=tmp_path, settings=settings))
        serving.ready()
        task = order(relay)
        listening.until(lambda line: "task.succeeded" in line and task["id"] in line)
        tailed = json.loads(tailing.until(lambda line: '"type":"task.succeeded"' in line))
        assert tailed["data"]["id"] == task["id"]
        assert listening.end(signal.SIGINT) == 0 and tailing.end(signal.SIGINT) == 0
        assert any("connected again" in line for line in listening.said)
        feed = run_json("events", "list", "--task", task["id"], cwd=tmp_path, settings=client)["data"]
        assert about(receiver, task["id"]) == [event["type"] for event in feed]
        assert (serving.end(), sandbox.end()) == (0, 0)
