from __future__ import annotations

import json
import os
import pty
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from service.cli.submit import bid_lines
from service.cli.terminal import USAGE
from tests.service.cli.conftest import Relay
from tests.service.cli.processes import Running, run, run_json

TURBO = ("-p", "cloudsway", "-m", "kling-3.0-turbo")


def everything(terminal: int) -> str:
    """What is written there until its writer ends. It is read meanwhile: a terminal takes 4 KiB that nobody reads."""
    seen = b""
    with suppress(OSError):  # how Linux says that nobody has the other side open
        while more := os.read(terminal, 65536):
            seen += more
    return seen.decode()


def test_waiting_stays_until_it_succeeded_and_tells_every_change_in_a_line(relay: Relay, tmp_path: Path) -> None:
    ended = run("submit", "A paper boat", *TURBO, "--wait", cwd=tmp_path, settings=relay.client)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[0].startswith("task_") and ended.stdout.split()[1] == "succeeded"
    assert "/o/" in ended.stdout
    changes = [line.split()[3].strip(",") for line in ended.stderr.splitlines()]
    assert changes[0] == "queued" and changes[-1] == "succeeded"
    assert len(changes) == len(set(ended.stderr.splitlines()))


@pytest.mark.slow
def test_a_task_that_fails_is_exit_1_with_why(relay: Relay, tmp_path: Path) -> None:
    ended = run("submit", "A boat [sandbox: fail]", *TURBO, "--wait", cwd=tmp_path, settings=relay.client)
    assert ended.returncode == 1
    assert " failed\n" in ended.stdout and "  error " in ended.stdout


def test_without_waiting_it_is_enough_that_it_is_stored(relay: Relay, tmp_path: Path) -> None:
    task = run_json("submit", "A boat", *TURBO, cwd=tmp_path, settings=relay.client)
    assert task["status"] == "queued"


def test_every_option_reaches_the_task(relay: Relay, tmp_path: Path) -> None:
    task = run_json(
        "submit", "A boat", *TURBO,
        "--duration", "10", "--aspect-ratio", "9:16", "--quality", "pro", "--sound",
        "--reference", "order-1", "--metadata", "a=b=c", "--metadata", "order=7", "--deadline", "600",
        cwd=tmp_path, settings=relay.client,
    )  # fmt: skip
    wanted = {"prompt": "A boat", "duration": 10, "aspect_ratio": "9:16", "quality": "pro", "sound": True}
    assert {name: task["input"][name] for name in wanted} == wanted
    assert (task["reference"], task["metadata"]) == ("order-1", {"a": "b=c", "order": "7"})
    again = run("submit", "A boat", *TURBO, "--reference", "order-1", cwd=tmp_path, settings=relay.client)
    assert again.returncode == 1
    assert again.stderr.startswith(f"409 reference_taken  order-1 belongs to {task['id']}")


def test_a_dry_run_shows_each_purchase_and_its_cost_and_makes_none(relay: Relay, tmp_path: Path) -> None:
    fallbacks = ("--fallback", "ulazai/kling-3.0", "--fallback", "ulazai/kling-2.6")
    words = ("submit", "A dry boat", *TURBO, "--dry-run", *fallbacks, "--reference", "dry")
    shown = run(*words, cwd=tmp_path, settings=relay.client)
    assert shown.returncode == 0, shown.stderr
    assert [line for line in shown.stdout.splitlines() if not line.startswith(" ")] == [
        "cloudsway  cloudsway/kling-3.0-turbo  estimated at 4 unit",
        "ulazai  ulazai/kling-3.0  estimated at 100 credit",
        "ulazai  ulazai/kling-2.6  estimated at 55 credit",
        "Nothing was stored, sent or bought.",
    ]
    assert f"  POST {relay.sandbox}/kling30/api/generate/" in shown.stdout.splitlines()
    assert "Authorization: Bearer ****" in shown.stdout and "sandbox-key-of-the-demo" not in shown.stdout
    told = run_json(*words, cwd=tmp_path, settings=relay.client)
    assert (told["object"], told["request"]["body"]["prompt"]) == ("dry_run", "A dry boat")
    listed = run_json("tasks", "list", "--reference", "dry", cwd=tmp_path, settings=relay.client)
    assert listed["data"] == []


