"""The wires: what the service sends to providers and subscribers, and what providers push, with everything that happens on the way.

Only the exchange of bytes is replaced. How a failure is judged, the guard before dialling and before writing, the limits in
time: all of that is the service's own code.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import aiohttp
import httpcore
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from service.bootstrap.policy import policy_of
from service.bootstrap.world import USER_AGENT
from service.net.client import ProviderClient
from service.net.dial import ERRAND, DeadlinePassed, Errand, SocketStream
from service.net.guard import Policy, Target
from service.net.resolver import Resolver
from service.net.sender import Sender, Sent
from service.providers.base import Ask, Reply
from service.sandbox.jobs import Attempt, Knobs, Push
from service.sandbox.postman import Postman
from tests.simulation.asgi import Answer, call
from tests.simulation.machine import Down

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.simulation import Simulation

TLS = ssl.create_default_context()  # slow to make, the same for all
CONNECT_SECONDS = 5.0
LATEST_ARRIVAL = 90.0  # after the submission's deadline: what the settle window allows for
ENDLESS = 100_000.0


class Wire:
    """What the errand sees of a socket."""

    def __init__(self) -> None:
        self.sent = 0


class Client(ProviderClient):
    """The service's provider client over the simulation's network."""

    def __init__(self, sim: Simulation, machine: Machine, policy: Policy, resolver: Resolver) -> None:
        super().__init__(policy, resolver, user_agent=USER_AGENT, boottime=sim.loop.time, ssl_context=TLS)
        self._sim = sim
        self._machine = machine

    async def _send(self, ask: Ask, target: Target, request: httpcore.Request) -> Reply:
        sim, errand = self._sim, ERRAND.get()
        self._machine.reach("buy" if ask.paid else "query")
        if self._too_late(errand):
            sim.guard_refused(self._machine)
            raise httpcore.ConnectTimeout("the deadline passed before dialling")
        fate = sim.network.fate_of(target, ask)
        await asyncio.sleep(fate.connect)
        if fate.kind == "refused":
            raise httpcore.ConnectError("Connection refused")
        if fate.kind == "black hole":
            await asyncio.sleep(CONNECT_SECONDS)
            raise httpcore.ConnectTimeout("no connection within 5 s")
        if ask.paid:
            await self._machine.brink()
        if self._too_late(errand):
            sim.guard_refused(self._machine)
            raise DeadlinePassed("the deadline passed while sending")
        wire = Wire()
        errand.stream, errand.before = cast(SocketStream, wire), 0
        wire.sent = 1
        body = b"".join([part async for part in cast(Any, request.stream)])
        headers = {name.decode(): value.decode() for name, value in request.headers}
        reply = await sim.network.exchange(self._machine, ask, target, headers, body, fate, errand.deadline)
        if ask.paid:
            self._machine.reach("bought")
        return reply

    def _too_late(self, errand: Errand) -> bool:
        return errand.deadline is not None and errand.deadline - self._sim.loop.time() <= 0


class Fate:
    """What becomes of one request."""

    __slots__ = ("back", "connect", "kind", "seconds", "status", "there")

    def __init__(self, kind: str, connect: float, there: float, back: float, seconds: float, status: int) -> None:
        self.kind = kind
        self.connect = connect
        self.there = there
        self.back = back
        self.seconds = seconds
        self.status = status


class Network:
    """All wires of one simulation."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.draw = sim.dice("network")
        self.crossings = 0

    def leg(self) -> float:
        """One way."""
        slow = self.sim.weather.slow
        long = self.draw.random() < 0.05
        return slow * (self.draw.random() * (8.0 if long else 1.0) + 0.05)

    def fate_of(self, target: Target, ask: Ask) -> Fate:
        sim, weather, draw = self.sim, self.sim.weather, self.draw
        contract = contract_of(target.host)
        connect, there, back = self.leg() / 2, self.leg(), self.leg()
        kind, seconds, status = "well", 0.0, 0
        if sim.loop.time() < sim.outages.get(contract, 0.0):
            kind = draw.choice(("refused", "black hole", "gateway"))
            status = 503
        else:
            dice = draw.random()
            for name in ("refused", "lost", "late", "mute", "reset", "gateway", "throttled", "garbled", "crossed"):
                dice -= getattr(weather, name)
                if dice < 0:
                    kind = name
                    break
        if kind == "late":
            # Most a little, some as late as anything can be that was sent in time.
            seconds = draw.choice((20.0, 45.0, 119.0, 119.0) if ask.paid else (10.0, 20.0)) * draw.random()
        elif kind == "gateway":
            status = status or draw.choice((502, 503, 504))
            seconds = draw.choice((-1.0, 0.0, 0.0, 60.0))  # not passed on; passed on; passed on late
        elif kind == "throttled":
            seconds = float(draw.choice((1, 7, 30)))
        elif kind in ("lost", "mute"):
            seconds = draw.choice((ENDLESS, ENDLESS, 2.0))  # hangs, or is reset after a while
        return Fate(kind, connect, there, back, seconds, status)

    async def exchange(
        self,
        machine: Machine,
        ask: Ask,
        target: Target,
        headers: Mapping[str, str],
        body: bytes,
        fate: Fate,
        deadline: float | None,
    ) -> Reply:
        """The reply to a request whose bytes have left, or the error that its sender sees."""
        sim = self.sim
        sim.note("ask", machine.name, f"{'buy' if ask.paid else ask.method} {contract_of(target.host)} {fate.kind}")
        reply: asyncio.Future[Reply] = sim.loop.create_future()
        sim.spawn(self._carry(ask, target, dict(headers), body, fate, deadline, reply))
        return await reply

    async def _carry(
        self,
        ask: Ask,
        target: Target,
        headers: dict[str, str],
        body: bytes,
        fate: Fate,
        deadline: float | None,
        reply: asyncio.Future[Reply],
    ) -> None:
        """The way there, the provider, the way back. Runs in the world: whoever asked may be dead by now."""
        sim, there = self.sim, fate.there
        latest = (deadline if deadline is not None else sim.loop.time()) + LATEST_ARRIVAL
        if fate.kind == "late" or (fate.kind == "gateway" and fate.seconds > 0):
            there += fate.seconds
        there = min(there, max(latest - sim.loop.time(), 0.0))
        if fate.kind == "gateway":
            sim.later(min(there, 3.0), _answer, reply, Reply(status=fate.status, headers={}, body=b"<h1>upstream</h1>"))
            if fate.seconds < 0:
                return
        elif fate.kind == "throttled":
            told = {"retry-after": str(int(fate.seconds))}
            sim.later(
                there, _answer, reply, Reply(status=429, headers=told, body=b'{"code":1302,"message":"too fast"}')
            )
            return
        elif fate.kind == "lost":
            sim.later(fate.seconds, _break, reply)
            return
        elif fate.kind == "reset":
            sim.later(there, _break, reply)
            if self.draw.random() < 0.5:
                return  # before it got there; otherwise just after
        await asyncio.sleep(there)
        answer = await sim.provider.answer(ask, target, headers, body)
        if fate.kind == "mute":
            sim.later(fate.seconds, _break, reply)
        elif answer is None:
            _break(reply)
        else:
            await asyncio.sleep(fate.back)
            _answer(reply, self._spoilt(answer, ask, target, fate))

    def _spoilt(self, answer: Answer, ask: Ask, target: Target, fate: Fate) -> Reply:
        body = answer.body
        if fate.kind == "garbled":
            cut = self.draw.randrange(len(body)) if body else 0
            body = self.draw.choice((body[:cut], b"", b"<html>", b"null", b"[]", b"{}", b'{"code":0,"data":[]}'))
        elif fate.kind == "crossed" and ask.paid:
            body = self.sim.crossed(contract_of(target.host), body)
        return Reply(status=answer.status, headers=answer.headers, body=body)


