"""How long one project's tasks wait for their purchase while another's ten thousand are queued on the same account.

Two projects have half of the account's rate each, so a burst takes twice as long as alone and no longer, however deep the
other queue is; first come first served, it would wait for all of them. A single task waits for its turn.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from service.bootstrap import opening
from service.bootstrap.parts import Service
from service.bootstrap.world import clock, mint
from service.settings import load
from storage import lanes, projects, tasks
from storage.database import Connection, Database
from storage.records import LaneKind, Project, TaskStatus
from tests.bench import seed
from tests.bench.row import Row, percentile
from tests.bench.sink import Sink
from tests.bench.stage import environment

RATE = 50  # purchases a second
ACCOUNT = "cloudsway"
CHUNK = 500
DEEP, BURST, SINGLES = 10_000, 100, 40


async def rows(folder: Path, tell: Callable[[str], None]) -> list[Row]:
    """A burst of B's alone and beside A, and single tasks of B's beside A; milliseconds from queued to submitted."""
    os.mkdir(folder)
    async with _provider() as url:
        tell("purchases of one project alone")
        async with _serving(folder / "alone", url) as service:
            # A lane's rate begins with nothing saved up, and beside a queue nothing ever is: both begin alike.
            alone = percentile(await _waits(service, "B", BURST), 0.99)
        tell(f"purchases of one project beside {DEEP:,} queued ones of another")
        async with _serving(folder / "beside", url) as service:
            await _queue(service.database, "A", DEEP)
            service.lanes.ring((LaneKind.ACCOUNT, ACCOUNT), clock())
            await asyncio.sleep(1.0)
            beside = percentile(await _waits(service, "B", BURST), 0.99)
            single = percentile(await _waits(service, "B", SINGLES, every=5 / RATE), 0.99)
    return [
        Row(
            title=f"{BURST} purchases at {RATE}/s beside {DEEP:,} of another project, p99 wait",
            measured=f"{beside:,.0f} ms",
            ceiling=f"{alone:,.0f} ms",
            ratio=beside / alone,
            goal="≤ 2",
            figures={
                "fair_submits_ratio": round(beside / alone, 3),
                "fair_submits_ms": round(beside),
                "fair_submits_alone_ms": round(alone),
            },
        ),
        Row(
            title=f"one purchase at a time beside them (first come first served: {DEEP / RATE:,.0f} s)",
            measured=f"p99 {single:,.0f} ms",
            figures={"fair_single_ms": round(single, 1)},
        ),
    ]


@asynccontextmanager
async def _provider() -> AsyncIterator[str]:
    """Takes every purchase at once."""
    number = 0

    def answer(head: bytes, body: bytes) -> bytes:
        nonlocal number
        number += 1
        reply = b'{"code":0,"message":"SUCCEED","data":{"id":"%d","status":"submitted"}}' % (10**17 + number)
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply

    server, port = await Sink(answer).listen()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


@asynccontextmanager
async def _serving(folder: Path, provider: str) -> AsyncIterator[Service]:
    os.mkdir(folder)
    env = environment(folder, callbacks="verify", provider=provider)
    account = f"TASKRELAY_ACCOUNTS__{ACCOUNT.upper()}__"
    settings = load({**env, f"{account}RATE": f"{RATE}/s", f"{account}MAX_OPEN_TASKS": "100000"})
    async with opening.open_service(settings) as service:
        await service.database.write(_projects)
        running = asyncio.create_task(service.lanes.run())
        try:
            yield service
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def _projects(tx: Connection) -> None:
    for name in ("A", "B"):
        await projects.insert(tx, Project(id=f"prj_{name}", name=name, secret="", created_at=clock()))


async def _queue(database: Database, project: str, count: int) -> list[str]:
    """Tasks of a project, queued now; returns their ids."""
    made: list[str] = []
    for start in range(0, count, CHUNK):
        now, ids = clock(), [mint("task") for _ in range(min(CHUNK, count - start))]

        async def unit(tx: Connection, now: int = now, ids: list[str] = ids) -> None:
            for task_id in ids:
                task = replace(
                    seed.task(f"prj_{project}", ACCOUNT, 0),
                    id=task_id,
                    status=TaskStatus.QUEUED,
                    provider_task_id=None,
                    phase=None,
                    provider_status=None,
                    submissions=0,
                    sequence=0,
                    version=0,
                    submitted_at=None,
                    due_at=now,
                )
                await tasks.insert(tx, task)
            await lanes.arrive(tx, {(LaneKind.ACCOUNT, ACCOUNT): now})

        await database.write(unit)
        made += ids
    return made


async def _waits(service: Service, project: str, count: int, *, every: float = 0.0) -> list[float]:
    """Queue tasks, all at once or one `every` so many seconds, and wait for their purchases. Milliseconds each has waited."""
    ids: list[str] = []
    for number in range(count if every else 1):
        ids += await _queue(service.database, project, 1 if every else count)
        service.lanes.ring((LaneKind.ACCOUNT, ACCOUNT), clock())
        if every and number < count - 1:
            await asyncio.sleep(every)
    while True:
        found = await service.database.read(lambda tx: tasks.read(tx, ids))
        submitted = [one for one in found.values() if one.submitted_at is not None]
        if len(submitted) == len(ids):
            return [((one.submitted_at or 0) - one.created_at) / 1000 for one in submitted]
        await asyncio.sleep(0.05)
