from __future__ import annotations

import http.client
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from service.cli.demo.play import settings_for
from service.cli.demo.stage import free_port
from tests.service.cli.processes import SECONDS, Running, run, run_json

pytestmark = pytest.mark.slow  # processes, each with its start

SERVE = ("serve", "--port", "0", "--json")
LOOPBACK = {"TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8", "TASKRELAY_EGRESS__PORTS": "*"}


class Slow:
    """A subscriber that answers only when it is let."""

    def __init__(self) -> None:
        self.asked, self.may_answer = threading.Event(), threading.Event()
        slow = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                slow.asked.set()
                slow.may_answer.wait(SECONDS)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def slow() -> Iterator[Slow]:
    found = Slow()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.may_answer.set()
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "taskrelay.db")) as raw:
        return raw.execute(sql).fetchall()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_on_the_port_it_names_and_a_signal_ends_it_with_0(number: int, tmp_path: Path) -> None:
    with Running.start(*SERVE, cwd=tmp_path) as serving:
        facts = serving.ready()
        assert facts["pid"] == serving.popen.pid
        assert facts["database"] == "sqlite:///taskrelay.db" and facts["durability"] == "synchronous=FULL"
        assert facts["roles"] == ["api", "work"]
        assert httpx.get(f"{facts['url']}/livez", trust_env=False, timeout=SECONDS).status_code == 200
        assert serving.end(number) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{facts['url']}/livez", trust_env=False, timeout=SECONDS)


def test_what_is_in_flight_is_finished_and_lanes_are_given_back_however_often_it_is_told(
    tmp_path: Path, slow: Slow
) -> None:
    with Running.start("sandbox", "--port", "0", "--job-seconds", "0", "--json", cwd=tmp_path) as sandbox:
        port = free_port()
        settings = settings_for(sandbox.ready()["url"], f"http://127.0.0.1:{port}")
        key = run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path, settings=settings)["key"]
        with Running.start("serve", "--port", str(port), "--json", cwd=tmp_path, settings=settings) as serving:
            client = {"TASKRELAY_URL": serving.ready()["url"], "TASKRELAY_KEY": key}
            run_json(
                "submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--webhook-url", slow.url,
                cwd=tmp_path, settings=client,
            )  # fmt: skip
            assert slow.asked.wait(SECONDS)
            serving.send(signal.SIGTERM)
            serving.until(lambda line: "stopping" in line)
            serving.send(signal.SIGTERM)
            serving.send(signal.SIGINT)
            assert rows(tmp_path, "SELECT status FROM deliveries") == [("pending",)]
            assert serving.popen.poll() is None
            slow.may_answer.set()
            assert serving.wait() == 0
    assert rows(tmp_path, "SELECT status FROM deliveries") == [("delivered",)]
    assert rows(tmp_path, "SELECT count(*) FROM lanes") != [(0,)]
    assert rows(tmp_path, "SELECT key FROM lanes WHERE owner IS NOT NULL") == []


def test_a_request_that_waits_is_answered_when_it_stops(tmp_path: Path) -> None:
    with Running.start("sandbox", "--port", "0", "--by-hand", "--json", cwd=tmp_path) as sandbox:
        port = free_port()
        settings = settings_for(sandbox.ready()["url"], f"http://127.0.0.1:{port}")
        key = run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path, settings=settings)["key"]
        with Running.start("serve", "--port", str(port), "--json", cwd=tmp_path, settings=settings) as serving:
            url = serving.ready()["url"]
            client = {"TASKRELAY_URL": url, "TASKRELAY_KEY": key}
            task = run_json(
                "submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", cwd=tmp_path, settings=client
            )
            waiting = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
            waiting.request("GET", f"/v1/tasks/{task['id']}?wait=60", headers={"authorization": f"Bearer {key}"})
            # Connections are taken in order: once a later one is answered, the waiting one has arrived.
            assert httpx.get(f"{url}/livez", trust_env=False, timeout=SECONDS).status_code == 200
            assert serving.end() == 0
            assert waiting.getresponse().status == 200
            waiting.close()


