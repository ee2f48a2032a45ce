from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network

import pytest

from service.net.guard import Blocked, Policy
from service.net.resolver import ResolveFailed, Resolver
from tests.limits import Limits

PUBLIC = ["93.184.216.34"]
ANY = Policy()


@contextlib.contextmanager
def resolving(
    lookup: Callable[[str], Sequence[str]], *, timeout_seconds: float = 60, **more: int
) -> Iterator[Resolver]:
    resolver = Resolver(lookup=lookup, timeout_seconds=timeout_seconds, **more)
    try:
        yield resolver
    finally:
        resolver.close()


class BlackHole:
    """Names that begin with `hole` are never answered until the test lets go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked: list[str] = []
        self.failing = False  # what is said in the end: an answer, or that no server could be reached

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("hole"):
            self.let_go.wait(60)
            if self.failing:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return PUBLIC


@pytest.fixture
def hole() -> Iterator[BlackHole]:
    made = BlackHole()
    yield made
    made.let_go.set()


async def test_every_answer_is_returned_once_and_in_order() -> None:
    with resolving(lambda host: ["2606:4700::1", *PUBLIC, *PUBLIC]) as resolver:
        assert await resolver.addresses(ANY, "a.test") == (ip_address("2606:4700::1"), ip_address(PUBLIC[0]))


async def test_one_forbidden_answer_is_a_refusal() -> None:
    answers = [*PUBLIC, "169.254.169.254"]
    with resolving(lambda host: answers) as resolver, pytest.raises(Blocked, match=r"resolves to 169\.254\.169\.254"):
        await resolver.addresses(ANY, "a.test")


@pytest.mark.parametrize("literal", ["93.184.216.34", "2606:4700::1"])
async def test_literal_is_judged_without_a_look_up(literal: str, hole: BlackHole) -> None:
    with resolving(hole) as resolver:
        assert await resolver.addresses(ANY, literal) == (ip_address(literal),)
        for bad in ("10.0.0.1", "::1", "fe80::1%1", "127.1"):
            with pytest.raises(Blocked):
                await resolver.addresses(ANY, bad)
    assert hole.asked == []


async def test_localhost_needs_no_look_up(hole: BlackHole) -> None:
    with resolving(hole) as resolver:
        policy = Policy(allow=(ip_network("127.0.0.0/8"),))
        assert await resolver.addresses(policy, "localhost") == (ip_address("127.0.0.1"),)
        with pytest.raises(Blocked):
            await resolver.addresses(ANY, "localhost")
    assert hole.asked == []


@pytest.mark.parametrize(
    "error",
    [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), UnicodeError("label too long"), OSError()],
)
async def test_failure_is_not_a_refusal(error: Exception) -> None:
    def fail(host: str) -> Sequence[str]:
        raise error

    with resolving(fail) as resolver, pytest.raises(ResolveFailed, match="could not be resolved"):
        await resolver.addresses(ANY, "a.test")


async def test_name_without_addresses_is_a_failure() -> None:
    with resolving(lambda host: []) as resolver, pytest.raises(ResolveFailed, match="no address"):
        await resolver.addresses(ANY, "a.test")


async def test_look_up_is_given_up_after_the_limit(hole: BlackHole) -> None:
    late = r"hole\.test was not resolved within 0\.05 s"
    with resolving(hole, timeout_seconds=0.05) as resolver, pytest.raises(ResolveFailed, match=late):
        await resolver.addresses(ANY, "hole.test")


async def test_callers_for_one_name_share_one_thread(hole: BlackHole) -> None:
    with resolving(hole) as resolver:
        callers = [asyncio.create_task(resolver.addresses(ANY, "hole.test")) for _ in range(50)]
        await asyncio.sleep(0)
        callers[0].cancel()  # whoever leaves takes nothing from the others
        hole.let_go.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [(ip_address(PUBLIC[0]),)] * 49
    assert hole.asked == ["hole.test"]


async def test_fifty_dead_newcomers_do_not_hold_up_names_that_answered_before(hole: BlackHole) -> None:
    with resolving(hole, threads=8) as resolver:
        await resolver.addresses(ANY, "known.test")
        dead = [asyncio.create_task(resolver.addresses(ANY, f"hole{number}.test")) for number in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            assert await resolver.addresses(ANY, "known.test") == (ip_address(PUBLIC[0]),)
        hole.let_go.set()
        await asyncio.gather(*dead)


async def test_a_question_that_nobody_waits_for_any_more_is_not_asked(hole: BlackHole, limits: Limits) -> None:
    with resolving(hole, threads=4) as resolver:
        dead = [asyncio.create_task(resolver.addresses(ANY, f"hole{number}.test")) for number in range(50)]
        while not hole.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        limits.lapse(*dead)
        assert all(isinstance(said, ResolveFailed) for said in await asyncio.gather(*dead, return_exceptions=True))
        assert list(resolver._running) == hole.asked == ["hole0.test"]
        hole.let_go.set()
        while resolver._running:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert await resolver.addresses(ANY, "new.test")
    assert hole.asked == ["hole0.test", "new.test"]


async def test_names_that_hung_before_do_not_hold_up_new_ones(hole: BlackHole, limits: Limits) -> None:
    hole.failing = True
    with resolving(hole, threads=8) as resolver:

        async def ask_the_dead() -> list[asyncio.Task[object]]:
            asking = [asyncio.create_task(resolver.addresses(ANY, f"hole{number}.test")) for number in range(50)]
            await asyncio.sleep(0)
            return asking  # type: ignore[return-value]

        def failed(said: list[object]) -> bool:
            return all(isinstance(one, ResolveFailed) for one in said)

        asking = await ask_the_dead()
        limits.lapse(*asking)
        assert failed(await asyncio.gather(*asking, return_exceptions=True))
        hole.let_go.set()
        assert failed(await asyncio.gather(*await ask_the_dead(), return_exceptions=True))  # its threads are free again
        hole.let_go.clear()
        waiting = await ask_the_dead()
        async with asyncio.timeout(20):
            assert await resolver.addresses(ANY, "healthy.test") == (ip_address(PUBLIC[0]),)
        hole.let_go.set()
        assert failed(await asyncio.gather(*waiting, return_exceptions=True))


async def test_slow_name_is_forgiven_once_it_answers(hole: BlackHole, limits: Limits) -> None:
    with resolving(hole) as resolver:
        asking = asyncio.create_task(resolver.addresses(ANY, "hole.test"))
        await asyncio.sleep(0)
        limits.lapse(asking)
        with pytest.raises(ResolveFailed):
            await asking
        assert resolver._quick == {"hole.test": False}
        hole.let_go.set()
        await resolver.addresses(ANY, "hole.test")
        assert resolver._quick == {"hole.test": True}


async def test_waiting_names_are_bounded(hole: BlackHole) -> None:
    with resolving(hole, waiting=3) as resolver:
        callers = [asyncio.create_task(resolver.addresses(ANY, f"hole{number}.test")) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ResolveFailed, match="too many"):
            await resolver.addresses(ANY, "a.test")
        hole.let_go.set()
        await asyncio.gather(*callers)
        assert await resolver.addresses(ANY, "a.test")


async def test_threads_are_bounded_and_do_not_hold_up_the_exit(hole: BlackHole) -> None:
    before = set(threading.enumerate())
    with resolving(hole, threads=8) as resolver:
        callers = [asyncio.create_task(resolver.addresses(ANY, f"hole{number}.test")) for number in range(50)]
        await asyncio.sleep(0)
        started = set(threading.enumerate()) - before
        assert len(started) == 2  # and 2 for slow names, 4 for those that answer
        assert all(thread.daemon for thread in started)
        hole.let_go.set()
        await asyncio.gather(*callers)
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()


async def test_system_knows_this_machine_by_name() -> None:
    resolver = Resolver()
    policy = Policy(allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
    found = await resolver._resolve("localhost")
    assert set(found) <= {"127.0.0.1", "::1"}
    assert policy.judge_answers("localhost", found)
    resolver.close()
