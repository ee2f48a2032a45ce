from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from service.cli.app import app
from service.sandbox.accounts import label
from tests.service.cli.processes import SECONDS, Running, run

pytestmark = pytest.mark.slow  # processes, each with its start


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_sandbox_names_its_doors_and_ends_when_told(number: int, tmp_path: Path) -> None:
    with Running.start("sandbox", "--port", "0", "--json", cwd=tmp_path) as sandbox:
        facts = sandbox.ready()
        assert facts["ready"] == "sandbox" and facts["pid"] == sandbox.popen.pid
        assert {name: get(url).status_code for name, url in facts["control"].items() if name != "reset"} == {
            "ledger": 200,
            "jobs": 200,
            "requests": 200,
            "script": 200,
            "knobs": 200,
            "rules": 200,
            "accounts": 200,
        }
        assert facts["speaks"] == ["cloudsway", "ulazai", "ulazai-2.6", "acedata", "apiinone"]
        assert httpx.post(facts["control"]["reset"], trust_env=False, timeout=SECONDS).status_code == 204
        assert sandbox.end(number) == 0


def test_its_options_are_its_knobs(tmp_path: Path) -> None:
    with Running.start("sandbox", "--port", "0", "--job-seconds", "7.5", "--json", cwd=tmp_path) as sandbox:
        assert get(sandbox.ready()["control"]["knobs"]).json()["job_seconds"] == 7.5
    with Running.start("sandbox", "--port", "0", "--by-hand", "--json", cwd=tmp_path) as sandbox:
        assert get(sandbox.ready()["control"]["knobs"]).json()["job_seconds"] is None


