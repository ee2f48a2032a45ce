"""One release follows another on PostgreSQL with nobody noticing: old and new side by side after `db migrate`, and back again.

There is no second release yet, so one is made: the tree with another version and one more migration, which expands the schema.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import __version__
from service.cli.demo.stage import free_port
from service.sandbox.jobs import Knobs
from service.sandbox.serve import serve
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from storage import migrate
from tests import postgres
from tests.chaos.balancer import Balancer
from tests.e2e.stack import COMMAND, PATIENCE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(900)]

ROOT = Path(__file__).parent.parent.parent
NEWEST = migrate.migrations()[-1][0]
CLIENTS = 6
LOAD = 40  # deliveries in each stage, of tasks that are ordered meanwhile
EXPAND = """\
-- A column that the release before leaves NULL, and an index of it.
-- oldest code: {oldest}

ALTER TABLE tasks ADD COLUMN shade TEXT;
CREATE INDEX tasks_by_shade ON tasks (project_id, shade) WHERE shade IS NOT NULL;
"""


def release(folder: Path, version: str, *migrations: str) -> dict[str, str]:
    """A release of this tree in the folder, which nobody edits. Returns the environment to run it in."""
    for package in ("service", "storage"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    front = folder / "service" / "__init__.py"
    text = front.read_text(encoding="utf-8")
    assert __version__ in text
    front.write_text(text.replace(__version__, version), encoding="utf-8")
    for number, migration in enumerate(migrations, NEWEST + 1):
        (folder / "storage" / "migrations" / f"{number:04}_later.sql").write_text(migration, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


class Ground:
    """A database, a provider, a subscriber, and two places for replicas behind a balancer."""

    def __init__(self, folder: Path, settings: dict[str, str], ports: Sequence[int], balancer: Balancer) -> None:
        self.folder = folder
        self.settings = settings
        self.ports = ports
        self.balancer = balancer
        self.running: dict[int, asyncio.subprocess.Process] = {}
        self.key = ""

    def environment(self, code: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKRELAY_")}
        return {**kept, **self.settings, **code}

    async def command(self, code: dict[str, str], *arguments: str) -> tuple[int, str, str]:
        ran = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            cwd=self.folder,
            env=self.environment(code),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await ran.communicate()
        return ran.returncode or 0, out.decode(), err.decode()

    async def document(self, code: dict[str, str], *arguments: str) -> Any:
        status, out, err = await self.command(code, *arguments, "--json")
        assert status == 0, err
        return json.loads(out)

    async def start(self, place: int, code: dict[str, str]) -> None:
        """Put a replica of that release into the place, and wait until the balancer has it."""
        with open(self.folder / "service.log", "ab") as log:  # noqa: ASYNC230 (a test's log)
            self.running[place] = await asyncio.create_subprocess_exec(
                *COMMAND,
                *("serve", "--host", "127.0.0.1", "--port", str(self.ports[place])),
                cwd=self.folder,
                env=self.environment(code),
                stdout=log,
                stderr=log,
            )
        await self.balancer.until_ready([place])

    async def replace(self, place: int, code: dict[str, str]) -> None:
        self.running[place].terminate()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await self.running[place].wait() == 0
        await self.start(place, code)

    async def end(self) -> None:
        for running in self.running.values():
            if running.returncode is None:
                running.kill()
            await running.wait()


@asynccontextmanager
async def ground(folder: Path, first: dict[str, str], world: World, subscriber: Subscriber) -> AsyncIterator[Ground]:
    ports = [free_port(), free_port()]
    async with AsyncExitStack() as ending:
        server = ending.enter_context(postgres.server(durable=False))
        provider = await ending.enter_async_context(await serve(world))
        receiver = await ending.enter_async_context(await serve(subscriber))
        balancer = await ending.enter_async_context(Balancer(ports))
        settings = {
            "TASKRELAY_DATABASE_URL": await postgres.database(server, "taskrelay_rolling"),
            "TASKRELAY_SECRET_KEYS": secrets.token_hex(32),
            "TASKRELAY_PUBLIC_URL": balancer.url,
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL": provider.url,
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": "sandbox",
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "sandbox",
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__EXPECTED_SECONDS": "2",
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__RATE": "200/s",
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__MAX_OPEN_TASKS": "1000",
            "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
            "TASKRELAY_EGRESS__PORTS": "*",
        }
        made = Ground(folder, settings, ports, balancer)
        ending.push_async_callback(made.end)
        made.key = (await made.document(first, "keys", "create", "--name", "test", "--scope", "admin"))["key"]
        await made.start(0, first)
        await made.start(1, first)
        async with client(made) as http:
            reply = await http.post("/v1/endpoints", json={"url": f"{receiver.url}/hook"})
            subscriber.trust([reply.json()["secret"]])
        yield made


def client(made: Ground) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {made.key}"}
    return httpx.AsyncClient(base_url=made.balancer.url, headers=headers, timeout=30)


async def order(made: Ground, name: str, seen: Counter[int], tasks: list[str], stop: asyncio.Event) -> None:
    """A client that orders and looks, again and again."""
    async with client(made) as http:
        number = 0
        while not stop.is_set():
            number += 1
            body = {
                "provider": "cloudsway",
                "model": "kling-3.0-turbo",
                "input": {"prompt": f"{name} {number}"},
                "reference": f"{name}-{number}",
            }
            reply = await http.post("/v1/tasks", json=body)
            seen[reply.status_code] += 1
            if reply.status_code == 202:
                tasks.append(reply.json()["id"])
                seen[(await http.get(f"/v1/tasks/{tasks[-1]}")).status_code] += 1
            await asyncio.sleep(0.1)


async def load(subscriber: Subscriber) -> None:
    """So much arrives from now on. Counted and not timed: a slow machine takes longer for the same."""
    wanted = len(subscriber.received) + LOAD
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(subscriber.received) < wanted:  # noqa: ASYNC110 (the subscriber is looked at from outside)
            await asyncio.sleep(0.05)


def releases(subscriber: Subscriber, since: int) -> set[str]:
    """Which releases delivered since then, as they name themselves."""
    later = list(subscriber.received)[since:]
    return {found[1] for one in later if (found := re.match(r"taskrelay/(\S+)", one.headers["user-agent"])) is not None}


async def test_one_release_follows_another_under_load_and_goes_back(tmp_path: Path) -> None:
    world, subscriber = World(Knobs(job_seconds=0.4, unique_external_id=False)), Subscriber()
    now = release(tmp_path / "now", __version__)
    later = release(tmp_path / "later", "9.9.9", EXPAND.format(oldest=NEWEST))
    async with ground(tmp_path, now, world, subscriber) as made:
        seen, tasks, stop = Counter[int](), list[str](), asyncio.Event()
        clients = [asyncio.create_task(order(made, f"client{n}", seen, tasks, stop)) for n in range(CLIENTS)]
        await load(subscriber)  # only the old one
        applied = await made.document(later, "db", "migrate")
        assert applied["applied"] == [f"{NEWEST + 1:04}_later"]
        await load(subscriber)  # the old one on the new schema
        await made.replace(1, later)
        since = len(subscriber.received)
        await load(subscriber)  # both
        await made.replace(0, later)
        alone = len(subscriber.received)
        await load(subscriber)  # only the new one
        assert releases(subscriber, alone) == {"9.9.9"}
        await made.replace(0, now)
        await load(subscriber)  # both
        await made.replace(1, now)
        back = len(subscriber.received)
        await load(subscriber)  # only the old one
        assert releases(subscriber, back) == {__version__}
        assert releases(subscriber, since) == {__version__, "9.9.9"}
        stop.set()
        await asyncio.gather(*clients)
        await everything_told(made, subscriber, tasks)
        assert (set(seen), dict(made.balancer.trouble)) == ({202, 200}, {})
        bought = Counter(job.prompt for job in world.jobs.values())
        assert (len(bought), max(bought.values())) == (len(tasks), 1)
        async with client(made) as http:
            for state in ("exhausted", "quarantined", "canceled", "pending"):
                assert (await http.get("/v1/deliveries", params={"status": state})).json()["data"] == []
        made.settings |= {"TASKRELAY_URL": made.balancer.url, "TASKRELAY_KEY": made.key}
        for code in (now, later):
            assert (await made.document(code, "audit"))["counts"]["unexplained"] == 0
            assert (await made.document(code, "db", "replay"))["differing"] == 0
        await one_too_new(made, now, tmp_path)


async def everything_told(made: Ground, subscriber: Subscriber, tasks: Sequence[str]) -> None:
    """Every task ended well, and each end arrived at the first attempt, once."""

    def told() -> Counter[str]:
        return Counter(json.loads(one.body)["data"]["id"] for one in subscriber.received)

    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(told()) < len(tasks):  # noqa: ASYNC110 (the subscriber is looked at from outside)
            await asyncio.sleep(0.05)
    assert set(told()) == set(tasks)
    assert {json.loads(one.body)["type"] for one in subscriber.received} == {"task.succeeded"}
    assert {(one.valid, one.status) for one in subscriber.received} == {(True, 204)}
    assert max(told().values()) == 1


async def one_too_new(made: Ground, now: dict[str, str], folder: Path) -> None:
    """Two releases on, the one before the last is refused in words, whatever it is asked."""
    contract = f"-- oldest code: {NEWEST + 1}\nDROP INDEX tasks_by_shade;\n"
    last = release(folder / "last", "9.9.10", EXPAND.format(oldest=NEWEST), contract)
    await made.document(last, "db", "migrate")
    for command in (("serve", "--port", "0"), ("db", "replay")):
        status, _, err = await made.command(now, *command)
        assert (status, f"schema {NEWEST + 2}, this taskrelay knows {NEWEST}" in err) == (1, True), err
