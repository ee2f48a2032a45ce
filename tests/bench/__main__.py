"""`make bench`: callbacks durable, deliveries signed and recorded, idle latency, memory; each beside its bare ceiling.

Compared runs are interleaved and reported as medians; the measured process has one core, the generator the other. Ratios hold from
machine to machine, absolutes do not. Writes `bench.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from service.settings import Settings, load
from tests.bench import load as generator
from tests.bench import seed
from tests.bench.sink import Sink

CONNECTIONS = 64
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


class Child:
    """A measured process. `tell` sends it a line, `hear` reads its next JSON line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def hear(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a measured process ended with {await self.process.wait()}")
        heard: dict[str, float] = orjson.loads(line)
        return heard


@asynccontextmanager
async def child(*arguments: str, env: dict[str, str]) -> AsyncIterator[Child]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.child",
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def environment(folder: Path, *, callbacks: str, provider: str = "http://127.0.0.1:9") -> dict[str, str]:
    account = "TASKRELAY_ACCOUNTS__CLOUDSWAY__"
    return {
        "TASKRELAY_DATABASE_URL": f"sqlite:///{folder}/bench.db",
        "TASKRELAY_PUBLIC_URL": "https://relay.example.org",
        f"{account}API_KEY": "bench",
        f"{account}BASE_URL": provider,
        f"{account}ENDPOINT_PATH": "bench",
        f"{account}CALLBACKS": callbacks,
        f"{account}RATE": "1000/s",
        "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
        "TASKRELAY_EGRESS__PORTS": "*",
        "TASKRELAY_LOG_LEVEL": "warning",
    }


async def ceiling(count: int) -> float:
    """Callbacks a second that a bare uvicorn app answers."""
    body = seed.push_body(seed._task("prj", "cloudsway", 1))
    async with child("bare", env={}) as bare:
        port = int((await bare.hear())["port"])
        requests = [generator.post("/callbacks/cloudsway/x", body)] * count
        return (await generator.run(port, requests, CONNECTIONS)).per_second


class Ingest:
    """One database and one account mode; each round sends callbacks of tasks not used before."""

    def __init__(self, folder: Path, callbacks: str) -> None:
        folder.mkdir()
        self.env = environment(folder, callbacks=callbacks)
        self.settings: Settings = load(self.env)
        self.used = 0

    async def prepare(self) -> None:
        self.to = await seed.tenant(self.settings, "http://127.0.0.1:9/hook", in_flight=64)

    async def round(self, count: int) -> float:
        pushes = await seed.processing(self.settings, self.to.project_id, count, first=self.used, account="cloudsway")
        self.used += count
        requests = [generator.post(push.path, push.body) for push in pushes]
        async with child("api", env=self.env) as served:
            port = int((await served.hear())["port"])
            result = await generator.run(port, requests, CONNECTIONS)
            served.tell()
            self.cpu_us = (await served.hear())["cpu_seconds"] / count * 1e6
        if result.bad or result.answers != count:
            raise RuntimeError(f"{result.bad} of {result.answers} callbacks were not answered with 200")
        return result.per_second


async def relay_rounds(folder: Path, count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Deliveries a second: a bare client loop, and the service from due rows to settled rows."""
    sink = Sink()
    server, port = await sink.listen()
    url = f"http://127.0.0.1:{port}/hook"
    bare: list[float] = []
    ours: list[float] = []
    for number in range(rounds):
        async with child("loop", url, str(count), "1100", env={}) as loop:
            await loop.hear()
            loop.tell()
            heard = await loop.hear()
            bare.append(heard["sent"] / heard["seconds"])
        place = folder / f"relay{number}"
        place.mkdir()
        env = environment(place, callbacks="trust")
        settings = load(env)
        to = await seed.tenant(settings, url, in_flight=64)
        await seed.deliveries(settings, to, count)
        async with child("relay", "120", env=env) as relay:
            await relay.hear()
            relay.tell()
            heard = await relay.hear()
            if heard["sent"] != count:
                raise RuntimeError(f"only {heard['sent']} of {count} deliveries were made")
            ours.append(heard["sent"] / heard["seconds"])
    server.close()
    return bare, ours


async def memory(folder: Path, count: int) -> float:
    """Megabytes while 100,000 deliveries are owed and being sent."""
    sink = Sink()
    server, port = await sink.listen()
    os.mkdir(folder)
    env = environment(folder, callbacks="trust")
    settings = load(env)
    to = await seed.tenant(settings, f"http://127.0.0.1:{port}/hook", in_flight=64)
    await seed.deliveries(settings, to, count)
    async with child("relay", "5", env=env) as relay:
        await relay.hear()
        relay.tell()
        heard = await relay.hear()
    server.close()
    return heard["rss_mb"]


async def latency(folder: Path, callbacks: str, samples: int) -> list[float]:
    """Milliseconds from the callback's first byte to the subscriber having the event, on an idle service."""
    os.mkdir(folder)
    answers: dict[str, bytes] = {}

    def answer(head: bytes, body: bytes) -> bytes:
        asked = head.split(b"task_ids=", 1)[1].split(b" ", 1)[0].decode().replace("%2C", ",").split(",")
        found = b",".join(answers[one] for one in asked)
        reply = b'{"code":0,"message":"SUCCEED","data":[' + found + b'],"request_id":"r"}'
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}\r\n\r\n".encode()
        return head + reply

    provider, subscriber = Sink(answer), Sink()
    subscriber.keep = True
    provider_server, provider_port = await provider.listen()
    server, port = await subscriber.listen()
    env = environment(folder, callbacks=callbacks, provider=f"http://127.0.0.1:{provider_port}")
    settings = load(env)
    to = await seed.tenant(settings, f"http://127.0.0.1:{port}/hook", in_flight=8)
    pushes = await seed.processing(settings, to.project_id, samples, first=0, account="cloudsway")
    for push in pushes:
        answers[orjson.loads(push.body)["id"]] = push.body
    taken: list[float] = []
    async with child("serve", env=env) as served:
        listening = int((await served.hear())["port"])
        for push in pushes:
            subscriber.stirred.clear()
            began = time.perf_counter()
            await generator.run(listening, [generator.post(push.path, push.body)], 1)
            async with asyncio.timeout(10):
                await subscriber.stirred.wait()
            taken.append((max(subscriber.arrived.values()) - began) * 1000)
            await asyncio.sleep(0.01)  # idle again, so that each sample stands alone
    for listener in (server, provider_server):
        listener.close()
    return taken[samples // 10 :]  # the first ones warm up


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def bench(count: int, rounds: int, samples: int, queued: int) -> dict[str, float]:
    bare: list[float] = []
    trust: list[float] = []
    verify: list[float] = []
    with tempfile.TemporaryDirectory() as name, console.status("") as status:
        folder = Path(name)
        modes = (Ingest(folder / "verify", "verify"), verify), (Ingest(folder / "trust", "trust"), trust)
        for ingest, _ in modes:
            await ingest.prepare()
        for number in range(rounds):
            status.update(f"callbacks, round {number + 1} of {rounds}")
            bare.append(await ceiling(count))
            for ingest, results in modes:
                results.append(await ingest.round(count))
        status.update("deliveries")
        loop, relay = await relay_rounds(folder, count, rounds)
        status.update("latency")
        idle_verify = await latency(folder / "idle-verify", "verify", samples)
        idle_trust = await latency(folder / "idle-trust", "trust", samples)
        status.update(f"memory with {queued} deliveries owed")
        rss = await memory(folder / "memory", queued)
    median = statistics.median
    ratios = [ours / top for ours, top in zip(trust, bare, strict=True)]
    return {
        "ingest_ratio": round(median(ratios), 3),
        "ingest_per_s": round(median(trust)),
        "ingest_verify_ratio": round(median([ours / top for ours, top in zip(verify, bare, strict=True)]), 3),
        "ingest_verify_per_s": round(median(verify)),
        "bare_uvicorn_per_s": round(median(bare)),
        "relay_ratio": round(median([ours / top for ours, top in zip(relay, loop, strict=True)]), 3),
        "relay_per_s": round(median(relay)),
        "bare_aiohttp_per_s": round(median(loop)),
        "idle_p50_ms": round(percentile(idle_verify, 0.5), 2),
        "idle_p99_ms": round(percentile(idle_verify, 0.99), 2),
        "idle_trust_p50_ms": round(percentile(idle_trust, 0.5), 2),
        "idle_trust_p99_ms": round(percentile(idle_trust, 0.99), 2),
        "rss_mb": round(rss, 1),
    }


def show(found: dict[str, float]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "measured", "ceiling", "ratio", "goal"):
        table.add_column(heading, justify="left" if not heading else "right")
    uvicorn, client = f"{found['bare_uvicorn_per_s']:,}/s", f"{found['bare_aiohttp_per_s']:,}/s"
    table.add_row(
        "callbacks stored, doorbell (verify, the default)",
        f"{found['ingest_verify_per_s']:,}/s",
        uvicorn,
        f"{found['ingest_verify_ratio']:.2f}",
        "",
    )
    table.add_row(
        "callbacks to state, timeline and outbox (trust)",
        f"{found['ingest_per_s']:,}/s",
        uvicorn,
        f"{found['ingest_ratio']:.2f}",
        "≥ 0.25",
    )
    table.add_row(
        "deliveries signed, sent and recorded",
        f"{found['relay_per_s']:,}/s",
        client,
        f"{found['relay_ratio']:.2f}",
        "≥ 0.5",
    )
    for mode, prefix in (("verify", "idle"), ("trust", "idle_trust")):
        table.add_row(
            f"idle, callback to subscriber ({mode})",
            f"p50 {found[f'{prefix}_p50_ms']:.1f} ms, p99 {found[f'{prefix}_p99_ms']:.1f} ms",
            "",
            "",
            "≤ 10, ≤ 50 ms",
        )
    table.add_row("memory with deliveries queued", f"{found['rss_mb']:.0f} MB", "", "", "≤ 150 MB")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--count", type=int, default=20_000, help="callbacks and deliveries a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=300, help="idle latency samples")
    parser.add_argument("--queued", type=int, default=100_000, help="deliveries owed while memory is read")
    arguments = parser.parse_args()
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, cores - {min(cores)})
    found = uvloop.run(bench(arguments.count, arguments.rounds, arguments.samples, arguments.queued))
    show(found)
    Path("bench.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
