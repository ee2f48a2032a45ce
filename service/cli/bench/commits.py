"""How many units of work a second become durable, on the engine and the disk that would serve."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

from storage import audit
from storage.database import Connection, Database, open_database
from storage.records import AuditEntry

SECONDS = 1.5
TOGETHER = 64


async def commits(url: str, project: str) -> tuple[float, float]:
    """Units a second, one after the other and with 64 at a time. Each writes one row and is synced before it counts."""
    database = await open_database(url, clock=_now)
    try:
        numbers = itertools.count(1)
        alone = await _rate(database, project, numbers, 1)
        return alone, await _rate(database, project, numbers, TOGETHER)
    finally:
        await database.close()


async def _rate(database: Database, project: str, numbers: Iterator[int], together: int) -> float:
    done, began = 0, time.perf_counter()

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() - began < SECONDS:
            entry = _entry(project, next(numbers))

            async def unit(tx: Connection, entry: AuditEntry = entry) -> None:
                await audit.insert(tx, [entry])

            await database.write(unit)
            done += 1

    await asyncio.gather(*(worker() for _ in range(together)))
    return done / (time.perf_counter() - began)


def _entry(project: str, number: int) -> AuditEntry:
    return AuditEntry(
        id=f"aud_{number:026d}", project_id=project, task_id=None, key_id=None, action="bench", detail="{}", at=_now()
    )


def _now() -> int:
    return time.time_ns() // 1000
