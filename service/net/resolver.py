"""Turns names into addresses on threads of its own, within a limit, and judges every answer before anyone dials it.

asyncio's default pool has cpu + 4 threads, and getaddrinfo() cannot be cancelled: a handful of black-holed names would stop
every other look-up of the process for as long as the system resolver cares to wait. So there is one `Resolver` for
providers and one for subscribers, a name holds one thread however many callers wait for it, and names that ran over
the limit last time queue apart from those that did not.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from service.net.address import Address
from service.net.guard import LOOPBACK, NetError, Policy, is_this_machine

Lookup: TypeAlias = Callable[[str], Sequence[str]]
_SLOW_NAMES_KEPT = 10_000


class ResolveFailed(NetError):
    """The name could not be resolved; says nothing about the policy, so trying again later may work."""


def system_lookup(host: str) -> Sequence[str]:
    """Every address the system knows for a name, in its order of preference."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class Resolver:
    """Resolves within `timeout_seconds`. Belongs to one event loop."""

    def __init__(
        self, *, threads: int = 16, timeout_seconds: float = 3.0, waiting: int = 1000, lookup: Lookup = system_lookup
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._waiting = waiting
        self._lookup = lookup
        self._running: dict[str, asyncio.Future[Sequence[str]]] = {}
        self._slow: dict[str, None] = {}
        slow_threads = max(1, threads // 4)
        self._desk = _Desk("resolve", max(1, threads - slow_threads))
        self._slow_desk = _Desk("resolve-slow", slow_threads)

    async def addresses(self, policy: Policy, host: str) -> tuple[Address, ...]:
        """The vetted addresses of a name or literal. Raises `Blocked` (any answer forbidden) or `ResolveFailed`."""
        # A literal needs no look-up, and none of the forms that getaddrinfo() alone takes for one gets here.
        if ":" in host or host.rpartition(".")[2].isdigit():
            return policy.judge_answers(host, (host,))
        if is_this_machine(host):
            return policy.judge_answers(host, [str(address) for address in LOOPBACK])
        answers = await self._resolve(host)
        if not answers:
            raise ResolveFailed(f"{host} has no address")
        return policy.judge_answers(host, dict.fromkeys(answers))

    def close(self) -> None:
        """Let idle threads end. Busy ones are daemons and do not hold up the exit."""
        self._desk.close()
        self._slow_desk.close()

    async def _resolve(self, host: str) -> Sequence[str]:
        running = self._running.get(host)
        if running is None:
            running = self._start(host)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await asyncio.shield(running)
        except TimeoutError:
            if len(self._slow) < _SLOW_NAMES_KEPT:
                self._slow[host] = None
            raise ResolveFailed(f"{host} was not resolved within {self._timeout_seconds:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ResolveFailed(f"{host} could not be resolved: {_say(error)}") from None

    def _start(self, host: str) -> asyncio.Future[Sequence[str]]:
        if len(self._running) >= self._waiting:
            raise ResolveFailed(f"{host} was not resolved: too many names are waiting")
        loop = asyncio.get_running_loop()
        running: asyncio.Future[Sequence[str]] = loop.create_future()
        self._running[host] = running
        running.add_done_callback(lambda _: self._ended(host, running))

        def settle(answers: Sequence[str] | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everyone who waited
                loop.call_soon_threadsafe(_set, running, answers)

        desk = self._slow_desk if host in self._slow else self._desk
        desk.put(lambda: settle(_answer(self._lookup, host)))
        return running

    def _ended(self, host: str, running: asyncio.Future[Sequence[str]]) -> None:
        self._running.pop(host, None)
        # An answer, even a late one, shows that the name's servers are alive again.
        if not running.cancelled() and running.exception() is None:
            self._slow.pop(host, None)


class _Desk:
    """A fixed number of daemon threads that work off one queue; started when first needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._started = 0
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def put(self, work: Callable[[], None]) -> None:
        self._queue.put(work)
        if self._started < self._threads:
            self._started += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()

    def close(self) -> None:
        for _ in range(self._started):
            self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


def _answer(lookup: Lookup, host: str) -> Sequence[str] | BaseException:
    try:
        return lookup(host)
    except Exception as error:
        return error


def _set(running: asyncio.Future[Sequence[str]], answers: Sequence[str] | BaseException) -> None:
    if running.done():
        return
    if isinstance(answers, BaseException):
        running.set_exception(answers)
        running.exception()  # looked at, so that nobody complains when the last waiter has left
    else:
        running.set_result(answers)


def _say(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