def _answer(reply: asyncio.Future[Reply], what: Reply) -> None:
    if not reply.done():
        reply.set_result(what)


def _break(reply: asyncio.Future[Reply]) -> None:
    if not reply.done():
        reply.set_exception(httpcore.ReadError("Connection reset by peer"))
        reply.exception()  # whoever asked may be gone


def contract_of(host: str) -> str:
    return host.partition(".")[0]


class Courier(Postman):
    """The provider's pushes on their way to whichever replica listens."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim.unix, asyncio.sleep)
        self.sim = sim
        self.draw = sim.dice("courier")

    async def _post(self, push: Push, url: str, knobs: Knobs, secret: str | None) -> Attempt:
        began = self.clock()
        sim, weather, draw = self.sim, self.sim.weather, self.draw
        if draw.random() < weather.push_lost:
            await asyncio.sleep(knobs.push_timeout_seconds)
            return Attempt(at=began, ended_at=self.clock(), error="TimeoutError")
        path = urlsplit(url).path
        if draw.random() < weather.push_twice:
            sim.spawn(self._again(path, push.body, draw.choice((0.0, 1.0, 90.0))))
        if draw.random() < weather.push_late:
            # Whoever pushes hears nothing for so long that it gives up; it arrives all the same.
            sim.spawn(self._again(path, push.body, draw.choice((10.0, 60.0, 400.0))))
            return Attempt(at=began, ended_at=self.clock(), error="TimeoutError")
        if draw.random() < weather.forged:
            sim.spawn(self._again(path, sim.forged(push.body), draw.random() * 5))
        await asyncio.sleep(sim.network.leg())
        try:
            answer = await sim.knock(path, push.body, knobs.push_timeout_seconds)
        except (Down, TimeoutError) as error:
            return Attempt(at=began, ended_at=self.clock(), error=type(error).__name__)
        return Attempt(at=began, ended_at=self.clock(), status=answer.status)

    async def _again(self, path: str, body: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with suppress(Down, TimeoutError):
            await self.sim.knock(path, body, 5.0)


class Response:
    """What aiohttp would hand to the sender."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content = self
        self._body = body

    def at_eof(self) -> bool:
        return not self._body

    async def readany(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def release(self) -> None: ...

    def close(self) -> None: ...


class Session:
    """In place of aiohttp's session: one POST to a subscriber of the simulation."""

    def __init__(self, sim: Simulation, machine: Machine) -> None:
        self._sim = sim
        self._machine = machine

    async def post(self, url: URL, *, data: bytes, headers: Mapping[str, str], allow_redirects: bool) -> Response:
        sim = self._sim
        heard: asyncio.Future[Response | None] = sim.loop.create_future()
        sim.spawn(sim.subscribers.take(str(url), data, dict(headers), heard, self._machine.name))
        response = await heard
        if response is None:
            key = ConnectionKey(url.host or "", 443, True, False, None, None, None)
            raise aiohttp.ClientConnectorError(key, ConnectionRefusedError(111, "refused"))
        if response.status == 0:
            raise aiohttp.ServerDisconnectedError
        return response

    async def close(self) -> None: ...


class SimSender(Sender):
    """The service's sender; counts what leaves and what is heard."""

    def __init__(self, sim: Simulation, machine: Machine, policy: Policy, resolver: Resolver, seconds: float) -> None:
        super().__init__(policy, resolver, user_agent=USER_AGENT, timeout_seconds=seconds, ssl_context=TLS)
        self._sim = sim
        self._machine = machine

    def _open(self, policy: Policy, *, afresh: bool = False) -> aiohttp.ClientSession:
        return cast(aiohttp.ClientSession, Session(self._sim, self._machine))

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        self._sim.oracle.attempt_started(url, headers, body)
        self._machine.reach("post")
        sent = await super().post(url, body, headers)
        self._machine.reach("posted")
        self._sim.oracle.attempt_heard(url, headers, sent)
        return sent


def client_for(sim: Simulation, machine: Machine) -> Client:
    return Client(sim, machine, policy_of(sim.settings), sim.resolver)


def sender_for(sim: Simulation, machine: Machine) -> SimSender:
    return SimSender(sim, machine, policy_of(sim.settings), sim.resolver, sim.settings.timing.attempt_timeout_seconds)


async def ask_app(app: Any, ask: Ask, target: Target, headers: Mapping[str, str], body: bytes) -> Answer | None:
    """One request to the provider's application."""
    path, _, query = target.path.partition("?")
    return await call(app, ask.method, path, query=query, headers=headers, body=body)
