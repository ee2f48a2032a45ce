"""A sandbox on a real socket whose jobs move by hand, a client of it, and a receiver for its pushes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import orjson
import pytest

from service.sandbox.jobs import Knobs
from service.sandbox.serve import serve
from service.sandbox.subscriber import Received, Subscriber
from service.sandbox.world import World

KEY = "ulazai_live_a-made-up-key"
SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="


@dataclass
class HandClock:
    """A clock that stands still until it is moved."""

    now: float = 1_783_500_000.0
    sleepers: list[tuple[float, asyncio.Event]] = field(default_factory=list)
    asleep: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        async with self.asleep:
            self.sleepers.append((self.now + seconds, woken))
            self.asleep.notify_all()
        await woken.wait()

    async def move(self, seconds: float) -> None:
        """Wait until somebody sleeps, then let that much time pass."""
        async with asyncio.timeout(30), self.asleep:
            await self.asleep.wait_for(lambda: bool(self.sleepers))
        self.now += seconds
        for due, woken in self.sleepers:
            if due <= self.now:
                woken.set()
        self.sleepers = [sleeper for sleeper in self.sleepers if sleeper[0] > self.now]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def world(clock: HandClock) -> World:
    return World(Knobs(job_seconds=None), clock=clock, sleep=clock.sleep)


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with await serve(world) as served:
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=60, trust_env=False) as client:
            yield client


@pytest.fixture
def receiver() -> Subscriber:
    return Subscriber(SECRET)


@pytest.fixture
async def callback_url(receiver: Subscriber) -> AsyncIterator[str]:
    async with await serve(receiver) as served:
        yield f"{served.url}/callbacks/cloudsway/token"


Arrived = Callable[[int], Awaitable[list[Received]]]


@pytest.fixture
def arrived(receiver: Subscriber) -> Arrived:
    """Wait for so many pushes and return them."""

    async def wait(count: int) -> list[Received]:
        async with asyncio.timeout(30):
            await receiver.until(count)
        return list(receiver.received)

    return wait


def statuses(pushes: list[Received]) -> list[str]:
    return [orjson.loads(push.body)["status"] for push in pushes]
