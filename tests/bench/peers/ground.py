"""Where all of them run: one receiver, one Redis, one body."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import seed
from tests.bench.peers import tools
from tests.bench.peers.tools import Missing
from tests.bench.sink import NO_CONTENT, Sink, header

PATIENCE_SECONDS = 120.0
ROOT = Path(__file__).parents[3]


class Receiver:
    """Counts distinct deliveries, and notes when the first and the last came."""

    def __init__(self) -> None:
        self.sink = Sink(self.take)
        self.expect(0)

    def expect(self, count: int) -> None:
        self.wanted = count
        self.seen: set[str] = set()
        self.first = self.last = 0.0
        self.complete = asyncio.Event()

    def take(self, head: bytes, body: bytes) -> bytes:
        now = time.perf_counter()
        if not self.seen:
            self.first = now
        self.seen.add(header(head, b"webhook-id"))
        if len(self.seen) == self.wanted and not self.complete.is_set():
            self.last = now
            self.complete.set()
        return NO_CONTENT

    async def per_second(self) -> float:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.complete.wait()
        except TimeoutError:
            raise Missing(f"only {len(self.seen)} of {self.wanted} arrived in {PATIENCE_SECONDS:.0f} s") from None
        return (self.wanted - 1) / (self.last - self.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where all of them run: the receiver, its address, the Redis, the body that each POST carries."""

    receiver: Receiver
    url: str
    redis: tools.Redis
    redis_port: int
    body: Path

    def env(self, count: int) -> dict[str, str]:
        given = {
            "PEER_REDIS": f"redis://127.0.0.1:{self.redis_port}/0",
            "PEER_URL": self.url,
            "PEER_BODY": str(self.body),
            "PEER_COUNT": str(count),
            "PYTHONPATH": str(ROOT),
        }
        return {**os.environ, **given}

    def ask_redis(self, *words: str) -> str:
        done = subprocess.run(
            [self.redis.program("redis-cli"), "-p", str(self.redis_port), *words],
            env=self.redis.env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


@asynccontextmanager
async def open_ground(folder: Path) -> AsyncIterator[Ground]:
    redis = tools.redis()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder))
    running = await asyncio.create_subprocess_exec(
        redis.program("redis-server"), *options, env=redis.env, stdout=subprocess.DEVNULL
    )
    receiver = Receiver()
    server, sink_port = await receiver.sink.listen()
    body = folder / "body.json"
    body.write_bytes(seed.event_body())
    url = f"http://127.0.0.1:{sink_port}/hook"
    ground = Ground(receiver=receiver, url=url, redis=redis, redis_port=port, body=body)
    try:
        await _answers(ground)
        yield ground
    finally:
        server.close()
        running.terminate()
        await running.wait()


async def _answers(ground: Ground) -> None:
    for _ in range(50):
        try:
            ground.ask_redis("PING")
        except subprocess.CalledProcessError:
            await asyncio.sleep(0.1)
        else:
            return
    raise Missing("Redis does not answer")
