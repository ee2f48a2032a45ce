"""One replica: the service as `bootstrap.serving` wires it, in a process that can be paused and killed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from service import runtime
from service.bootstrap.door import app_of
from service.bootstrap.opening import serving
from service.bootstrap.parts import Service
from service.bootstrap.world import Ports
from service.core.keys import Keyring
from storage.database import Unit
from storage.errors import StorageError, Unavailable
from storage.sqlite import Inline, Pace, SQLiteDatabase
from tests.simulation.asgi import Answer, call
from tests.simulation.loop import Process

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

T = TypeVar("T")
SECOND = 1_000_000
EPOCH = 1_790_000_000 * SECOND


class Down(Exception):
    """Nobody listens, or the connection broke."""


class Committed(Inline):
    """The writer's connection; tells of each transaction that has ended, before anybody else can run."""

    def __init__(self, raw: sqlite3.Connection, pace: Pace, tell: Callable[[], None]) -> None:
        super().__init__(raw, pace)
        self._tell = tell

    async def _execute(self, work: Callable[..., T], *arguments: object) -> T:
        result = await super()._execute(work, *arguments)
        self._tell()
        return result


class Store:
    """The database as one replica has it: at times unavailable, at times silent after a commit."""

    def __init__(self, inner: SQLiteDatabase, machine: Machine) -> None:
        self.inner = inner
        self.machine = machine

    async def write(self, unit: Unit[T], /) -> T:
        sim = self.machine.sim
        mishap = sim.store_mishap()
        if mishap == "down":
            await asyncio.sleep(0.01)
            sim.note("store", self.machine.name, "unavailable")
            raise Unavailable("the simulation's database is locked")
        result = await self.inner.write(unit)
        if mishap == "mute":
            sim.note("store", self.machine.name, "committed, not heard")
            raise Unavailable("the simulation's database did not say whether it committed")
        return result

    async def read(self, unit: Unit[T], /) -> T:
        if self.machine.sim.store_down:
            await asyncio.sleep(0.01)
            raise Unavailable("the simulation's database is locked")
        return await self.inner.read(unit)

    @property
    def waiting(self) -> int:
        return self.inner.waiting

    def watched(self, told: Callable[[int, float], None], /) -> None:
        self.inner.watched(told)

    def claim_serving(self) -> bool:
        """Replicas stand for those of PostgreSQL, where no lease may be voided at a start."""
        return self.machine.sim.plan.replicas == 1

    async def close(self) -> None:
        await self.inner.close()


class Machine(Process):
    """A process that serves."""

    def __init__(self, sim: Simulation, number: int, life: int) -> None:
        super().__init__(f"m{number}.{life}")
        self.sim = sim
        self.number = number
        self.life = life
        self.service: Service | None = None
        self.app: Any = None
        self.database: SQLiteDatabase | None = None
        self.stopping = asyncio.Event()
        self.commits = 0
        self.armed: tuple[str, int, Callable[[], None]] | None = None  # where, how often still, what then
        self.stall = 0.0  # how long it will be stopped on the brink of its next purchase
        self.inbound: dict[int, asyncio.Future[Answer | None]] = {}
        self._count = 0
        self.draw = sim.dice(f"machine {self.name}")
        self.ended: asyncio.Task[None] = sim.loop.create_task(self._main(), context=self.context)

    @property
    def listening(self) -> bool:
        return self.app is not None and not self.dead and not self.stopping.is_set()

    def clock(self) -> int:
        return self.sim.wall()

    async def _main(self) -> None:
        sim = self.sim
        pace = self._pace
        self.database = database = await SQLiteDatabase.open(str(sim.path), clock=self.clock, pace=pace)
        database._writer = Committed(database._writer._conn, pace, self._committed)
        ports = Ports(
            clock=self.clock,
            boottime=sim.loop.time,
            entropy=self.draw.randbytes,
            chance=self.draw.random,
            client=sim.client_for(self),
            sender=sim.sender_for(self),
        )
        try:
            async with serving(sim.settings, Store(database, self), Keyring(sim.keys), ports) as service:
                self.service, self.app = service, app_of(service)
                duties = asyncio.create_task(runtime.run(service.loops, service.endless, self.stopping))
                await self.stopping.wait()
                service.watch.close()
                await asyncio.gather(duties, service.lanes.stop())
        except StorageError as error:
            sim.note("start", self.name, f"failed: {error}")
        finally:
            self.app = None
            await database.close()

    async def _pace(self) -> None:
        if self.sim.plan.pace:
            await asyncio.sleep(self.draw.random() * self.sim.plan.pace)

    def _committed(self) -> None:
        self.commits += 1
        self.sim.committed(self)
        self.reach("commit")

    async def brink(self) -> None:
        """The last line before a purchase is written. A process that is stopped here goes on here, before anything it missed."""
        if not self.stall:
            return
        seconds, self.stall = self.stall, 0.0
        sim, over = self.sim, self.sim.loop.create_future()
        sim.note("pause", self.name, f"stopped on the brink for {seconds:g} s")
        sim.loop.stop_process(self)

        def go_on() -> None:
            if not self.dead and self.stopped:
                self.stopped = False
                if not over.done():  # resumed by another hand meanwhile, it may have given up
                    over.set_result(None)
                sim.loop.resume_process(self)

        sim.later(seconds, go_on)
        await over

    def reach(self, point: str) -> None:
        """It comes to a place at which something may be waiting for it."""
        if self.armed is None or self.armed[0] != point:
            return
        _, left, what = self.armed
        self.armed = (point, left - 1, what) if left > 1 else None
        if left <= 1:
            what()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        seconds: float = 30.0,
    ) -> Answer:
        """A request from outside. Raises `Down` or TimeoutError."""
        if not self.listening:
            raise Down("refused")
        self._count += 1
        number = self._count
        waiter: asyncio.Future[Answer | None] = self.sim.loop.create_future()
        self.inbound[number] = waiter
        work = self.sim.loop.create_task(
            call(self.app, method, path, query=query, headers=headers, body=body), context=self.context.copy()
        )
        work.add_done_callback(lambda done: _hand_over(done, waiter), context=self.sim.context)
        try:
            async with asyncio.timeout(seconds):
                answer = await waiter
        finally:
            self.inbound.pop(number, None)
        if answer is None:
            raise Down("closed without an answer")
        return answer

    def kill(self) -> None:
        """As kill -9: from here on nothing of it runs; whoever was being answered finds the connection broken."""
        self.sim.loop.kill(self)
        self.app = None
        if self.database is not None:
            for wire in (self.database._writer, *self.database._readers):
                wire._conn.close()
        for waiter in list(self.inbound.values()):
            if not waiter.done():
                waiter.set_exception(Down("reset"))
                waiter.exception()
        self.inbound.clear()


def _hand_over(done: asyncio.Task[Answer | None], waiter: asyncio.Future[Answer | None]) -> None:
    if waiter.done():
        if not done.cancelled():
            done.exception()
        return
    if done.cancelled():
        waiter.set_exception(Down("cancelled"))
    elif (error := done.exception()) is not None:
        waiter.set_exception(Down(f"{type(error).__name__}: {error}"))
    else:
        waiter.set_result(done.result())
