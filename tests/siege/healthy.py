"""Well-behaved clients beside the siege, and what they see of it.

A machine that others use too makes everything late. The kernel counts how long a thread was ready and had no processor (schedstat);
what of a wait is such time, the service's or our own, is not the service's doing and is taken off. The raw figures are shown beside.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.e2e.stack import Stack

ORDER = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}
P99_SECONDS, LAG_SECONDS, MEGABYTES = 0.5, 0.2, 300.0
PAUSE_SECONDS = 0.02


@dataclass(slots=True)
class Seen:
    """What well-behaved clients saw in one phase."""

    raw: list[float] = field(default_factory=list)  # seconds, as a client has them
    waits: list[float] = field(default_factory=list)  # … without what was spent in line for a processor
    lags: list[float] = field(default_factory=list)  # the same of the least request there is
    answers: Counter[str] = field(default_factory=Counter)
    megabytes: float = 0.0
    connections: int = 0

    @property
    def wrong(self) -> int:
        """Answers that are not what was asked for."""
        return sum(count for answer, count in self.answers.items() if answer not in ("200", "202"))

    def faults(self) -> list[str]:
        """What is not as it must be, and does not depend on what else this machine does."""
        found = [f"{self.wrong} wrong answers: {dict(self.answers)}"] if self.wrong else []
        if self.megabytes > MEGABYTES:
            found.append(f"{self.megabytes:.0f} MB")
        if not self.waits or not self.lags:
            found.append("nothing was measured")
        return found

    def delays(self) -> list[str]:
        """What was too slow: on a machine that others use too, worth a second look."""
        found = [f"p99 {p99(self.waits) * 1000:.0f} ms"] if p99(self.waits) > P99_SECONDS else []
        return found + ([f"loop {p99(self.lags) * 1000:.0f} ms late"] if p99(self.lags) > LAG_SECONDS else [])


def p99(values: list[float]) -> float:
    """The value that 99 of 100 stay below."""
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else (values or [0.0])[0]


async def watched(stack: Stack, push: str, seconds: float) -> Seen:
    """Order, read, push and look for so long."""
    seen, until = Seen(), time.monotonic() + seconds
    async with stack.client() as client:
        requests = [("GET", "/v1/tasks"), ("GET", "/v1/whoami"), ("POST", push), ("GET", "/v1/events")]
        await asyncio.gather(
            _asking(stack, client, requests, seen, until),
            _asking(stack, client, [*requests[::-1], ("POST", "/v1/tasks")], seen, until),
            _looking(stack, seen, until),
            _weighing(stack, seen, until),
        )
    return seen


async def _asking(
    stack: Stack, client: httpx.AsyncClient, requests: list[tuple[str, str]], seen: Seen, until: float
) -> None:
    while time.monotonic() < until:
        for method, path in requests:
            began, idle = time.monotonic(), in_line(stack)
            try:
                answer = await client.request(method, path, json=ORDER if method == "POST" else None)
                seen.answers[str(answer.status_code)] += 1
            except httpx.HTTPError as error:
                seen.answers[type(error).__name__] += 1
            took = time.monotonic() - began
            seen.raw.append(took)
            seen.waits.append(max(took - (in_line(stack) - idle), 0.0))
            await asyncio.sleep(PAUSE_SECONDS)


async def _looking(stack: Stack, seen: Seen, until: float) -> None:
    """The least an answer can take is how late the loop is: a bare request on an open connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    while time.monotonic() < until:
        began, idle = time.monotonic(), in_line(stack)
        writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        seen.lags.append(max(time.monotonic() - began - (in_line(stack) - idle), 0.0))
        await asyncio.sleep(PAUSE_SECONDS)
    writer.close()


def in_line(stack: Stack) -> float:
    """Seconds that the service's loop and ours were ready to run and stood in line for a processor; 0 where nobody counts them."""
    assert stack.process is not None
    return sum(_delay(pid) for pid in (stack.process.pid, os.getpid()))


def _delay(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


async def _weighing(stack: Stack, seen: Seen, until: float) -> None:
    while time.monotonic() < until:
        seen.megabytes = max(seen.megabytes, memory(stack))
        seen.connections = max(seen.connections, connections(stack))
        await asyncio.sleep(0.1)


def memory(stack: Stack) -> float:
    """Resident megabytes of the service now."""
    assert stack.process is not None
    status = Path(f"/proc/{stack.process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def connections(stack: Stack) -> int:
    """Descriptors the service holds: nearly all of them are connections."""
    assert stack.process is not None
    return len(list(Path(f"/proc/{stack.process.pid}/fd").iterdir()))
