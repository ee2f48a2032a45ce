"""What bad endpoints cost the good ones: first attempts of 49 healthy endpoints, without and with them, in one run.

Two services share the measured core: one has the good endpoints alone, the other the bad ones too. Pushes come at a steady rate, to
one service and the other by short turns, for each healthy endpoint in turn; measured is from the moment a push was to leave to
the moment its event arrived. The bad endpoints are owed 10,000 deliveries each, and are paused until it is their turn to join.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson

from service.settings import load
from storage.records import EndpointStatus
from tests.bench import load as generator
from tests.bench import seed, steady
from tests.bench.row import Row, percentile
from tests.bench.seed import Manners, Tenant
from tests.bench.sink import NO_CONTENT, Sink, header
from tests.bench.stage import child, environment

HEALTHY = 49
OWED = 10_000
PER_SECOND = 500
TURN_SECONDS = 0.2  # short, so that a busy moment of the machine hits both
# Turns of each service. Those beside the hanging endpoint go past the 15 s after which an attempt is given up.
TURNS = {"warm up": 5, "hanging": 45, "failing": 20, "back": 15}
BACK_ANSWERS_AFTER = 0.005  # an endpoint that is back from an outage: its retries then take most of a phase
GRACE_SECONDS = 10.0  # for what is still on its way when a phase ends
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Receivers:
    """All endpoints on one port, told apart by path. `came`: when the event of a task first arrived."""

    def __init__(self) -> None:
        self.came: dict[str, float] = {}
        self.missing: set[str] = set()
        self.complete = asyncio.Event()
        self.asked: Counter[str] = Counter()  # requests by path
        self.sink = Sink(self.answer)

    def expect(self, tasks: Sequence[str]) -> None:
        self.missing = set(tasks)
        self.complete.clear()

    def answer(self, head: bytes, body: bytes) -> bytes | float | None:
        now = time.perf_counter()
        path = head.split(b" ", 2)[1].decode()
        self.asked[path] += 1
        if path == "/hanging":
            return None
        if path == "/failing":
            return ERROR
        if header(head, b"taskrelay-attempt") == "1":
            self._arrived(orjson.loads(body)["data"]["id"], now)
        return BACK_ANSWERS_AFTER if path == "/back" else NO_CONTENT

    def _arrived(self, task: str, now: float) -> None:
        self.came.setdefault(task, now)
        self.missing.discard(task)
        if not self.missing:
            self.complete.set()


class Town:
    """One service with its endpoints, and turn after turn of pushes to it."""

    def __init__(self, folder: Path) -> None:
        os.mkdir(folder)
        self.env = environment(folder, callbacks="trust")
        self.settings = load(self.env)
        self.receivers = Receivers()
        self.bad: dict[str, Tenant] = {}
        self.used = 0
        self.port = 0

    async def prepare(self, *bad: str) -> None:
        self.server, port = await self.receivers.sink.listen()
        wanted = [(f"http://127.0.0.1:{port}/hook/{number}", Manners()) for number in range(HEALTHY)]
        wanted += [(f"http://127.0.0.1:{port}/{name}", Manners(status=EndpointStatus.PAUSED)) for name in bad]
        made = await seed.tenants(self.settings, wanted, in_flight=8)
        self.healthy, self.bad = made[:HEALTHY], dict(zip(bad, made[HEALTHY:], strict=True))
        for name, one in self.bad.items():
            await seed.deliveries(self.settings, one, OWED, attempts=0 if name == "hanging" else 1)
        self.keys = {name: await seed.key(self.settings, one.project_id) for name, one in self.bad.items()}

    async def pushes(self, to: Sequence[Tenant], turns: int) -> list[list[bytes]]:
        """Turns of pushes, for each tenant in turn."""
        each = max(int(PER_SECOND * TURN_SECONDS * turns / len(to)), 1)
        queues = []
        for one in to:
            queues.append(
                await seed.processing(self.settings, one.project_id, each, first=self.used, account="cloudsway")
            )
            self.used += each
        made = [generator.post(push.path, push.body) for one_each in zip(*queues, strict=True) for push in one_each]
        size = -(-len(made) // turns)
        return [made[start : start + size] for start in range(0, len(made), size)]

    async def turn(self, requests: Sequence[bytes]) -> list[float]:
        """Milliseconds from each push to its event."""
        tasks = [orjson.loads(request.split(b"\r\n\r\n", 1)[1])["external_id"] for request in requests]
        self.receivers.expect(tasks)
        pool = steady.Pool(self.port)
        planned = await steady.run(pool, requests, PER_SECOND)
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self.receivers.complete.wait()
        except TimeoutError:
            raise RuntimeError(f"{len(self.receivers.missing)} events did not arrive") from None
        if pool.bad:
            raise RuntimeError(f"{pool.bad} pushes were refused")
        return [(self.receivers.came[task] - at) * 1000 for task, at in zip(tasks, planned, strict=True)]

    async def resume(self, name: str) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", trust_env=False) as client:
            answer = await client.post(
                f"/v1/endpoints/{self.bad[name].endpoint_id}/resume",
                headers={"authorization": f"Bearer {self.keys[name]}"},
            )
            answer.raise_for_status()

    def check(self) -> None:
        """Whether the bad endpoints were as bad as the rows say."""
        asked = self.receivers.asked
        if asked["/hanging"] < 8 or asked["/failing"] < 10 or asked["/back"] < OWED // 10:
            raise RuntimeError(f"the bad endpoints were hardly called: {asked}")


async def rows(folder: Path, tell: Callable[[str], None]) -> list[Row]:
    os.mkdir(folder)
    calm, mixed = Town(folder / "calm"), Town(folder / "mixed")
    tell("fairness: seeding")
    await calm.prepare()
    await mixed.prepare("hanging", "failing", "back")
    phases = [await Phase.of(name, turns, calm, mixed) for name, turns in TURNS.items()]
    async with child("serve", env=calm.env) as first, child("serve", env=mixed.env) as second:
        calm.port, mixed.port = int((await first.hear())["port"]), int((await second.hear())["port"])
        for phase in phases:
            tell(f"fairness: {phase.name}")
            await phase.run(calm, mixed)
    for town in (calm, mixed):
        town.server.close()
    mixed.check()
    return told({phase.name: phase for phase in phases})


@dataclass(slots=True, kw_only=True)
class Phase:
    """Turns of pushes to both, and what they took: milliseconds of the good endpoints' events, and of the bad one's own."""

    name: str
    turns: list[tuple[list[bytes], list[bytes]]]
    to: int  # endpoints that are pushed for in the mixed town; the good ones come first
    calm: list[float] = field(default_factory=list)
    mixed: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)

    @classmethod
    async def of(cls, name: str, turns: int, calm: Town, mixed: Town) -> Phase:
        to = [*mixed.healthy, mixed.bad[name]] if name == "back" else mixed.healthy
        pairs = zip(await calm.pushes(calm.healthy, turns), await mixed.pushes(to, turns), strict=True)
        return cls(name=name, turns=list(pairs), to=len(to))

    async def run(self, calm: Town, mixed: Town) -> None:
        if self.name in mixed.bad:
            await mixed.resume(self.name)
        place = 0
        for mine, theirs in self.turns:
            self.calm += await calm.turn(mine)
            for one in await mixed.turn(theirs):
                (self.mixed if place % self.to < HEALTHY else self.own).append(one)
                place += 1


def told(phases: Mapping[str, Phase]) -> list[Row]:
    hanging, failing, back = phases["hanging"], phases["failing"], phases["back"]
    return [
        _row("fair_hanging", "49 endpoints beside one that hangs, 10,000 waiting", hanging, goal="≤ 2, ≤ 5 s"),
        _row("fair_failing", "… and one that fails, 10,000 retries due", failing),
        _row("fair_back", "… and one back from an outage, 10,000 retries due", back),
        Row(
            title="… and that one's own first attempts",
            measured=_spelled(back.own),
            figures={"fair_own_max_ms": round(max(back.own), 1)},
        ),
    ]


def _row(name: str, title: str, phase: Phase, goal: str = "") -> Row:
    p99, alone = percentile(phase.mixed, 0.99), percentile(phase.calm, 0.99)
    return Row(
        title=title,
        measured=_spelled(phase.mixed),
        ceiling=f"p99 {alone:.1f} ms",
        ratio=p99 / alone,
        goal=goal,
        figures={
            f"{name}_ratio": round(p99 / alone, 2),
            f"{name}_p99_ms": round(p99, 2),
            f"{name}_max_ms": round(max(phase.mixed), 1),
        },
    )


def _spelled(taken: Sequence[float]) -> str:
    return f"p99 {percentile(taken, 0.99):.1f} ms, max {max(taken):.0f} ms"
