"""Everything a run needs, up and running: PostgreSQL, wires, replicas behind a balancer, four providers, a subscriber, clients."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from service.cli.demo.stage import free_port
from service.sandbox.jobs import Knobs
from service.sandbox.serve import serve
from service.sandbox.world import World
from tests.chaos import fences
from tests.chaos.balancer import Balancer
from tests.chaos.facts import connect
from tests.chaos.measures import TTL_SECONDS
from tests.chaos.reader import Reader
from tests.chaos.replica import Replica, role_of
from tests.chaos.server import Server
from tests.chaos.subscriber import ATTEMPT_SECONDS, SlowReceiver
from tests.chaos.watchman import Watchman
from tests.chaos.wire import Wire
from tests.kill.client import Client
from tests.kill.nursery import Nursery
from tests.kill.oracle import SUBSCRIBED
from tests.kill.plan import KINDS
from tests.kill.receiver import receiving

DEADLINE_SECONDS, SETTLE_SECONDS = 5.0, 4.0  # of a submission: long enough for a machine that has other things to do
SHORT: Mapping[str, str] = {
    "TASKRELAY_UNSAFE_TIMING": "1",
    "TASKRELAY_API__RATE": "off",
    "TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
    "TASKRELAY_TIMING__SETTLE_SECONDS": str(SETTLE_SECONDS),
    "TASKRELAY_TIMING__LANE_TTL_SECONDS": str(TTL_SECONDS),
    "TASKRELAY_TIMING__HEARTBEAT_SECONDS": "1",
    "TASKRELAY_TIMING__ATTEMPT_TIMEOUT_SECONDS": str(ATTEMPT_SECONDS),
    "TASKRELAY_TIMING__QUERY_TIMEOUT_SECONDS": "4",
}
SECRET = base64.b64encode(hashlib.sha256(b"chaos").digest()).decode()  # shared by the replicas, worth nothing
RETRIES = [1, 2, 3, 4, 4, 4, 4, 4, 4, 4]
COMMAND_SECONDS = 120.0
CLIENT_PAUSE_SECONDS = 0.25  # before an order is tried again


@dataclass(slots=True, kw_only=True)
class Stage:
    """One installation. `spans`: when something was wrong on purpose, from and until."""

    folder: Path
    server: Server
    balancer: Balancer
    nursery: Nursery
    replicas: list[Replica]
    worlds: Mapping[str, World]
    receiver: SlowReceiver
    clients: Mapping[str, Client]
    watchman: Watchman
    reader: Reader
    key: str
    spans: list[Span] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)

    def lives(self) -> dict[str, list[int]]:
        return {replica.name: replica.pids for replica in self.replicas}

    async def command(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> tuple[int | None, Any]:
        """Run a command of taskrelay past the wires; its exit code and what it printed as JSON."""
        return await run_command(self.nursery, self.folder, self.server.url, *arguments, seconds=seconds)

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.balancer.url, headers={"authorization": f"Bearer {self.key}"}, timeout=15
        )


@dataclass(slots=True, kw_only=True)
class Span:
    """A fault as it happened. `until`: when what it could still cause was over."""

    what: str
    replica: int
    began: float
    until: float
    pid: int | None = None  # of the life it befell
    innocent: bool = False  # a stop in order: it excuses nothing

    def instants(self) -> list[float]:
        """For an oracle that knows moments only."""
        count = int((self.until - self.began) / 0.5) + 1
        return [self.began + (self.until - self.began) * number / count for number in range(count + 1)]


def environment(public_url: str, providers: Mapping[str, str], database_url: str) -> dict[str, str]:
    """What every replica is told."""
    account = {
        "API_KEY": "sandbox",
        "ENABLED": "true",
        "EXPECTED_SECONDS": "1",
        "RATE": "500/s",
        "MAX_OPEN_TASKS": "100000",  # held tasks count as open
    }
    told = {
        "PATH": os.environ.get("PATH", ""),
        "TASKRELAY_DATABASE_URL": database_url,
        "TASKRELAY_PUBLIC_URL": public_url,
        "TASKRELAY_SECRET_KEYS": SECRET,
        "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
        "TASKRELAY_EGRESS__PORTS": "*",
        "TASKRELAY_LOG_LEVEL": "warning",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "sandbox",
        **{f"TASKRELAY_ACCOUNTS__{kind.upper()}__BASE_URL": url for kind, url in providers.items()},
    }
    for kind in providers:
        told |= {f"TASKRELAY_ACCOUNTS__{kind.upper()}__{name}": value for name, value in account.items()}
    return told


async def run_command(
    nursery: Nursery, folder: Path, database_url: str, *arguments: str, seconds: float = COMMAND_SECONDS
) -> tuple[int | None, Any]:
    out = folder / f"{'-'.join(arguments[:2])}-{time.monotonic_ns()}.json"
    told = {"PATH": os.environ.get("PATH", ""), "TASKRELAY_DATABASE_URL": database_url, "TASKRELAY_SECRET_KEYS": SECRET}
    life = await nursery.run(*arguments, "--json", folder=folder, log=out, environment=told)
    code = await life.wait(seconds)
    text = out.read_text() if out.exists() else ""
    try:
        return code, json.loads(text)
    except ValueError:
        return code, text[-2000:]


@asynccontextmanager
async def staged(
    server: Server, folder: Path, *, seed: int, per_second: float, roles: Sequence[str]
) -> AsyncIterator[Stage]:
    """Set everything up, with all replicas serving; at the end everything is down."""
    worlds = {kind: World(Knobs(job_seconds=0.3, unique_external_id=False)) for kind in KINDS}
    receiver = SlowReceiver(str(seed))
    await server.make([role_of(number) for number in range(len(roles))])
    link = await connect(server.url)
    try:
        await fences.put_up(link)
    finally:
        await link.close()
    async with AsyncExitStack() as ending:
        providers = {}
        for kind, world in worlds.items():
            world.requests = deque()  # every create is evidence
            providers[kind] = (await ending.enter_async_context(await serve(world))).url
        hook = await ending.enter_async_context(receiving(receiver))
        nursery = await ending.enter_async_context(Nursery())
        wires = [await ending.enter_async_context(Wire(server.socket_path)) for _ in roles]
        ports = [free_port() for _ in roles]
        doors = [port for port, role in zip(ports, roles, strict=True) if "api" in role]
        balancer = await ending.enter_async_context(Balancer(doors))
        code, made = await run_command(
            nursery, folder, server.url, "keys", "create", "--name", "chaos", "--scope", "admin"
        )
        assert code == 0, made
        key: str = made["key"]
        replicas = [
            Replica(
                number=number,
                port=port,
                wire=wire,
                folder=folder,
                nursery=nursery,
                roles=role,
                environment={
                    **environment(balancer.url, providers, server.url_of(role_of(number), wire.port)),
                    **SHORT,
                },
            )
            for number, (port, wire, role) in enumerate(zip(ports, wires, roles, strict=True))
        ]
        clients = {
            kind: Client(
                kind=KINDS[kind],
                url=balancer.url,
                key=key,
                seed=f"{seed}/{kind}",
                every_seconds=len(KINDS) / per_second,
                pause_seconds=CLIENT_PAUSE_SECONDS,
                prefix=kind,
            )
            for kind in KINDS
        }
        watchman = Watchman(server.url)
        for replica in replicas:
            await replica.start()
        await balancer.until_ready(range(len(doors)))
        await _subscribe(balancer.url, key, hook, receiver)
        await ending.enter_async_context(watchman)
        reader = await ending.enter_async_context(Reader(url=balancer.url, key=key))
        yield Stage(
            folder=folder,
            server=server,
            balancer=balancer,
            nursery=nursery,
            replicas=replicas,
            worlds=worlds,
            receiver=receiver,
            clients=clients,
            watchman=watchman,
            reader=reader,
            key=key,
        )


async def _subscribe(url: str, key: str, hook: str, receiver: SlowReceiver) -> None:
    order = {"url": f"{hook}/hook", "events": list(SUBSCRIBED), "retry_schedule": RETRIES}
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=15) as http:
        reply = await http.post("/v1/endpoints", json=order)
    assert reply.status_code == 201, reply.text
    receiver.subscriber.trust([reply.json()["secret"]])


async def until(holds: Callable[[], bool], seconds: float, every: float = 0.05) -> float | None:
    """How long it took until something was true; None when it was not in this time."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            return None
        await asyncio.sleep(every)
    return time.monotonic() - began
