"""Wake-ups through a real server: who hears what, how much is said, and what becomes of a line that is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from storage.listening import BETWEEN_SECONDS, Listening
from storage.wakeups import EVERYTHING, Hint

pytestmark = pytest.mark.slow

SECONDS = 60.0
CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'taskrelay'
"""


class Ear:
    """A line that somebody listens to. `heard`: what came, without the one of its beginning."""

    def __init__(self, url: str, name: str) -> None:
        self.line = Listening(url, name)
        self.heard: list[Hint] = []
        self.stirred = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def hear(self, hint: Hint) -> None:
        self.heard.append(hint)
        self.stirred.set()

    async def until(self, *, count: int) -> None:
        async with asyncio.timeout(SECONDS):
            while len(self.heard) < count:
                self.stirred.clear()
                await self.stirred.wait()

    async def __aenter__(self) -> Ear:
        self.task = asyncio.create_task(self.line.run(self.hear))
        await self.until(count=1)
        assert self.heard == [EVERYTHING]  # what was said while nobody listened
        self.heard.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.line.close()


@pytest.fixture
async def ears(postgres_database: str) -> AsyncIterator[tuple[Ear, Ear]]:
    async with Ear(postgres_database, "one") as one, Ear(postgres_database, "other") as other:
        yield one, other


def task(number: int) -> Hint:
    return Hint(ids=frozenset({f"task_{number}"}))


async def test_the_others_hear_it_and_who_said_it_does_not(ears: tuple[Ear, Ear]) -> None:
    one, other = ears
    assert one.line.alive and other.line.alive
    one.line.tell(task(1))
    await other.until(count=1)
    other.line.tell(task(2))
    await one.until(count=1)
    assert (other.heard, one.heard) == ([task(1)], [task(2)])


async def test_whatever_the_load_little_is_said(ears: tuple[Ear, Ear]) -> None:
    one, other = ears
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(5000):
        one.line.tell(Hint(lanes={("endpoint", "ep_1"): number}))
        if number % 50 == 0:
            await asyncio.sleep(0.001)
    one.line.tell(task(0))
    async with asyncio.timeout(SECONDS):
        while not any(hint.ids for hint in other.heard):
            other.stirred.clear()
            await other.stirred.wait()
    assert len(other.heard) <= (loop.time() - began) / BETWEEN_SECONDS + 2


async def test_a_line_that_is_cut_is_made_again_and_says_that_something_was_missed(
    ears: tuple[Ear, Ear], postgres_database: str
) -> None:
    one, other = ears
    link = await asyncpg.connect(postgres_database)
    try:
        assert await link.fetchval(CUT) >= 2
    finally:
        await link.close()
    one.line.tell(task(7))
    async with asyncio.timeout(SECONDS):
        for ear in (one, other):
            while EVERYTHING not in ear.heard:
                ear.stirred.clear()
                await ear.stirred.wait()
    one.line.tell(task(8))
    async with asyncio.timeout(SECONDS):
        while not any("task_8" in hint.ids for hint in other.heard):
            other.stirred.clear()
            await other.stirred.wait()


async def test_what_was_told_last_is_still_said_at_the_end(ears: tuple[Ear, Ear], postgres_database: str) -> None:
    one, _ = ears
    leaving = Listening(postgres_database, "leaving")
    leaving.tell(task(9))
    await leaving.close()
    await one.until(count=1)
    assert one.heard == [task(9)]


async def test_without_a_server_nothing_fails_and_memory_stays_bounded() -> None:
    line = Listening("postgresql://nobody@127.0.0.1:1/none", "me")
    running = asyncio.create_task(line.run(lambda hint: None))
    for number in range(30_000):
        line.tell(task(number))
    await asyncio.sleep(0.05)
    assert not line.alive and not running.done() and len(line._told) <= 10_000
    running.cancel()
    await asyncio.wait([running])
    await line.close()
