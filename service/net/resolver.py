"""Turns names into addresses on threads of its own, within a limit, and judges every answer before anyone dials it.

asyncio's default pool has cpu + 4 threads, and getaddrinfo() cannot be cancelled: a handful of black-holed names would stop
every other look-up of the process for as long as the system resolver cares to wait. So there is one `Resolver` for
providers and one for subscribers, a name holds one thread however many callers wait for it, and names that answered
last time, names that ran over the limit, and names never asked before queue apart from each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from service.net.address import Address
from service.net.guard import LOOPBACK, NetError, Policy, is_this_machine

Lookup: TypeAlias = Callable[[str], Sequence[str]]
_NAMES_KEPT = 10_000


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
        self._running: dict[str, _Question] = {}
        self._quick: dict[str, bool] = {}  # whether a name answered within the limit, the last time
        quarter = max(1, threads // 4)
        self._desks = {
            True: _Desk("resolve", max(1, threads - 2 * quarter)),
            None: _Desk("resolve-new", quarter),
            False: _Desk("resolve-slow", quarter),
        }

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
        for desk in self._desks.values():
            desk.close()

    async def _resolve(self, host: str) -> Sequence[str]:
        question = self._running.get(host) or self._ask(host)
        question.waiting += 1
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await asyncio.shield(question.answer)
        except TimeoutError:
            self._remember(host, quick=False)
            raise ResolveFailed(f"{host} was not resolved within {self._timeout_seconds:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ResolveFailed(f"{host} could not be resolved: {_say(error)}") from None
        finally:
            question.waiting -= 1
            if not (question.waiting or question.begun):
                question.answer.cancel()  # nobody wants to know any more, and others stand behind it

    def _ask(self, host: str) -> _Question:
        if len(self._running) >= self._waiting:
            raise ResolveFailed(f"{host} was not resolved: too many names are waiting")
        loop = asyncio.get_running_loop()
        question = self._running[host] = _Question(loop.create_future())
        question.answer.add_done_callback(lambda _: self._ended(host, question))

        def work() -> None:
            if question.answer.done():
                return
            question.begun = True
            answers = _answer(self._lookup, host)
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everyone who waited
                loop.call_soon_threadsafe(_set, question.answer, answers)

        self._desks[self._quick.get(host)].put(work)
        return question

    def _ended(self, host: str, question: _Question) -> None:
        if self._running.get(host) is question:
            del self._running[host]
        # An answer, even a late one, shows that the name's servers are alive.
        if not question.answer.cancelled() and question.answer.exception() is None:
            self._remember(host, quick=True)

    def _remember(self, host: str, *, quick: bool) -> None:
        self._quick.pop(host, None)
        self._quick[host] = quick
        if len(self._quick) > _NAMES_KEPT:
            del self._quick[next(iter(self._quick))]


@dataclass(slots=True)
class _Question:
    """One look-up, and how many wait for it."""

    answer: asyncio.Future[Sequence[str]]
    waiting: int = 0
    begun: bool = False


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
