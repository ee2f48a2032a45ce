from __future__ import annotations

import asyncio
import gc
import resource
import weakref
from collections.abc import Iterator

import pytest

from service import runtime
from service.runtime import Loop, ease_collector, raise_file_limit, run


def test_a_process_may_hold_as_many_sockets_as_the_system_lets_it() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        allowed = raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, hard)
        assert allowed > 256 or hard <= 256
        assert raise_file_limit() == allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_duty_that_fails_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = asyncio.Event()
    runs = 0

    async def failing() -> int:
        nonlocal runs
        runs += 1
        if runs >= 3:
            stopping.set()
        raise ValueError("a bug")

    async with asyncio.timeout(30):
        await run([Loop(name="failing", run_once=failing, every_seconds=0.001)], [], stopping)
    assert runs == 3


async def test_an_endless_duty_that_fails_or_ends_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "RESTART_SECONDS", 0.001)
    stopping = asyncio.Event()
    starts = 0

    async def duty() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise ValueError("a bug")
        if starts == 3:
            stopping.set()
            await forever()

    async with asyncio.timeout(30):
        await run([], [duty], stopping)
    assert starts == 3


async def test_a_duty_that_did_something_is_run_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = asyncio.Event()
    done = iter([5, 1, 0])

    async def busy() -> int:
        did = next(done)
        if not did:
            stopping.set()
        await asyncio.sleep(0)
        return did

    async with asyncio.timeout(30):
        await run([Loop(name="busy", run_once=busy, every_seconds=3600)], [], stopping)
    assert list(done) == []


async def test_stopping_ends_everything_at_once() -> None:
    stopping = asyncio.Event()
    ended: list[str] = []
    started = asyncio.Barrier(3)

    async def endless() -> None:
        try:
            await started.wait()
            await forever()
        finally:
            ended.append("endless")

    async def once() -> int:
        try:
            await started.wait()
            await forever()
        finally:
            ended.append("loop")
        return 0

    running = asyncio.create_task(run([Loop(name="loop", run_once=once, every_seconds=60)], [endless], stopping))
    async with asyncio.timeout(30):
        await started.wait()
        stopping.set()
        await running
    assert sorted(ended) == ["endless", "loop"]


async def test_a_cancelled_run_leaves_nothing_running() -> None:
    ended = asyncio.Event()
    started = asyncio.Event()

    async def endless() -> None:
        try:
            started.set()
            await forever()
        finally:
            ended.set()

    running = asyncio.create_task(run([], [endless], asyncio.Event()))
    async with asyncio.timeout(30):
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert ended.is_set()


@pytest.fixture
def collector() -> Iterator[None]:
    """The cycle collector of this process, as it was afterwards."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Knot:
    def __init__(self) -> None:
        self.me = self


@pytest.mark.usefixtures("collector")
def test_an_eased_collector_still_unties_knots() -> None:
    ease_collector()
    knots = [weakref.ref(Knot()) for _ in range(60_000)]
    assert sum(knot() is None for knot in knots) >= 10_000