def test_a_dry_run_says_why_something_cannot_be_sent_and_that_a_price_is_unknown() -> None:
    cost = {"unit": "credit", "estimated": None, "charged": None, "money": None}
    bid = {"account": "a", "provider": "p", "model": "m", "request": None, "cannot_be_sent": "no path", "cost": cost}
    assert bid_lines({**bid, "fallbacks": []})[:2] == ["a  p/m  cost unknown", "  cannot be sent: no path"]


def test_a_fallback_is_a_provider_and_its_model_and_is_judged_at_once(relay: Relay, tmp_path: Path) -> None:
    wrong = run("submit", "A boat", *TURBO, "--fallback", "ulazai", cwd=tmp_path, settings=relay.client)
    assert (wrong.returncode, wrong.stdout) == (USAGE, "") and "PROVIDER/MODEL" in wrong.stderr
    odd = run("submit", "A boat", *TURBO, "--fallback", "ulazai/kling-9", cwd=tmp_path, settings=relay.client)
    assert odd.returncode == 1 and "422 /fallbacks/0/model" in odd.stderr


def test_a_dry_run_has_nothing_to_wait_for(relay: Relay, tmp_path: Path) -> None:
    ended = run("submit", "A boat", *TURBO, "--dry-run", "--wait", cwd=tmp_path, settings=relay.client)
    assert (ended.returncode, ended.stdout) == (USAGE, "") and "--wait" in ended.stderr


def test_every_fault_is_told_with_its_field_before_anything_is_bought(relay: Relay, tmp_path: Path) -> None:
    ended = run(
        "submit", "A boat", "-p", "cloudsway", "-m", "kling-9", "--deadline", "1", cwd=tmp_path, settings=relay.client
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert {tuple(line.split()[:2]) for line in ended.stderr.splitlines() if line.startswith("422")} >= {
        ("422", "/deadline_seconds")
    }


def test_a_wrong_key_is_told_how_to_make_one(relay: Relay, tmp_path: Path) -> None:
    ended = run("submit", "A boat", *TURBO, cwd=tmp_path, settings=relay.client | {"TASKRELAY_KEY": "trk_nonsense"})
    assert ended.returncode == 1
    assert ended.stderr.startswith("401 unauthorized  ") and "taskrelay keys create" in ended.stderr
    assert "trk_nonsense" not in ended.stderr


def test_interrupting_the_wait_says_that_the_task_goes_on(relay: Relay, tmp_path: Path) -> None:
    with Running.start(
        "submit", "A boat [sandbox: stuck]", *TURBO, "--wait", cwd=tmp_path, settings=relay.client
    ) as waiting:
        waiting.until(lambda line: "processing" in line)
        assert waiting.end(signal.SIGINT) == 130
    assert "goes on without you. Look again with: taskrelay tasks get task_" in waiting.said[-1]


@pytest.mark.slow
def test_a_terminal_gets_a_bar_and_no_lines(relay: Relay, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    settings = relay.client | {"TERM": "xterm-256color"}
    with Running.start("submit", "A boat", *TURBO, "--wait", "--json", cwd=tmp_path, settings=settings) as quiet:
        assert json.loads(quiet.until(lambda line: line.startswith("{")))["status"] == "succeeded"
        assert quiet.wait() == 0
        assert len(quiet.said) == 1
    with Running.start("submit", "A boat", *TURBO, "--wait", cwd=tmp_path, settings=settings, stderr=theirs) as shown:
        os.close(theirs)
        drawn = everything(ours)
        assert shown.wait() == 0
        os.close(ours)
    assert "\x1b[" in drawn and "0:00:0" in drawn
    assert shown.said[0].endswith("succeeded")
