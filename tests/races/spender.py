"""A process of its own that makes tasks in somebody's project: python -m tests.races.spender URL FOLDER PROJECT COUNT."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from service.pipeline.spending import NotAllowed
from storage.database import open_database
from tests.races.test_creating import ask
from tests.service.pipeline.parties import Clock
from tests.service.pipeline.rig import Rig


async def spend(url: str, folder: Path, project: str, count: int) -> Counter[str]:
    clock = Clock()
    rig = Rig(path=folder, clock=clock, database=await open_database(url, clock=clock), owner="spender")
    rig.accounts["cloudsway"] = replace(rig.account(), unit_price="0.01 USD")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()

    async def one() -> str:
        try:
            await ask(rig, project)
        except NotAllowed as refused:
            return refused.code
        return "made"

    try:
        return Counter(await asyncio.gather(*(one() for _ in range(count))))
    finally:
        await rig.close()


if __name__ == "__main__":
    url, folder, project, count = sys.argv[1:]
    told = asyncio.run(spend(url, Path(folder), project, int(count)))
    sys.stdout.write(f"{told['made']} {told['budget_exhausted']}\n")