def test_a_second_process_on_the_same_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with Running.start(*SERVE, cwd=tmp_path) as serving:
        pid = serving.ready()["pid"]
        refused = run(*SERVE, cwd=tmp_path)
        assert refused.returncode == 1
        assert json.loads(refused.stderr)["error"]["detail"] == (
            f"serve: taskrelay.db is served by process {pid}. One process per SQLite file; for replicas use PostgreSQL"
        )
        assert serving.end() == 0
    with Running.start(*SERVE, cwd=tmp_path) as successor:
        successor.ready()
        assert successor.end() == 0


def test_a_taken_port_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run("serve", "--port", str(port), cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"serve: cannot listen on 127.0.0.1:{port}: address already in use. ")
    assert len(refused.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_every_mistake_in_the_settings_is_told_at_once(tmp_path: Path) -> None:
    wrong = {
        "TASKRELAY_LOG_LEVEL": "loud",
        "TASKRELAY_SECRET_KEYS": "short",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__RATE": "fast",
    }
    refused = run("serve", cwd=tmp_path, settings=wrong)
    assert refused.returncode == 1
    assert [name for name in wrong if name not in refused.stderr] == []


def test_an_account_that_cannot_work_is_told_before_anything_is_served(tmp_path: Path) -> None:
    refused = run("serve", "--port", "0", cwd=tmp_path, settings={"TASKRELAY_ACCOUNTS__CLOUDSWAY__RATE": "5/s"})
    assert refused.returncode == 1
    assert refused.stderr.startswith("serve: TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY is not set")


def test_a_first_start_says_what_it_made_and_what_is_missing(tmp_path: Path) -> None:
    admin = tmp_path / "taskrelay.admin-key"
    with Running.start(*SERVE, cwd=tmp_path) as serving:
        url, key = serving.ready()["url"], admin.read_text().strip()
        answer = httpx.get(
            f"{url}/v1/keys", headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=SECONDS
        )
        assert [one["scopes"] for one in answer.json()["data"]] == [["admin"]]
        assert serving.end() == 0
    said = "\n".join(serving.said)
    assert f"first start: {admin} (0600)" in said and admin.stat().st_mode & 0o777 == 0o600
    assert key not in said and key[4:] not in said
    secret = tmp_path / "taskrelay.secret"
    assert f"made {secret}" in said and secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() not in said
    assert "TASKRELAY_PUBLIC_URL is not set: providers cannot push, so every task is polled" in said
    with Running.start(*SERVE, cwd=tmp_path) as again:
        again.ready()
        assert again.end() == 0
    assert f"{admin} still holds the key of the first start" in "\n".join(again.said)
    assert f"made {secret}" not in "\n".join(again.said)
    assert admin.read_text().strip() == key


def test_where_somebody_made_a_key_before_the_first_start_makes_none(tmp_path: Path) -> None:
    run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path)
    with Running.start(*SERVE, cwd=tmp_path) as serving:
        serving.ready()
        assert serving.end() == 0
    assert "API key" not in "\n".join(serving.said) and "first start" not in "\n".join(serving.said)
    assert not (tmp_path / "taskrelay.admin-key").exists()


def test_with_postgresql_and_no_keys_it_refuses_and_makes_none(tmp_path: Path) -> None:
    refused = run(*SERVE, cwd=tmp_path, settings={"TASKRELAY_DATABASE_URL": "postgresql://127.0.0.1:1/relay"})
    assert refused.returncode == 1
    assert json.loads(refused.stderr)["error"]["detail"] == (
        "serve: TASKRELAY_SECRET_KEYS is not set. Replicas must share it; make one with: openssl rand -base64 48"
    )  # and not that nobody listens there: it was not tried
    assert list(tmp_path.iterdir()) == []


