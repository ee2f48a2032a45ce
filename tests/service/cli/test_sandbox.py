from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.service.cli.processes import Running, run


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=10)


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
        }
        assert httpx.post(facts["control"]["reset"], trust_env=False).status_code == 204
        assert sandbox.end(number) == 0


def test_its_options_are_its_knobs(tmp_path: Path) -> None:
    with Running.start("sandbox", "--port", "0", "--job-seconds", "7.5", "--json", cwd=tmp_path) as sandbox:
        assert get(sandbox.ready()["control"]["knobs"]).json()["job_seconds"] == 7.5
    with Running.start("sandbox", "--port", "0", "--by-hand", "--json", cwd=tmp_path) as sandbox:
        assert get(sandbox.ready()["control"]["knobs"]).json()["job_seconds"] is None


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
        httpx.post(f"{facts['url']}/events", content=b"{}", trust_env=False)
        assert [(event["path"], event["valid"]) for event in get(facts["received"]).json()] == [("/events", False)]
        assert subscriber.end() == 0


def test_a_secret_that_is_none_is_refused_without_repeating_it(tmp_path: Path) -> None:
    ended = run("subscriber", "--port", "0", cwd=tmp_path, settings={"SUBSCRIBER_SECRET": "whsec_"})
    assert ended.returncode == 1 and "whsec_ and base64" in ended.stderr
