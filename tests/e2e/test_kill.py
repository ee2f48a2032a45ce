"""kill -9 between any two steps of a pushed task: bought once, and the event arrives, with one id and one body.

One task and one death for each fail-point. What many tasks, many deaths and all provider kinds make of it is the kill
test's: `make kill-test`.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from service.sandbox.jobs import Knobs
from service.sandbox.serve import serve
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from service.telemetry.failpoints import POINTS
from tests import engines
from tests.e2e.stack import PATIENCE_SECONDS, SHORT_LEASES, SHORT_PURCHASES, Stack, database_url
from tests.kill.nursery import Life, Nursery
from tests.kill.plan import LOOK_UPS, RESENDS, STOPS

pytestmark = pytest.mark.slow

AT_ONCE = 14  # most of a scenario is waiting
STOPPED_SECONDS = 2.5  # longer than the submission's deadline of 2 s
# Where its answer is not to be lost, a purchase has longer: on a busy machine one would be looked up instead, and what comes after
# an answer would not be passed.
LONGER_PURCHASES = {"TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": "6"}
LONGER_LEASES = {**SHORT_LEASES, **LONGER_PURCHASES, "TASKRELAY_TIMING__LANE_TTL_SECONDS": "12"}
REFERENCE = "once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the oracle saw, and what the service says of itself in the end."""

    exit_code: int | None
    accepted: int
    creates: int
    tasks: int
    webhook_ids: frozenset[str | None]
    bodies: frozenset[str]
    valid: bool
    events: int
    status: str
    story: tuple[str, ...]


