"""One run from the first start to the last: storm, the quieter phases, then calm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.closing import closed
from tests.chaos.phases import Phases
from tests.chaos.result import Result, Run
from tests.chaos.server import serving
from tests.chaos.stage import Stage, staged

CUT_SECONDS, SHORT_CUT_SECONDS = 30.0, 20.0
LONG_SECONDS = 300.0  # runs from there on have the longer cut
SECONDS_A_ROUND = 100.0  # of the storm, for each round of lapses and of stops in order
SAY_EVERY_SECONDS = 10.0


async def played(run: Run, folder: Path, say: Callable[[str], None]) -> Result:
    """Play it. The database server ends with the run; logs stay in the folder."""
    began = time.monotonic()

    def tell(text: str) -> None:
        say(f"{time.monotonic() - began:6.1f} s  {text}")

    with serving() as server:
        try:
            async with staged(server, folder, seed=run.seed, per_second=run.per_second, roles=run.roles) as stage:
                return await _on_stage(run, stage, tell)
        finally:
            (folder / "postgres.log").write_text(server.log())


async def _on_stage(run: Run, stage: Stage, tell: Callable[[str], None]) -> Result:
    phases = Phases(stage, tell)
    ordering = [asyncio.create_task(client.stream()) for client in stage.clients.values()]
    telling = asyncio.create_task(_progress(stage, tell))
    try:
        if "storm" in run.phases:
            await phases.storm(run.seed, run.seconds)
        rounds = max(1, int(run.seconds / SECONDS_A_ROUND))
        if "lapse" in run.phases:
            await phases.lapse(rounds)
        if "rolling" in run.phases and len(stage.balancer.backends) > 1:
            tell("only stops in order")
            await phases.rolling(rounds)
        if "cut" in run.phases:
            await phases.cut(CUT_SECONDS if run.seconds >= LONG_SECONDS else SHORT_CUT_SECONDS)
        if "defaults" in run.phases:
            tell("spans as delivered")
            await phases.defaults()
        tell("calm")
        return await closed(run, stage, phases, ordering)
    finally:
        for task in (*ordering, telling):
            task.cancel()
        await asyncio.gather(*ordering, telling, return_exceptions=True)


async def _progress(stage: Stage, tell: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(SAY_EVERY_SECONDS)
        acked = sum(len(client.acked) for client in stage.clients.values())
        tell(f"{acked} acknowledged, {len(stage.receiver.receipts)} attempts heard, {stage.reader.seen.total()} read")
