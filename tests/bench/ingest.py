"""Callbacks made durable, in both modes, beside a server that only answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from service.settings import Settings, load
from tests.bench import load as generator
from tests.bench import seed
from tests.bench.row import Row, against
from tests.bench.stage import child, environment

CONNECTIONS = 64


async def rows(folder: Path, count: int, rounds: int, tell: Callable[[str], None]) -> list[Row]:
    bare: list[float] = []
    verify, trust = Ingest(folder / "verify", "verify"), Ingest(folder / "trust", "trust")
    for ingest in (verify, trust):
        await ingest.prepare()
    for number in range(rounds):
        tell(f"callbacks, round {number + 1} of {rounds}")
        bare.append(await ceiling(count))
        for ingest in (verify, trust):
            ingest.rates.append(await ingest.round(count))
    return [
        against("callbacks stored, doorbell (verify, the default)", "ingest_verify", verify.rates, bare),
        against("callbacks to state, timeline and outbox (trust)", "ingest", trust.rates, bare, goal="≥ 0.25"),
    ]


async def ceiling(count: int) -> float:
    """Callbacks a second that a bare uvicorn app answers."""
    body = seed.push_body(seed.task("prj", "cloudsway", 1))
    async with child("bare", env={}) as bare:
        port = int((await bare.hear())["port"])
        requests = [generator.post("/callbacks/cloudsway/x", body)] * count
        return (await generator.run(port, requests, CONNECTIONS)).per_second


class Ingest:
    """One database and one account mode; each round sends callbacks of tasks not used before."""

    def __init__(self, folder: Path, callbacks: str, *, url: str | None = None) -> None:
        os.mkdir(folder)
        self.env = environment(folder, callbacks=callbacks, url=url)
        self.settings: Settings = load(self.env)
        self.used = 0
        self.rates: list[float] = []

    async def prepare(self) -> None:
        self.to = await seed.tenant(self.settings, "http://127.0.0.1:9/hook", in_flight=64)

    async def round(self, count: int) -> float:
        pushes = await seed.processing(self.settings, self.to.project_id, count, first=self.used, account="cloudsway")
        self.used += count
        requests = [generator.post(push.path, push.body) for push in pushes]
        async with child("api", env=self.env) as served:
            port = int((await served.hear())["port"])
            result = await generator.run(port, requests, CONNECTIONS)
            served.tell()
            self.cpu_us = (await served.hear())["cpu_seconds"] / count * 1e6
        if result.bad or result.answers != count:
            raise RuntimeError(f"{result.bad} of {result.answers} callbacks were not answered with 200")
        return result.per_second
