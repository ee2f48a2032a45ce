"""Whether the claim of due work stays as quick when a database has many deliveries that are done."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg

from service.bootstrap.world import clock
from service.settings import load
from storage import lanes, outbox
from storage.database import Connection, open_database
from tests import postgres
from tests.bench import seed
from tests.bench.row import Row
from tests.bench.stage import environment

FINISHED = (10_000, 1_000_000)
DUE = 200
CLAIMS = 300
BATCH = 100

# As the service leaves them behind, only quicker, and without bodies, which the claim reads of what is due alone.
EVENTS = """
    INSERT INTO events (id, project_id, task_id, provider, model, type, sequence, created_at, body, hard, test)
    SELECT 'evt_done' || n, project_id, 'task_done' || n, provider, model, type, sequence, created_at + n, '{}', hard, test
      FROM (SELECT * FROM events LIMIT 1) AS one, generate_series(1, $1) AS n
"""
DELIVERIES = """
    INSERT INTO deliveries (id, event_id, endpoint_id, project_id, task_id, event_type, status, attempts, due_at, created_at, updated_at)
    SELECT 'dlv_done' || n, 'evt_done' || n, endpoint_id, project_id, task_id, event_type, 'delivered', 1, NULL, created_at + n, updated_at
      FROM (SELECT * FROM deliveries LIMIT 1) AS one, generate_series(1, $1) AS n
"""


async def row(folder: Path, server: str, tell: Callable[[str], None]) -> Row:
    taken: list[float] = []
    for finished in FINISHED:
        tell(f"claims beside {finished:,} finished deliveries")
        taken.append(await _claim(folder / f"flat{finished}", await postgres.database(server, "bench_flat"), finished))
    few, many = taken
    return Row(
        title=f"claim of {BATCH} due, {FINISHED[0]:,} to {FINISHED[1]:,} finished",
        measured=f"{many:.2f} ms",
        ceiling=f"{few:.2f} ms",
        ratio=many / few,
        goal="≤ 2",
        figures={"pg_claim_ms": round(many, 3), "pg_claim_growth": round(many / few, 2)},
    )


async def _claim(folder: Path, url: str, finished: int) -> float:
    """Milliseconds in the median: take the lane, read what is due of it, give it back."""
    os.mkdir(folder)
    settings = load(environment(folder, callbacks="trust", url=url))
    to = await seed.tenant(settings, "http://127.0.0.1:9/hook", in_flight=8)
    await seed.deliveries(settings, to, 1)
    await _fill(url, finished)
    await seed.deliveries(settings, to, DUE)
    database = await open_database(url, clock=clock)
    taken = []
    try:
        for _ in range(CLAIMS):
            began = time.perf_counter()
            await database.write(_unit)
            taken.append((time.perf_counter() - began) * 1000)
    finally:
        await database.close()
    return statistics.median(taken[CLAIMS // 10 :])


async def _fill(url: str, finished: int) -> None:
    link = await asyncpg.connect(url)
    try:
        await link.execute("SET statement_timeout = 0")
        for text in (EVENTS, DELIVERIES):
            await link.execute(text, finished)
        await link.execute("VACUUM ANALYZE")
    finally:
        await link.close()


async def _unit(tx: Connection) -> None:
    now = clock()
    [lane] = await lanes.claim(tx, owner="bench", accounts=[], now=now, ttl_seconds=60, batch=8)
    found = await outbox.due(tx, lane.key, now=now, batch=BATCH)
    if len(found) != BATCH:
        raise RuntimeError(f"{len(found)} deliveries are due")
    await lanes.release(tx, lane, next_due_at=now)
