"""The replicas, and what befalls them and their world."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation.faults import Misfortune
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

SECOND = 1_000_000


class Fleet:
    """Every replica that lives, and those that did."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.machines: dict[int, Machine] = {}
        self.all_machines: list[Machine] = []
        self.gone: dict[int, asyncio.Future[None]] = {}
        self.downtime: dict[int, float] = {}
        self.busy: set[int] = set()
        self.backup: Path | None = None

    @property
    def up(self) -> bool:
        """Whether every replica listens."""
        return len(self.machines) == self.sim.plan.replicas and all(one.listening for one in self.machines.values())

    async def until_up(self) -> None:
        while not self.up:  # noqa: ASYNC110 (time costs nothing here)
            await asyncio.sleep(0.02)

    def calm(self) -> None:
        """Nothing more will befall anybody."""
        for machine in self.machines.values():
            machine.stall = 0.0
            machine.armed = None
            if machine.stopped:
                self.sim.loop.resume_process(machine)

    def is_dead(self, owner: str) -> bool:
        return any(
            one.dead for one in self.all_machines if one.service is not None and one.service.lanes._owner == owner
        )

    async def keep(self, number: int) -> None:
        """As a supervisor does: whatever ends is started again."""
        life = 0
        while not self.sim.over:
            life += 1
            self.gone[number] = self.sim.loop.create_future()
            machine = Machine(self.sim, number, life)
            self.machines[number] = machine
            self.all_machines.append(machine)
            self.sim.note("start", machine.name, "starts")
            gone = self.gone[number]
            machine.ended.add_done_callback(lambda done, gone=gone: _set(gone), context=self.sim.context)  # type: ignore[misc]
            await gone
            if (
                machine.ended.done()
                and not machine.ended.cancelled()
                and (error := machine.ended.exception()) is not None
            ):
                self.sim.oracle.broken("start", f"{machine.name} ended with {type(error).__name__}: {error}")
                return
            if self.sim.over:
                return
            await asyncio.sleep(self.downtime.pop(number, 2.0))

    async def stop(self, number: int) -> None:
        machine = self.machines[number]
        if machine.stopped:
            self.sim.loop.resume_process(machine)
        if machine.dead or machine.ended.done():
            return
        self.sim.note("stop", machine.name, "is told to stop")
        machine.stall = 0.0
        machine.stopping.set()
        try:
            async with asyncio.timeout(90):
                await asyncio.shield(self.gone[number])
        except TimeoutError:
            self.sim.oracle.broken("stop", f"{machine.name} has not stopped after 90 s")

    async def befall(self, woe: Misfortune) -> None:
        await asyncio.sleep(max(woe.at - self.sim.storm_time(), 0.0))
        self.sim.note("fault", f"m{woe.machine}", f"{woe.kind} {woe.contract} {woe.seconds:g} s")
        match woe.kind:
            case "kill" | "pause" | "stop":
                await self._strike(woe)
            case "freeze":
                self.machines[woe.machine].stall = woe.seconds
            case "restore":
                await self._restore(woe)
            case "outage":
                self.sim.outages[woe.contract] = self.sim.loop.time() + woe.seconds
            case "unpaid":
                self.sim.provider.stop_paying(woe.contract, broke=True)
                self.sim.later(woe.seconds, lambda: self.sim.provider.stop_paying(woe.contract, broke=False))
            case "refuse":
                self.sim.provider.refuse_next(woe.contract)
            case "contradict":
                self.sim.provider.contradict(self.sim.store_draw.randrange(100))
            case "store":
                self.sim.store_down = True
                await asyncio.sleep(woe.seconds)
                self.sim.store_down = False
            case "clock":
                self.sim.skew += round(woe.seconds * SECOND)
                self.sim.clock_jumped = True
                self.sim.clock_far_off |= abs(self.sim.skew) > 300 * SECOND
                self.sim.mark("two clocks")
            case other:
                raise ValueError(f"there is no misfortune {other!r}")

    async def _strike(self, woe: Misfortune) -> None:
        """Kill, pause or stop a replica: now, or so many steps after so many commits."""
        machine = self.machines.get(woe.machine)
        if machine is None or not machine.listening or woe.machine in self.busy:
            return
        self.busy.add(woe.machine)
        struck = self.sim.loop.create_future()
        self.downtime[woe.machine] = woe.seconds
        if woe.point:
            steps = max(woe.steps, 1)
            machine.armed = (
                woe.point,
                woe.nth,
                lambda: machine.after_steps(steps, lambda: self._hit(woe, machine, struck)),
            )
        else:
            self._hit(woe, machine, struck)
        try:
            async with asyncio.timeout(60):
                await asyncio.shield(struck)
        except TimeoutError:
            machine.armed = None
            machine.countdown = 0
            if machine.listening:
                self._hit(woe, machine, struck)
        if woe.kind == "pause":
            await asyncio.sleep(woe.seconds)
            if machine.stopped and not machine.dead:
                self.sim.note("resume", machine.name, "goes on")
                self.sim.loop.resume_process(machine)
            self.downtime.pop(woe.machine, None)
        elif woe.kind == "stop":
            await self.stop(woe.machine)
            await asyncio.sleep(woe.seconds + 1)
        else:
            await asyncio.sleep(woe.seconds + 1)
        if woe.seconds >= 3600 and any(row.finished_at is None for row in self.sim.oracle.tasks.values()):
            self.sim.mark("long downtime")
        self.busy.discard(woe.machine)

    def _hit(self, woe: Misfortune, machine: Machine, struck: asyncio.Future[None]) -> None:
        if struck.done() or machine.dead:
            return
        struck.get_loop().call_soon(_set, struck, context=self.sim.context)
        if woe.kind == "kill":
            self.sim.note("kill", machine.name, f"killed after {machine.commits} commits")
            machine.kill()
            self.sim.loop.call_soon(_set, self.gone[woe.machine], context=self.sim.context)
        elif woe.kind == "pause":
            self.sim.note("pause", machine.name, f"paused after {machine.commits} commits")
            self.sim.loop.stop_process(machine)

    async def back_up(self) -> None:
        """A copy of the database now and then, whatever is being bought just then: marked as `taskrelay db backup` marks it."""
        until = 0.5 * min(one.at for one in self.sim.plan.misfortunes if one.kind == "restore")
        while (
            not self.sim.over and not self.sim.was_restored and (self.backup is None or self.sim.storm_time() < until)
        ):
            await asyncio.sleep(3.0)
            self.backup = self.sim.folder / "backup.db"
            self.backup.unlink(missing_ok=True)
            copy = sqlite3.connect(self.backup)
            self.sim.oracle.db.backup(copy)
            copy.execute("UPDATE installation SET copied_at = ?", (self.sim.wall(),))
            copy.commit()
            copy.close()

    async def _restore(self, woe: Misfortune) -> None:
        number = woe.machine
        if self.backup is None or number in self.busy or not self.machines[number].listening:
            return
        self.busy.add(number)
        self.downtime[number] = woe.seconds
        machine = self.machines[number]
        machine.kill()
        self.sim.oracle.close()
        self.sim.was_restored = True
        lay_down(self.backup, self.sim.path)
        self.sim.oracle.restored()
        self.sim.note("restore", machine.name, "an older database")
        _set(self.gone[number])
        await asyncio.sleep(woe.seconds + 1)
        self.busy.discard(number)


def lay_down(copy: Path, path: Path) -> None:
    """Put a copy in the database's place, without what was written beside it."""
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    shutil.copyfile(copy, path)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
