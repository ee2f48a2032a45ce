"""A whole installation for a test: sandbox and subscriber on real sockets, and the service as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from service.cli.demo.stage import free_port
from service.core.keys import Keyring
from service.core.tokens import Tokens
from service.sandbox.jobs import Knobs
from service.sandbox.serve import Served, serve
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from tests import engines
from tests.outside import Outside

COMMAND = (sys.executable, "-c", "from service.cli import main; main()")
PATIENCE_SECONDS = 120  # ends what would hang; a machine that does much else may be ten times as slow

# For tests in which answers get lost: the fate of a purchase is looked up once this is over, so it is short. Elsewhere a machine
# that stands still for three seconds must not leave one in doubt, which two of the contracts cannot be asked about.
SHORT_PURCHASES = {"TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": "2"}
# As short as a lease may be: what a dead owner keeps is somebody else's after eight seconds. On SQLite a new process ends them.
SHORT_LEASES = {
    **SHORT_PURCHASES,
    "TASKRELAY_TIMING__LANE_TTL_SECONDS": "8",
    "TASKRELAY_TIMING__HEARTBEAT_SECONDS": "0.5",
    "TASKRELAY_TIMING__ATTEMPT_TIMEOUT_SECONDS": "2",
    "TASKRELAY_TIMING__QUERY_TIMEOUT_SECONDS": "2",
}


async def database_url(folder: Path) -> str:
    """Of a fresh database for an installation in that folder, on the engine that is tried."""
    return await engines.address(folder) if engines.POSTGRES else f"sqlite:///{folder}/taskrelay.db"


def secret_keys() -> dict[str, str]:
    """What a service needs on PostgreSQL, and makes for itself beside a file: the same keys for every replica."""
    return {"TASKRELAY_SECRET_KEYS": secrets.token_hex(32)} if engines.POSTGRES else {}


class Stack:
    """Everything a test touches. `world` and `subscriber` are the oracle: what the provider and the receiver saw."""

    def __init__(
        self,
        folder: Path,
        world: World,
        subscriber: Subscriber,
        provider: Served,
        receiver: Served,
        database_url: str,
    ) -> None:
        self.folder = folder
        self.database_url = database_url
        self.keys = secret_keys()
        self.world = world
        self.subscriber = subscriber
        self.provider = provider
        self.receiver = receiver
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None
        self.key = ""
        self.extra: dict[str, str] = {}
        self.run: Sequence[str] = COMMAND

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Only what a stranger would set, plus short spans."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TASKRELAY_")},
            "TASKRELAY_DATABASE_URL": self.database_url,
            **self.keys,
            "TASKRELAY_PUBLIC_URL": self.url,
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL": self.provider.url,
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": "sandbox",
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "sandbox",
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__EXPECTED_SECONDS": "2",
            "TASKRELAY_ACCOUNTS__ULAZAI__BASE_URL": self.provider.url,
            "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "sandbox",
            "TASKRELAY_ACCOUNTS__ULAZAI__EXPECTED_SECONDS": "2",
            "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
            "TASKRELAY_EGRESS__PORTS": "*",
            "TASKRELAY_UNSAFE_TIMING": "1",
            "TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": "10",
            "TASKRELAY_TIMING__SETTLE_SECONDS": "2",
            **self.extra,
        }

    def push_path(self, submission: str) -> str:
        """Where Cloudsway's pushes of a submission go, as it would know it."""
        keys = self.keys.get("TASKRELAY_SECRET_KEYS") or (self.folder / "taskrelay.secret").read_text()
        with Outside(self.database_url) as database:
            [(installation_id,)] = database.rows("SELECT id FROM installation")
        tokens = Tokens(Keyring([line.encode() for line in keys.split()]), installation_id)
        return f"/callbacks/cloudsway/{tokens.callback('cloudsway', submission)}"

    async def command(self, *arguments: str) -> Any:
        """Run a command to its end and read the JSON it prints."""
        process = await asyncio.create_subprocess_exec(
            *self.run,
            *arguments,
            cwd=self.folder,
            env=self.environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return json.loads(out)

    async def start(self, **extra: str) -> None:
        """Start the service and wait until it is ready."""
        log = open(self.folder / "service.log", "ab")  # noqa: ASYNC230, SIM115 (a test's log)
        self.process = await asyncio.create_subprocess_exec(
            *self.run,
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            cwd=self.folder,
            env={**self.environment(), **extra},
            stdout=log,
            stderr=log,
        )
        log.close()
        async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient() as client:
            while True:
                assert self.process.returncode is None, (self.folder / "service.log").read_text()
                try:
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)

    async def died(self) -> int:
        """Wait for the service to end by itself."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()

    async def kill(self) -> None:
        """End it the hard way."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=30)

    async def subscribe(self) -> str:
        """Subscribe the receiver to all ends; it learns the secret."""
        async with self.client() as client:
            reply = await client.post("/v1/endpoints", json={"url": f"{self.receiver.url}/hook"})
            assert reply.status_code == 201, reply.text
            self.subscriber.trust([reply.json()["secret"]])
            endpoint_id: str = reply.json()["id"]
            return endpoint_id

    async def create(self, **fields: object) -> httpx.Response:
        body = {
            "provider": "cloudsway",
            "model": "kling-3.0-turbo",
            "input": {"prompt": "A paper boat drifts down a gutter"},
            **fields,
        }
        async with self.client() as client:
            return await client.post("/v1/tasks", json=body)

    async def task(self, task_id: str) -> dict[str, Any]:
        async with self.client() as client:
            reply = await client.get(f"/v1/tasks/{task_id}")
            assert reply.status_code == 200, reply.text
            found: dict[str, Any] = reply.json()
            return found

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something the oracle sees."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds():  # noqa: ASYNC110 (the oracle lives in other loops and rings nothing)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{what} did not happen\n{(self.folder / 'service.log').read_text()}") from None


@asynccontextmanager
async def installation(
    folder: Path,
    *,
    knobs: Knobs | None = None,
    settings: Mapping[str, str] | None = None,
    run: Sequence[str] = COMMAND,
) -> AsyncIterator[Stack]:
    """A stack with an API key; the service is not started yet. Everything ends with the context. `run`: the command to start."""
    world, subscriber = World(knobs or Knobs(job_seconds=0.5)), Subscriber()
    async with AsyncExitStack() as ending:
        provider = await ending.enter_async_context(await serve(world))
        receiver = await ending.enter_async_context(await serve(subscriber))
        stack = Stack(folder, world, subscriber, provider, receiver, await database_url(folder))
        stack.extra, stack.run = dict(settings or {}), run
        made = await stack.command("keys", "create", "--name", "test", "--scope", "admin", "--json")
        stack.key = made["key"]
        try:
            yield stack
        finally:
            if stack.process is not None:
                await stack.kill()