class Scene(Stack):
    """An installation whose lives come from a nursery. `spans`: of its purchases and leases."""

    nursery: Nursery
    spans: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.spans}

    async def born(self, **extra: str) -> Life:
        arguments = ("serve", "--host", "127.0.0.1", "--port", str(self.port))
        environment = {**self.environment(), **extra}
        log = self.folder / "service.log"
        return await self.nursery.run(*arguments, folder=self.folder, log=log, environment=environment)

    async def make_key(self) -> None:
        command, told = ("keys", "create", "--name", "test", "--scope", "admin", "--json"), self.folder / "key.json"
        life = await self.nursery.run(*command, folder=self.folder, log=told, environment=self.environment())
        assert await life.wait(PATIENCE_SECONDS) == 0, told.read_text()
        self.key = json.loads(told.read_text())["key"]

    async def ready(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self.client() as client:
            while True:
                try:
                    if (await client.get("/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.02)

    async def ordered(self, prompt: str) -> None:
        """Order the task unless it was ordered before. Whoever dies meanwhile has not answered."""
        try:
            reply = await self.create(reference=REFERENCE, input={"prompt": prompt})
            assert reply.status_code in (202, 409), reply.text
        except httpx.TransportError:
            pass


def spans(longer: bool) -> Mapping[str, str]:
    if engines.POSTGRES:
        return LONGER_LEASES if longer else SHORT_LEASES
    return LONGER_PURCHASES if longer else SHORT_PURCHASES


@asynccontextmanager
async def scene(folder: Path, nursery: Nursery, *, longer: bool) -> AsyncIterator[Scene]:
    """A subscribed installation, killed once already; nothing runs."""
    await asyncio.to_thread(folder.mkdir)
    # Uniqueness is off, so that a second purchase would be made and counted instead of refused.
    world, subscriber = World(Knobs(job_seconds=0.5, unique_external_id=False)), Subscriber()
    async with AsyncExitStack() as ending:
        provider = await ending.enter_async_context(await serve(world))
        receiver = await ending.enter_async_context(await serve(subscriber))
        stage = Scene(folder, world, subscriber, provider, receiver, await database_url(folder))
        stage.nursery = nursery
        stage.spans = spans(longer)
        await stage.make_key()
        life = await stage.born()
        await stage.ready()
        await stage.subscribe()
        life.signal(signal.SIGKILL)
        await life.ended
        yield stage


async def died_at(stage: Scene, point: str) -> int | None:
    """Let the point be reached, and the service die there."""
    prompt = "A paper boat"
    if point in RESENDS:
        life = await stage.born(TASKRELAY_FAILPOINT="after_intent")
        await stage.ready()
        await stage.ordered(prompt)
        await life.wait(PATIENCE_SECONDS)
    life = await stage.born(TASKRELAY_FAILPOINT=point)
    if point != "at_start":
        await stage.ready()
        await stage.ordered(f"{prompt} [sandbox: lost-reply]" if point in LOOK_UPS else prompt)
    if point in STOPS:
        life.signal(signal.SIGTERM)
    return await life.wait(PATIENCE_SECONDS)


async def stopped_at(stage: Scene, point: str) -> int | None:
    """Let the service be paused there for longer than its submission may take, then go on."""
    life = await stage.born(TASKRELAY_FAILPOINT=f"{point}:1:stop")
    await stage.ready()
    ordering = asyncio.create_task(stage.ordered("A paper boat"))  # its answer may wait for the end of the pause
    await stage.until(lambda: paused(life), f"{point}: the pause")
    await asyncio.sleep(STOPPED_SECONDS)  # the guard's clock is the system's, and that process is not ours to wind it
    assert not stage.world.jobs and not [asked for asked in stage.world.requests if asked.kind == "create"]
    life.signal(signal.SIGCONT)
    await ordering
    return None


def paused(life: Life) -> bool:
    return Path(f"/proc/{life.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def scenario(name: str, folder: Path, nursery: Nursery) -> Seen:
    point, _, stops = name.partition(":")
    async with scene(folder, nursery, longer=not stops and point not in (*LOOK_UPS, *RESENDS)) as stage:
        exit_code = await (stopped_at if stops else died_at)(stage, point)
        if not stops:
            await stage.born()
            await stage.ready()
            await stage.ordered("A paper boat")  # for those that died before it was stored
        await stage.until(lambda: any(one.valid for one in stage.subscriber.received), f"{name}: the event")
        return await look(stage, exit_code)


async def feed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Until it holds the end: on PostgreSQL an event is in it once no older transaction is open, and a webhook may be quicker."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found: list[dict[str, Any]] = (await client.get("/v1/events")).json()["data"]
            if any(event["type"] == "task.succeeded" for event in found):
                return found
            await asyncio.sleep(0.05)


async def look(stage: Scene, exit_code: int | None) -> Seen:
    async with stage.client() as client:
        tasks = (await client.get("/v1/tasks")).json()["data"]
        events = await feed(client)
        timeline = (await client.get(f"/v1/tasks/{tasks[0]['id']}/timeline")).json()["data"]
    received = list(stage.subscriber.received)
    return Seen(
        exit_code=exit_code,
        accepted=sum(sum(counted.values()) for counted in stage.world.accepted.values()),
        creates=sum(asked.kind == "create" for asked in stage.world.requests),
        tasks=len(tasks),
        webhook_ids=frozenset(one.webhook_id for one in received),
        bodies=frozenset(one.sha256 for one in received),
        valid=all(one.valid for one in received),
        events=sum(event["type"] == "task.succeeded" for event in events),
        status=tasks[0]["status"],
        story=tuple(entry["kind"] for entry in timeline),
    )


PAUSED = ("after_intent:stop", "before_write:stop")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mapping[str, Seen]]:
    """Every scenario, several side by side."""
    folder = tmp_path_factory.mktemp("kill")
    turn = asyncio.Semaphore(AT_ONCE)
    async with Nursery() as nursery:

        async def one(name: str) -> Seen:
            async with turn:
                return await scenario(name, folder / name.replace(":", "-"), nursery)

        names = (*RESENDS, *(point for point in POINTS if point not in RESENDS), *PAUSED)  # the longest first
        found = await asyncio.gather(*map(one, names))
        yield dict(zip(names, found, strict=True))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.asyncio(loop_scope="module")
async def test_killed_at_any_step_it_is_bought_once_and_told(seen: Mapping[str, Seen], point: str) -> None:
    found = seen[point]
    assert found.exit_code == -signal.SIGKILL
    assert found.accepted == 1
    assert (found.tasks, found.status, found.events) == (1, "succeeded", 1)
    assert len(found.webhook_ids) == len(found.bodies) == 1
    assert found.valid


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PAUSED)
@pytest.mark.asyncio(loop_scope="module")
async def test_paused_past_its_deadline_it_sends_nothing_late_and_buys_anew(
    seen: Mapping[str, Seen], name: str
) -> None:
    found = seen[name]
    assert found.story.count("intent") >= 2 and "deferred" in found.story  # a busy machine may defer it again
    assert (found.creates, found.accepted, found.tasks, found.status) == (1, 1, 1, "succeeded")