def test_a_worker_answers_for_its_health_alone_and_an_api_has_no_lanes(tmp_path: Path) -> None:
    with Running.start(*SERVE, "--roles", "work", cwd=tmp_path) as worker:
        facts = worker.ready()
        assert facts["roles"] == ["work"]
        asked = {
            path: httpx.get(f"{facts['url']}{path}", trust_env=False, timeout=SECONDS).status_code
            for path in ("/livez", "/readyz", "/v1/tasks", "/callbacks/cloudsway/token", "/", "/metrics")
        }
        assert asked == {
            "/livez": 200, "/readyz": 200, "/v1/tasks": 404, "/callbacks/cloudsway/token": 404, "/": 404, "/metrics": 401,
        }  # fmt: skip
        assert worker.end() == 0
    with Running.start(*SERVE, "--roles", "api", cwd=tmp_path) as api:
        assert api.ready()["roles"] == ["api"]
        assert api.end() == 0
    assert run("serve", "--roles", "cook", cwd=tmp_path).returncode == 1


def test_a_person_at_a_terminal_reads_lines_and_no_json_and_the_first_key_once(tmp_path: Path) -> None:
    lines = at_a_terminal(tmp_path)
    assert lines[0].startswith("serve: made ")
    assert "shown once" in lines[1] and re.fullmatch(r" *trk_[A-Za-z0-9_-]{32}", lines[2])
    assert lines[4].startswith("serve: http://127.0.0.1:") and "synchronous=FULL" in lines[4]
    assert not any(line.startswith("{") for line in lines)
    assert not (tmp_path / "taskrelay.admin-key").exists()


def test_on_postgresql_with_nobody_looking_a_line_says_which_command_makes_the_first_key(
    tmp_path: Path, server_url: str
) -> None:
    settings = {"TASKRELAY_DATABASE_URL": server_url, "TASKRELAY_SECRET_KEYS": "0642d3a7b5e1c8f9" * 2}
    assert run("db", "migrate", cwd=tmp_path, settings=settings).returncode == 0
    with Running.start(*SERVE, cwd=tmp_path, settings=settings) as serving:
        serving.until(lambda line: "there is no API key yet" in line)
        assert serving.end() == 0
    assert "taskrelay keys create --name admin --scope admin" in "\n".join(serving.said)
    assert list(tmp_path.iterdir()) == []
    assert run_json("keys", "list", cwd=tmp_path, settings=settings)["data"] == []


def test_the_first_key_is_not_shown_again(tmp_path: Path) -> None:
    at_a_terminal(tmp_path)
    again = at_a_terminal(tmp_path)
    assert again[0].startswith("serve: http://127.0.0.1:") and "trk_" not in "".join(again)


def at_a_terminal(folder: Path) -> list[str]:
    """The lines of a start there."""
    ours, theirs = pty.openpty()
    with Running.start("serve", "--port", "0", cwd=folder, stderr=theirs) as serving:
        os.close(theirs)
        seen = b""
        while b"PUBLIC_URL is not set" not in seen:
            seen += os.read(ours, 4096)
        assert serving.end() == 0
        os.close(ours)
        assert serving.said == []
    return seen.decode().splitlines()


def test_links_carry_the_real_port_when_a_free_one_was_taken(tmp_path: Path) -> None:
    with Running.start("sandbox", "--port", "0", "--json", cwd=tmp_path) as sandbox:
        settings = settings_for(sandbox.ready()["url"], "http://127.0.0.1:1")
        del settings["TASKRELAY_PUBLIC_URL"]
        key = run_json("keys", "create", "--name", "me", "--scope", "tasks", cwd=tmp_path, settings=settings)["key"]
        with Running.start(*SERVE, cwd=tmp_path, settings=settings) as serving:
            facts = serving.ready()
            assert facts["callbacks"] == {"cloudsway": "polled", "ulazai": "polled"}
            client = {"TASKRELAY_URL": facts["url"], "TASKRELAY_KEY": key}
            task = run_json("submit", "A boat", "-p", "ulazai", "-m", "kling-3.0", cwd=tmp_path, settings=client)
            assert task["links"]["self"] == f"{facts['url']}/v1/tasks/{task['id']}"
            assert serving.end() == 0
