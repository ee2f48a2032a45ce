"""smoke.sh passes against what compose.scale.yaml starts, started without containers: the same commands, roles, Caddyfile and SQL.

Two doors, two workers and a sandbox as processes on PostgreSQL, Caddy in front; then a door and a worker are killed.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import httpx
import pytest

from service.cli.demo.play import settings_for
from service.cli.demo.stage import clean_environment, free_port
from tests import postgres
from tests.deploy.files import DEPLOY, services
from tests.e2e.stack import SHORT_LEASES
from tests.service.cli.processes import Running, run, run_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCALE = services("compose.scale.yaml")


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """`url`: the proxy's; `replicas`: by their name in the compose file, each with its own health's URL."""

    url: str
    key: str
    settings: Mapping[str, str]
    folder: Path
    replicas: Mapping[str, tuple[Running, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server(durable=False) as url:
        yield url


def owned(server: str) -> str:
    """The URL of a database as postgres.sql makes it, of a role that is nothing more than its owner."""
    password = secrets.token_hex(24)
    lines = (DEPLOY / "postgres.sql").read_text(encoding="utf-8").splitlines()
    assert r"\set password `cat /run/secrets/taskrelay_password`" in lines
    text = "\n".join(line for line in lines if line[:1] not in "\\-").replace(":'password'", f"'{password}'")

    async def made() -> None:
        link = await asyncpg.connect(server)
        try:
            for statement in text.split(";"):
                if statement.strip():
                    await link.execute(statement)
        finally:
            await link.close()

    asyncio.run(made())
    return postgres.address(server, "taskrelay").replace("postgresql://postgres:", f"postgresql://taskrelay:{password}")


@pytest.fixture(scope="module")
def scaled(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaled]:
    folder = tmp_path_factory.mktemp("scaled")
    port, doors = free_port(), [free_port(), free_port()]
    with ExitStack() as ending:
        sandbox = ending.enter_context(
            Running.start(*SCALE["sandbox"]["command"][:1], "--port", "0", "--json", cwd=folder)
        )
        settings = settings_for(sandbox.ready()["url"], f"http://127.0.0.1:{port}")
        (folder / "database_url").write_text(owned(server), encoding="utf-8")
        (folder / "secret_keys").write_text(base64.b64encode(secrets.token_bytes(48)).decode(), encoding="ascii")
        del settings["TASKRELAY_DATABASE_URL"], settings["TASKRELAY_SECRET_KEYS"]
        for name, path in SCALE["worker"]["environment"].items():
            settings[name] = path.replace("/run/secrets", str(folder))
        settings |= {**SHORT_LEASES, "TASKRELAY_UNSAFE_TIMING": "1"}
        before = run("serve", "--port", "0", cwd=folder, settings=settings)
        assert (before.returncode, "taskrelay db migrate" in before.stderr + before.stdout) == (1, True)
        migrated = run(*SCALE["migrate"]["command"], cwd=folder, settings=settings)
        assert migrated.returncode == 0, migrated.stderr
        replicas: dict[str, tuple[Running, str]] = {}
        for name, at in (("door-1", doors[0]), ("door-2", doors[1]), ("worker", 0), ("worker 2", 0)):
            command = SCALE[name.split()[0]]["command"]
            replica = Running.start(*command, "--port", str(at), "--json", cwd=folder, settings=settings)
            ending.enter_context(replica)
            replicas[name] = replica, str(replica.ready()["url"])
        made = run_json("keys", "create", "--name", "smoke", "--scope", "tasks,read", cwd=folder, settings=settings)
        ending.enter_context(caddy(port, [f"127.0.0.1:{door}" for door in doors], folder))
        url = f"http://127.0.0.1:{port}"
        yield Scaled(url=url, key=str(made["key"]), settings=settings, folder=folder, replicas=replicas)


@contextmanager
def caddy(port: int, doors: list[str], folder: Path) -> Iterator[None]:
    """The very Caddyfile of the compose file, told by its own variables where everything is."""
    if not shutil.which("caddy"):
        pytest.skip("needs caddy; .ci/tools brings it")
    told = {"RELAY_ADMIN": "off", "RELAY_SITE": f"http://127.0.0.1:{port}", "RELAY_DOORS": " ".join(doors)}
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = ["caddy", "run", "--config", str(DEPLOY / "Caddyfile"), "--adapter", "caddyfile"]
    with Running(
        subprocess.Popen(
            command, env={**clean_environment(), **told, **home}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    ) as running:
        running.until(lambda line: "serving initial configuration" in line)
        yield


def smoke(scaled: Scaled, *words: str, **said: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "TASKRELAY_KEY": scaled.key, "SMOKE_SECONDS": "120", **said}
    return subprocess.run(
        ["sh", str(DEPLOY / "smoke.sh"), scaled.url, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_it_goes_from_submit_by_push_to_the_event_and_a_dry_run_buys_nothing(scaled: Scaled) -> None:
    looked = smoke(scaled)
    assert (looked.returncode, looked.stdout.splitlines()[-1]) == (
        0,
        "PASS  nothing was bought; --buy goes through a task",
    )
    bought = smoke(scaled, "--buy", "--pushed")
    assert bought.returncode == 0, bought.stdout + bought.stderr
    said = bought.stdout.splitlines()
    assert [line for line in said if line.startswith("  ok")][:1] == ["  ok  livez, readyz"]
    assert "  ok  the provider pushed" in said and said[-1].startswith("PASS  submit to event, task_")
    assert scaled.key not in bought.stdout + bought.stderr


def test_every_replica_says_how_it_is_also_one_without_a_door(scaled: Scaled) -> None:
    for name, (_, url) in scaled.replicas.items():
        asked = run("health", "--url", url, cwd=scaled.folder)
        assert asked.returncode == 0, f"{name}: {asked.stderr}"


def test_what_the_outside_has_no_business_with_is_closed(scaled: Scaled) -> None:
    for path, status in (("/docs/problems", "200"), ("/metrics", "404"), ("/", "404")):
        told = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", scaled.url + path],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert told.stdout == status


def test_a_wrong_key_and_a_wrong_model_are_told_as_such(scaled: Scaled) -> None:
    ended = smoke(scaled, TASKRELAY_KEY="trk_none")
    assert (ended.returncode, "FAIL  the key is taken: 401 instead of 200" in ended.stdout) == (1, True)
    ended = smoke(scaled, SMOKE_MODEL="kling-9")
    assert (ended.returncode, "could be sent: 422 instead of 200" in ended.stdout) == (1, True)


class Losing(BaseHTTPRequestHandler):
    """In front of a stack, as a proxy whose door is lost after it was given the request: so many of each kind get no answer of its own."""

    stack: str
    losses: int
    lost: Counter[str]

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def _pass_on(self, body: bytes | None) -> None:
        names = ("Authorization", "Content-Type", "Idempotency-Key")
        headers = {name: self.headers[name] for name in names if name in self.headers}
        answer = httpx.request(self.command, self.stack + self.path, headers=headers, content=body, timeout=75)
        kind = f"{self.command} {self.path.partition('task_')[0]}"
        if self.lost[kind] < self.losses:
            self.lost[kind] += 1
            answer = httpx.Response(502)
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def losing(scaled: Scaled, losses: int) -> Iterator[tuple[Scaled, Counter[str]]]:
    lost: Counter[str] = Counter()
    handler = type("Handler", (Losing,), {"stack": scaled.url, "losses": losses, "lost": lost})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as front:
        threading.Thread(target=front.serve_forever, daemon=True).start()
        yield replace(scaled, url=f"http://127.0.0.1:{front.server_port}"), lost
        front.shutdown()


def tasks_of(scaled: Scaled) -> int:
    answer = httpx.get(f"{scaled.url}/v1/tasks?limit=100", headers={"authorization": f"Bearer {scaled.key}"})
    return len(answer.json()["data"])


def test_a_door_that_is_lost_with_each_kind_of_request_costs_a_second_and_buys_nothing_twice(scaled: Scaled) -> None:
    before = tasks_of(scaled)
    with losing(scaled, 1) as (front, lost):
        ended = smoke(front, "--buy")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "..  POST /v1/tasks: 502, again in 1 s" in ended.stdout and len(lost) >= 6
    assert tasks_of(scaled) == before + 1


def test_doors_that_stay_away_fail_it(scaled: Scaled) -> None:
    with losing(scaled, 99) as (front, lost):
        ended = smoke(front, "--buy")
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (1, "FAIL  the process answers: 502 instead of 200: ")
    assert lost == {"GET /livez": 3}


def test_a_door_and_a_worker_less_it_still_passes(scaled: Scaled) -> None:
    """The last one: what it kills stays dead."""
    for name in ("door-1", "worker"):
        replica, _ = scaled.replicas[name]
        assert replica.end(signal.SIGKILL) == -signal.SIGKILL
    ended = smoke(scaled, "--buy")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name in ("door-2", "worker 2"):
        assert scaled.replicas[name][0].end() == 0
