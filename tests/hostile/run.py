"""Runs every case against the real service process, and says what came of it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from service.sandbox.hostile import Hostile, Visit
from tests.e2e.stack import Stack, installation
from tests.hostile.launch import command
from tests.hostile.measure import Memory
from tests.hostile.table import STEP, TABLE, TOGETHER, Ends, named

MB = 1_000_000
READ_MOST = 64 * 1024
IN_KERNEL = 32 * 1024  # its receive buffer: taken from the peer, and never read
MEMORY_MOST = 5 * MB
WALL_MOST = 25.0  # from being owed to being settled: the attempt's 15 s, and a loaded machine's ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was seen of one case. `wall`: from outside. `memory`: of the cases that ran together that of all."""

    case: str
    ends: Ends
    wall: float
    visits: Sequence[Visit]
    memory: int
    faults: Sequence[str]

    @property
    def connections(self) -> int:
        return len(self.visits)


@asynccontextmanager
async def scene(folder: Path, *, run: Sequence[str] = ()) -> AsyncIterator[tuple[Stack, Hostile]]:
    """A started service that trusts the hostile authority, with one event to tell."""
    async with Hostile() as hostile:
        (folder / "authority.pem").write_bytes(hostile.authority.pem)
        settings = {"SSL_CERT_FILE": str(folder / "authority.pem"), "TASKRELAY_LOG_LEVEL": "warning"}
        # Whoever uses these reaches nobody, and the table tells.
        settings |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), "http://127.0.0.1:9")
        async with installation(folder, settings=settings, run=command(sys.executable)) as stack:
            stack.run = (*run, *stack.run)
            await stack.start()
            await stack.subscribe()
            assert (await stack.create()).status_code == 202
            await stack.until(lambda: len(stack.subscriber.received) > 0, "the event that everybody is to hear")
            yield stack, hostile


async def every_case(stack: Stack, hostile: Hostile) -> AsyncIterator[Row]:
    """Each case of the table; those that take their time all at once."""
    assert stack.process is not None
    memory = Memory(stack.process.pid)
    port = int(hostile.urls["tls-ok"].rsplit(":", 1)[1].partition("/")[0])
    urls = {**hostile.urls, **named(port)}
    async with stack.client() as client:
        for name in ("ok", "tls-ok", "error", "close"):  # what is loaded at first use is no case's doing
            await _attempt(client, urls[name])
        for name in TABLE:
            if name in TOGETHER:
                continue
            before, since = memory.begin(), len(hostile.visits)
            ends, wall = await _attempt(client, urls[name])
            visits = [visit for visit in hostile.visits[since:] if visit.case == _visited(name, urls[name])]
            yield await _row(name, ends, wall, visits, memory.peak() - before)
        before, since = memory.begin(), len(hostile.visits)
        names = [name for name in TABLE if name in TOGETHER]
        found = await asyncio.gather(*(_attempt(client, urls[name]) for name in names))
        grown = memory.peak() - before
        for name, (ends, wall) in zip(names, found, strict=True):
            visits = [visit for visit in hostile.visits[since:] if visit.case == _visited(name, urls[name])]
            yield await _row(name, ends, wall, visits, grown)
        followed = hostile.of("followed")
        assert followed == [], f"redirects were followed: {followed}"


def _visited(name: str, url: str) -> str:
    """Under which case the hostile side books a call."""
    return "tls-ok" if ".test" in url else name


async def _attempt(client: httpx.AsyncClient, url: str) -> tuple[Ends, float]:
    """Owe the past event to a new endpoint, and wait for its first attempt. Returns how it ended, and how long it took."""
    made = await client.post("/v1/endpoints", json={"url": url, "events": ["task.succeeded"], "retry_schedule": [STEP]})
    assert made.status_code == 201, made.text
    endpoint = made.json()["id"]
    began = time.monotonic()
    asked = await client.post(
        f"/v1/endpoints/{endpoint}/replay", json={"which": "missing", "since": "2020-01-01T00:00:00Z"}
    )
    assert asked.json()["count"] == 1, asked.text
    async with asyncio.timeout(60):
        while not (found := await _first(client, endpoint)):  # noqa: ASYNC110 (in another process)
            await asyncio.sleep(0.02)
    wall = time.monotonic() - began
    status = (await client.get(f"/v1/endpoints/{endpoint}")).json()["status"]
    return _ends(found, status), wall


async def _first(client: httpx.AsyncClient, endpoint: str) -> Mapping[str, Any] | None:
    [delivery] = (await client.get("/v1/deliveries", params={"endpoint": endpoint})).json()["data"]
    return delivery if delivery["attempts"] else None


def _ends(delivery: Mapping[str, Any], endpoint: str) -> Ends:
    attempt = delivery["attempts"][0]
    seconds = attempt["duration_ms"] / 1000
    wait = None
    if delivery["next_attempt_at"] is not None:
        ended = datetime.fromisoformat(attempt["at"]).timestamp() + seconds
        wait = datetime.fromisoformat(delivery["next_attempt_at"]).timestamp() - ended
    return Ends(
        status=delivery["status"],
        code=attempt["status_code"],
        error=attempt["error_class"],
        wait=(wait, wait) if wait is not None else None,
        seconds=(seconds, seconds),
        endpoint=endpoint,
    )


async def _row(name: str, ends: Ends, wall: float, visits: Sequence[Visit], memory: int) -> Row:
    async with asyncio.timeout(60):
        while any(visit.ended is None for visit in visits):  # noqa: ASYNC110 (a kept connection: until it is let go)
            await asyncio.sleep(0.02)
    taken = sum(visit.taken for visit in visits)
    requests = sum(visit.requests for visit in visits)
    return Row(
        case=name,
        ends=ends,
        wall=wall,
        visits=visits,
        memory=memory,
        faults=list(_faults(TABLE[name], ends, wall, taken, requests, memory)),
    )


def _faults(expected: Ends, ends: Ends, wall: float, taken: int, requests: int, memory: int) -> Sequence[str]:
    """What is not as the table says."""
    found = []
    for what in ("status", "code", "error", "endpoint"):
        if getattr(ends, what) != getattr(expected, what):
            found.append(f"{what} is {getattr(ends, what)}, not {getattr(expected, what)}")
    if (ends.wait is None) != (expected.wait is None):
        found.append(f"next attempt: {ends.wait}, not {expected.wait}")
    elif ends.wait is not None and expected.wait is not None and not _within(ends.wait[0], expected.wait):
        found.append(f"next attempt in {ends.wait[0]:.0f} s, not {expected.wait}")
    if not _within(ends.seconds[0], expected.seconds):
        found.append(f"took {ends.seconds[0]:.2f} s, not {expected.seconds}")
    if wall > WALL_MOST:
        found.append(f"was settled after {wall:.2f} s")
    if requests != expected.requests:
        found.append(f"{requests} requests, not {expected.requests}")
    if taken > READ_MOST + IN_KERNEL:
        found.append(f"{taken} bytes were taken")
    if memory > MEMORY_MOST:
        found.append(f"memory grew by {memory / MB:.1f} MB")
    return found


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]
