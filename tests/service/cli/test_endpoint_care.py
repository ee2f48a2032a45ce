from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli import client
from service.cli.endpoint_care import stats_lines
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import Receiver, receiving, said, said_json

OWN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ABSENT = "ep_" + "0" * 26


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as here:
        yield here


@pytest.fixture
def endpoint(relay: Relay, receiver: Receiver) -> Iterator[str]:
    mine = ("--metadata", "of=endpoint-care")  # what other tests' tasks still come to is not sent here
    made = said_json(relay, "endpoints", "create", f"{receiver.url}/hook", *mine)
    yield made["id"]
    said(relay, "endpoints", "delete", made["id"])


def test_a_test_says_whether_the_sample_was_taken(
    relay: Relay, receiver: Receiver, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = said(relay, "endpoints", "test", endpoint, "--type", "endpoint.failing")
    assert ended.code == 0, ended.err
    first, *rest = ended.out.splitlines()
    assert first.split()[1:] == ["delivered", "endpoint.failing"]
    assert any("HTTP 204" in line for line in rest)
    [(path, body)] = receiver.got
    assert path == "/hook" and b'"test":true' in body
    monkeypatch.setattr(client, "WAIT_IN_ALL", 0.0)  # else it waits the six seconds
    too_soon = said(relay, "endpoints", "test", endpoint)
    assert too_soon.code == 1 and too_soon.err.startswith("429 too_soon  ")


def test_a_sample_that_was_refused_is_exit_1(relay: Relay, receiver: Receiver, endpoint: str) -> None:
    receiver.answers = [500]
    ended = said(relay, "endpoints", "test", endpoint)
    assert ended.code == 1 and "HTTP 500" in ended.out and " exhausted " in ended.out.splitlines()[0]


def test_a_type_that_there_is_not_is_refused_by_its_field(relay: Relay, endpoint: str) -> None:
    ended = said(relay, "endpoints", "test", endpoint, "--type", "task.succeded")
    assert ended.code == 1 and ended.err.startswith("422 /type  ") and "task.succeeded" in ended.err


def test_it_is_paused_resumed_and_told_how_it_stands(relay: Relay, endpoint: str) -> None:
    assert said(relay, "endpoints", "pause", endpoint).out.startswith(f"{endpoint}  paused  ")
    assert said_json(relay, "endpoints", "resume", endpoint)["status"] == "active"
    assert said_json(relay, "endpoints", "stats", endpoint)["attempts"] == 0
    assert said(relay, "endpoints", "stats", endpoint).out.startswith(f"{endpoint}  since ")


def test_the_secret_is_shown_when_it_is_asked_for_and_by_nothing_else(
    relay: Relay, endpoint: str, tmp_path: Path
) -> None:
    first = said(relay, "endpoints", "secret", endpoint).out.strip()
    assert first.startswith("whsec_")
    (tmp_path / "mine").write_text(f"{OWN}\n")
    for more in ([], ["--secret-file", str(tmp_path / "mine")]):
        for json in ([], ["--json"]):
            rotated = said(relay, "endpoints", "rotate", endpoint, "--overlap-seconds", "60", *more, *json)
            assert rotated.code == 0 and "whsec_" not in rotated.out + rotated.err
    shown = said_json(relay, "endpoints", "secret", endpoint)
    assert shown["secret"] == OWN and len(shown["retiring"]) == 4
    for command in ("get", "pause", "resume", "stats"):
        for json in ([], ["--json"]):
            assert "whsec_" not in said(relay, "endpoints", command, endpoint, *json).out


def test_what_was_missed_is_sent_and_counted(relay: Relay, receiver: Receiver, endpoint: str) -> None:
    done = said_json(relay, "endpoints", "replay", endpoint, "--since", "1h", "--which", "failed")
    assert (done["which"], done["count"], done["next_since"]) == ("failed", 0, None)
    ended = said(relay, "endpoints", "replay", endpoint, "--since", "2026-01-01T00:00:00Z")
    assert ended.code == 0 and ended.out.startswith(f"{endpoint}  ") and "missing deliveries made due" in ended.out
    wrong = said(relay, "endpoints", "replay", endpoint, "--since", "yesterday")
    assert wrong.code == 2 and "2h, 3d" in wrong.err


@pytest.mark.parametrize("command", ["test", "pause", "resume", "secret", "rotate", "stats", "get", "update", "replay"])
def test_one_that_is_not_there_is_exit_1(relay: Relay, command: str) -> None:
    more = {"update": ["--rate-limit", "3"], "replay": ["--since", "1h"]}.get(command, [])
    ended = said(relay, "endpoints", command, ABSENT, *more)
    assert ended.code == 1 and ended.err.startswith("404 not_found  ")


def test_figures_that_there_are_not_are_left_out() -> None:
    empty = {
        "endpoint": "ep_1", "since": "2026-01-01T00:00:00Z", "attempts": 0, "succeeded": 0, "success_rate": None, "failures": {},
        "duration_ms": {"p50": None, "p95": None}, "backlog": 0, "oldest_pending_at": None, "next_attempt_at": None,
    }  # fmt: skip
    assert stats_lines(empty) == ["ep_1  since 2026-01-01T00:00:00Z", "  attempts   0", "  backlog    0"]
    busy = {**empty, "attempts": 8, "succeeded": 7, "success_rate": 0.875, "failures": {"timeout": 1}}
    assert "  succeeded  7  (87.50%)" in stats_lines(busy) and "  failed     timeout 1" in stats_lines(busy)