def test_its_limits_and_faults_are_for_all_or_for_one_contract_or_key(tmp_path: Path) -> None:
    options = ["--credits", "500", "--credits", "acedata@broke:0", "--concurrency", "ulazai:2", "--rate", "1/s"]
    options += [
        "--query-rate",
        "@slow:3/m",
        "--faults",
        "no-push",
        "--faults",
        "apiinone:fail",
        "--query-faults",
        "garbage",
    ]
    options += ["--apiinone-replies", "early"]
    with Running.start("sandbox", "--port", "0", *options, "--json", cwd=tmp_path) as sandbox:
        doors = sandbox.ready()["control"]
        knobs = get(doors["knobs"]).json()
        assert {name: knobs[name] for name in ("credits", "rate", "faults", "query_faults", "apiinone_replies")} == {
            "credits": 500,
            "rate": "1/s",
            "faults": "no-push",
            "query_faults": "garbage",
            "apiinone_replies": "early",
        }
        rules = {(rule.pop("contract"), rule.pop("key")): rule for rule in get(doors["rules"]).json()}
        assert rules == {
            ("acedata", label("broke")): {"credits": 0},
            ("ulazai", None): {"concurrency_limit": 2},
            (None, label("slow")): {"query_rate": "3/m"},
            ("apiinone", None): {"faults": "fail"},
        }


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--credits", "much", "credits"),
        ("--concurrency", "acedata:-1", "concurrency_limit"),
        ("--rate", "1", "1/s"),
        ("--faults", "no-pusch", "no-pusch"),
        ("--faults", "kling:fail", "cloudsway"),
        ("--apiinone-replies", "latest", "apiinone_replies"),
        ("--webhook-secret", "whsec_", "webhook_secret"),
    ],
)
def test_a_switch_it_does_not_understand_ends_it_with_one_line(
    option: str, value: str, named: str, tmp_path: Path
) -> None:
    ended = run("sandbox", "--port", "0", option, value, cwd=tmp_path)
    assert ended.returncode == 1 and named in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_every_request_is_written_to_the_log_without_its_key(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    with Running.start("sandbox", "--port", "0", "--log-requests", str(log), "--json", cwd=tmp_path) as sandbox:
        url = sandbox.ready()["url"] + "/kling/videos"
        body = {"action": "text2video", "callback_url": "https://us.example.org/callbacks/acedata/hush-hush-token"}
        httpx.post(url, json=body, headers={"authorization": "Bearer hush-hush-key"}, trust_env=False, timeout=SECONDS)
        assert sandbox.end() == 0
    [line] = log.read_text().splitlines()
    seen = json.loads(line)
    assert (seen["path"], seen["status"], seen["contract"]) == ("/kling/videos", 400, "acedata")
    assert json.loads(seen["body"])["callback_url"] == "https://us.example.org/***"
    assert "hush-hush" not in line
    assert log.stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    ended = run("sandbox", "--port", "0", "--log-requests", str(tmp_path / "no" / "where"), cwd=tmp_path)
    assert ended.returncode == 1 and "cannot write" in ended.stderr


def test_its_own_key_is_never_told(tmp_path: Path) -> None:
    with Running.start(
        "sandbox", "--port", "0", "--json", cwd=tmp_path, settings={"SANDBOX_API_KEY": "hush-hush"}
    ) as sandbox:
        assert get(sandbox.ready()["control"]["knobs"]).json()["api_key"] == "set"
        assert sandbox.end() == 0
        assert "hush-hush" not in "\n".join(sandbox.said)


def test_a_person_reads_what_to_set_and_where_to_look(tmp_path: Path) -> None:
    with Running.start("sandbox", "--port", "0", cwd=tmp_path) as sandbox:
        sandbox.until(lambda line: "nothing is paid" in line)
        assert "BASE_URL=http://127.0.0.1:" in sandbox.until(lambda line: "to use it" in line)
        assert sandbox.until(lambda line: "ledger" in line).endswith("/_sandbox/ledger")
        sandbox.end()


@pytest.mark.parametrize("command", ["sandbox", "subscriber"])
def test_a_taken_port_is_one_line_with_the_way_out(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(command, "--port", str(port), cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{command}: cannot listen on 127.0.0.1:{port}: ")
    assert "--port 0" in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_the_subscriber_keeps_what_it_receives(tmp_path: Path) -> None:
    with Running.start("subscriber", "--port", "0", "--json", cwd=tmp_path) as subscriber:
        facts = subscriber.ready()
        httpx.post(f"{facts['url']}/events", content=b"{}", trust_env=False, timeout=SECONDS)
        assert [(event["path"], event["valid"]) for event in get(facts["received"]).json()] == [("/events", False)]
        assert subscriber.end() == 0


def test_a_secret_that_is_none_is_refused_without_repeating_it(tmp_path: Path) -> None:
    ended = run("subscriber", "--port", "0", cwd=tmp_path, settings={"SUBSCRIBER_SECRET": "whsec_"})
    assert ended.returncode == 1 and "whsec_ and base64" in ended.stderr


def test_it_misbehaves_as_a_subscriber_too_when_asked(tmp_path: Path) -> None:
    with Running.start("sandbox", "--port", "0", "--hostile", "0", "--json", cwd=tmp_path) as sandbox:
        cases = sandbox.ready()["hostile"]
        assert httpx.post(cases["gone"], trust_env=False, timeout=SECONDS).status_code == 410
        assert {"silent", "refuse", "tls-expired"} <= set(cases)
        assert sandbox.end() == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("sandbox", "--port", "0", "--hostile", str(taken.getsockname()[1]), cwd=tmp_path)
    assert ended.returncode == 1 and "--hostile 0" in ended.stderr
    with Running.start("sandbox", "--port", "0", "--hostile", "0", cwd=tmp_path) as sandbox:
        assert "/CASE" in sandbox.until(lambda line: "hostile" in line)
        assert "https://" in sandbox.until(lambda line: "tls-expired" in line)
        sandbox.end()


def test_help_shows_how_a_prompt_orders_misbehaviour() -> None:
    """What stands in brackets is markup to whoever prints help, unless it is escaped."""
    assert "[sandbox: no-push" in CliRunner().invoke(app, ["sandbox", "--help"]).output
