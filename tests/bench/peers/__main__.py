"""`make bench-peers`: the same signed POSTs, as many bytes, to the same receiver on the same cores, by us and by what people use instead.

Each round runs every one, so that a busy moment hits them all; medians are told. A peer's queue is filled before its workers start;
its rate is the receiver's, from the first POST that came to the last. Redis keeps nothing on disk, which favours the peers: ours are
rows in SQLite, synced, with a log of attempts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from service.settings import load
from tests.bench import seed
from tests.bench.peers import tools
from tests.bench.peers.ground import Ground, open_ground
from tests.bench.peers.programs import Peer, peers
from tests.bench.peers.tools import Missing
from tests.bench.stage import child, environment

console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
COUNT = 20_000


async def theirs(peer: Peer, ground: Ground) -> float:
    env = ground.env(peer.count)
    ground.ask_redis("FLUSHALL")
    filling = await asyncio.create_subprocess_exec(*peer.fill, cwd=peer.cwd, env=env)
    if await filling.wait():
        raise Missing(f"{peer.name}: its queue could not be filled")
    ground.receiver.expect(peer.count)
    log = os.open(tools.FOLDER / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    working = await asyncio.create_subprocess_exec(
        *peer.work, cwd=peer.cwd, env=env, stdout=log, stderr=log, start_new_session=True
    )
    os.close(log)
    try:
        return await ground.receiver.per_second()
    finally:
        await ended(working)


async def ended(working: asyncio.subprocess.Process) -> None:
    """Stop a worker with the processes it made, first politely."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(working.pid, how)
            async with asyncio.timeout(10):
                await working.wait()
        except (ProcessLookupError, TimeoutError):
            continue


async def ours(folder: Path, ground: Ground) -> float:
    os.mkdir(folder)
    env = environment(folder, callbacks="trust")
    settings = load(env)
    to = await seed.tenant(settings, ground.url, in_flight=64)
    await seed.deliveries(settings, to, COUNT)
    ground.receiver.expect(COUNT)
    async with child("relay", "120", env=env) as relay:
        await relay.hear()
        relay.tell()
        rate = await ground.receiver.per_second()
        if (heard := await relay.hear())["sent"] != COUNT:
            raise RuntimeError(f"only {heard['sent']} of {COUNT} deliveries were recorded")
    return rate


async def bench(rounds: int, only: str, tell: Callable[[str], None]) -> tuple[dict[str, list[float]], list[Peer], str]:
    tell("setting up (once): Python and npm packages, Redis")
    known = [peer for peer in peers(console.print) if only.lower() in peer.name.lower()]
    rates: dict[str, list[float]] = {"taskrelay": [], **{peer.name: [] for peer in known}}
    with tempfile.TemporaryDirectory() as name:
        async with open_ground(Path(name)) as ground:
            redis = ground.ask_redis("INFO", "server").split("redis_version:")[1].split()[0]
            for number in range(rounds):
                tell(f"round {number + 1} of {rounds}: taskrelay")
                rates["taskrelay"].append(await ours(Path(name) / f"ours{number}", ground))
                for peer in known[:] if number % 2 == 0 else known[::-1]:
                    tell(f"round {number + 1} of {rounds}: {peer.name}")
                    try:
                        rates[peer.name].append(await theirs(peer, ground))
                    except Missing as error:
                        console.print(f"not measured: {peer.name}: {error}; see {tools.FOLDER / 'worker.log'}")
                        known.remove(peer)
                        del rates[peer.name]
    return rates, known, redis


def show(rates: Mapping[str, Sequence[float]], known: Sequence[Peer], redis: str) -> dict[str, float]:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "version", "deliveries/s", "rounds", "taskrelay is"):
        table.add_column(heading, justify="right" if heading in ("deliveries/s", "taskrelay is") else "left")
    ours = rates["taskrelay"]
    versions = {peer.name: peer.version for peer in known}
    figures: dict[str, float] = {}
    for name, theirs in rates.items():
        times = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
        spread = f"{min(theirs):,.0f} to {max(theirs):,.0f}"
        table.add_row(
            name, versions.get(name, "SQLite"), f"{statistics.median(theirs):,.0f}", spread, f"{times:.1f} times"
        )
        figures[name] = round(statistics.median(theirs))
    console.print(table)
    cores, size = len(os.sched_getaffinity(0)), len(seed.event_body())
    console.print(f"Redis {redis}, nothing kept on disk; {cores} cores for everything; {size:,} bytes a POST")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="peers with this in their name")
    given = parser.parse_args()
    tools.FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with console.status("") as status:
            found = uvloop.run(bench(given.rounds, given.only, status.update))
    except Missing as error:
        raise SystemExit(f"bench-peers: {error}") from None
    figures = show(*found)
    (tools.FOLDER / "bench-peers.json").write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
