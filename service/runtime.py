"""Runs the loops it is handed until told to stop, and keeps each of them alive."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from service.telemetry import metrics

log = logging.getLogger("taskrelay.runtime")

RESTART_SECONDS = 1.0
OPEN_FILES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One duty, run again and again. It says how much it did; after 0 it rests for `every_seconds`."""

    name: str
    run_once: Callable[[], Awaitable[int]]
    every_seconds: float


def ease_collector() -> None:
    """Let the cycle collector look less often, and never at what lives as long as the process. For one that serves.

    A batch in flight is thousands of objects without a cycle; looking through them every 700 took a tenth of all time.
    Cycles are still found: at most 50,000 young objects wait for it, a few megabytes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def raise_file_limit() -> int:
    """Let this process hold as many sockets as it may; the usual 1,024 are fewer than its connections. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if (wanted := file_limit(soft, hard)) != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def file_limit(soft: int, hard: int) -> int:
    """What it will be, of what was set and what may be. RLIM_INFINITY: any number."""
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    return soft if soft == resource.RLIM_INFINITY else max(soft, wanted)


async def run(loops: Sequence[Loop], endless: Sequence[Callable[[], Awaitable[None]]], stopping: asyncio.Event) -> None:
    """Run everything side by side until `stopping` is set. A duty that fails is logged and tried again."""
    running = [asyncio.create_task(_repeat(loop, stopping), name=loop.name) for loop in loops]
    running += [asyncio.create_task(_keep_up(duty)) for duty in endless]
    try:
        await stopping.wait()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _repeat(loop: Loop, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            done = await loop.run_once()
        except Exception:
            log.exception("%s failed; it is tried again", loop.name)
            metrics.duty_failures.labels(loop.name).inc()
            done = 0
        if not done:
            await _rest(stopping, loop.every_seconds)


async def _keep_up(duty: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await duty()
        except Exception:
            log.exception("a duty failed; it is started again")
        await asyncio.sleep(RESTART_SECONDS)


async def _rest(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass
