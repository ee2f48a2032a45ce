"""The second engine beside the first, in the same run: callbacks and deliveries of one replica, of two and of three.

PostgreSQL is the bundled one, with synced commits, on the same cores as everything else: a server of its own would be faster, so
what is told is what a small machine does that carries all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from service.settings import load
from tests import postgres
from tests.bench import flat, seed
from tests.bench import load as generator
from tests.bench.ingest import CONNECTIONS, Ingest
from tests.bench.relaying import relayed
from tests.bench.row import Row, against
from tests.bench.seed import Manners
from tests.bench.sink import Sink
from tests.bench.stage import child, environment

WORKERS = (1, 2, 3)
ENDPOINTS = 12  # lanes to share out


async def rows(folder: Path, count: int, rounds: int, tell: Callable[[str], None]) -> list[Row]:
    with postgres.server(durable=True, settings="max_wal_size = 4GB") as server:
        return [
            *await _beside(folder, server, count, rounds, tell),
            *await _shared_out(folder, server, count, tell),
            await flat.row(folder, server, tell),
        ]


async def _beside(folder: Path, server: str, count: int, rounds: int, tell: Callable[[str], None]) -> list[Row]:
    """One replica on either engine, in turns."""
    kinds = ("verify", "trust")
    first = {kind: Ingest(folder / f"sqlite-{kind}", kind) for kind in kinds}
    second = {
        kind: Ingest(folder / f"postgres-{kind}", kind, url=await postgres.database(server, f"bench_{kind}"))
        for kind in kinds
    }
    for ingest in (*first.values(), *second.values()):
        await ingest.prepare()
    sink = Sink()
    listening, port = await sink.listen()
    hook = f"http://127.0.0.1:{port}/hook"
    sent: dict[str, list[float]] = {"sqlite": [], "postgres": []}
    for number in range(rounds):
        tell(f"two engines, round {number + 1} of {rounds}")
        for ingest in (*first.values(), *second.values()):
            ingest.rates.append(await ingest.round(count))
        sent["sqlite"].append(await relayed(folder / f"sqlite-relay{number}", hook, count, Manners()))
        url = await postgres.database(server, f"bench_relay{number}")
        sent["postgres"].append(await relayed(folder / f"postgres-relay{number}", hook, count, Manners(), url=url))
    listening.close()
    return [
        against(
            "PostgreSQL beside SQLite: doorbells", "pg_ingest_verify", second["verify"].rates, first["verify"].rates
        ),
        against("… callbacks to state and outbox (trust)", "pg_ingest", second["trust"].rates, first["trust"].rates),
        against("… deliveries", "pg_relay", sent["postgres"], sent["sqlite"]),
    ]


async def _shared_out(folder: Path, server: str, count: int, tell: Callable[[str], None]) -> list[Row]:
    """The same work for one, two and three processes."""
    callbacks = {number: await _doors(folder, server, count, number, tell) for number in WORKERS}
    deliveries = {number: await _workers(folder, server, count, number, tell) for number in WORKERS}
    return [
        _row("callbacks (trust) with 1, 2, 3 doors", "pg_doors", callbacks),
        _row("deliveries with 1, 2, 3 workers", "pg_workers", deliveries),
    ]


def _row(title: str, name: str, rates: dict[int, float]) -> Row:
    return Row(
        title=title,
        measured=" ".join(f"{rate:,.0f}" for rate in rates.values()) + "/s",
        figures={f"{name}_{number}_per_s": round(rate) for number, rate in rates.items()},
    )


async def _doors(folder: Path, server: str, count: int, number: int, tell: Callable[[str], None]) -> float:
    tell(f"callbacks with {number} doors")
    env = environment(folder, callbacks="trust", url=await postgres.database(server, f"bench_doors{number}"))
    settings = load(env)
    to = await seed.tenant(settings, "http://127.0.0.1:9/hook", in_flight=64)
    pushes = await seed.processing(settings, to.project_id, count, first=0, account="cloudsway")
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(child("api", env=env, pinned=False)) for _ in range(number)]
        ports = [int((await one.hear())["port"]) for one in served]
        shares = [pushes[place::number] for place in range(number)]
        results = await asyncio.gather(
            *(
                generator.run(port, [generator.post(push.path, push.body) for push in share], CONNECTIONS // number)
                for port, share in zip(ports, shares, strict=True)
            )
        )
    if sum(one.answers - one.bad for one in results) != count:
        raise RuntimeError("not every callback was answered with 200")
    return count / max(one.seconds for one in results)


async def _workers(folder: Path, server: str, count: int, number: int, tell: Callable[[str], None]) -> float:
    tell(f"deliveries with {number} workers")
    sink = Sink()
    listening, port = await sink.listen()
    env = environment(folder, callbacks="trust", url=await postgres.database(server, f"bench_workers{number}"))
    settings = load(env)
    wanted = [(f"http://127.0.0.1:{port}/hook", Manners())] * ENDPOINTS
    for to in await seed.tenants(settings, wanted, in_flight=16):
        await seed.deliveries(settings, to, count // ENDPOINTS)
    async with AsyncExitStack() as stack:
        working = [await stack.enter_async_context(child("relay", "120", env=env, pinned=False)) for _ in range(number)]
        for one in working:
            await one.hear()
        for one in working:
            one.tell()
        heard = [await one.hear() for one in working]
    listening.close()
    return count // ENDPOINTS * ENDPOINTS / max(one["seconds"] for one in heard)
