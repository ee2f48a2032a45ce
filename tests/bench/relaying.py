"""Due deliveries sent and recorded, plain and with everything on, beside a client that only posts; and the memory it takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from service.settings import load
from tests.bench import seed
from tests.bench.row import Row, against
from tests.bench.seed import Manners
from tests.bench.sink import Sink
from tests.bench.stage import child, environment

# Two signatures while a secret is rotated, a filter, a rate that is never reached, headers of the owner's.
EVERYTHING = Manners(
    secrets=2,
    filter='{"provider":["cloudsway"],"model":["kling-*"],"metadata":{"order":["88*"]}}',
    rate_limit=100_000,
    headers='{"authorization":"Bearer 6f1d0c1e1b0a4a6f8e0d","x-tenant":"north-7"}',
)


async def rows(folder: Path, count: int, rounds: int, tell: Callable[[str], None]) -> list[Row]:
    """Deliveries a second from due rows to settled rows. The attempt log is part of both."""
    sink = Sink()
    server, port = await sink.listen()
    url = f"http://127.0.0.1:{port}/hook"
    bare: list[float] = []
    plain: list[float] = []
    full: list[float] = []
    for number in range(rounds):
        tell(f"deliveries, round {number + 1} of {rounds}")
        bare.append(await loop(url, count))
        plain.append(await relayed(folder / f"plain{number}", url, count, Manners()))
        full.append(await relayed(folder / f"full{number}", url, count, EVERYTHING))
    server.close()
    return [
        against("deliveries signed, sent and recorded", "relay", plain, bare, goal="≥ 0.5"),
        against("the same, two signatures, filter, rate, own headers", "relay_full", full, bare, goal="≥ 0.4"),
    ]


async def loop(url: str, count: int) -> float:
    """The ceiling: the same client, the same number of bytes, signed, and nothing recorded."""
    async with child("loop", url, str(count), str(len(seed.event_body())), env={}) as bare:
        await bare.hear()
        bare.tell()
        heard = await bare.hear()
        return heard["sent"] / heard["seconds"]


async def relayed(folder: Path, hook: str, count: int, manners: Manners, *, url: str | None = None) -> float:
    """Deliveries a second. `url`: of the database, where it is not a file in the folder."""
    os.mkdir(folder)
    env = environment(folder, callbacks="trust", url=url)
    settings = load(env)
    to = await seed.tenant(settings, hook, in_flight=64, manners=manners)
    await seed.deliveries(settings, to, count)
    async with child("relay", "120", env=env) as relay:
        await relay.hear()
        relay.tell()
        heard = await relay.hear()
    if heard["sent"] != count:
        raise RuntimeError(f"only {heard['sent']} of {count} deliveries were made")
    return heard["sent"] / heard["seconds"]


async def memory(folder: Path, count: int) -> Row:
    """What is resident while many deliveries are owed and being sent."""
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
    return Row(
        title=f"memory with {count:,} deliveries queued",
        measured=f"{heard['rss_mb']:.0f} MB",
        goal="≤ 150 MB",
        figures={"rss_mb": round(heard["rss_mb"], 1)},
    )
