"""What is done to the installation, one phase after another; each leaves all replicas serving."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.chaos.balancer import until_ready
from tests.chaos.measures import BACK_WITHIN, DEFAULT_TAKEN_OVER_WITHIN, TTL_SECONDS, Measured
from tests.chaos.replica import Replica
from tests.chaos.schedule import Fault, Step, schedule
from tests.chaos.stage import SHORT, Span, Stage, until

PAUSE_SECONDS = TTL_SECONDS + 4
SETTLE_SECONDS = 2.0  # after a fault: what it broke off is still being found out
BORN_SECONDS = 0.6  # from the start of a life until it may be expected to serve, on a busy machine more
SLOW_BEFORE_SECONDS = 0.6  # the subscriber slows down that long before a pause, so that attempts are in flight
FOUND_SECONDS = 30.0  # until somebody sends
IN_FLIGHT_AT_LEAST = 3
UNEXPECTED_SECONDS = 15.0  # so long after a fault of the server a replica may give up and be started again


class Phases:
    """Plays them on a stage. `say`: told whenever something happens."""

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self.stage = stage
        self.measured = Measured()
        self._say = say
        self._away: set[int] = set()  # replicas that are down, paused or cut off on purpose
        self._faults: set[asyncio.Task[None]] = set()
        stage.watchman.excused = lambda role: role in {f"replica_{number}" for number in self._away}

    async def storm(self, seed: int, seconds: float) -> None:
        """Everything at once, by the schedule."""
        began = time.monotonic()
        keeping = asyncio.create_task(self._keep_up())
        try:
            for step in schedule(seed, seconds, pause_seconds=PAUSE_SECONDS, replicas=len(self.stage.replicas)):
                await asyncio.sleep(max(0.0, began + step.at - time.monotonic()))
                self._start(step)
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
            while self._faults:
                await asyncio.gather(*self._faults)
            await self._all_ready()
        finally:
            keeping.cancel()
            for fault in self._faults:
                fault.cancel()

    def _start(self, step: Step) -> None:
        play = {Fault.KILL: self._kill, Fault.PAUSE: self._pause, Fault.RESTART: self._restart}
        fault = asyncio.create_task(self._restart_server(step) if step.fault.of_server else play[step.fault](step))
        self._faults.add(fault)
        fault.add_done_callback(self._faults.discard)

    async def _kill(self, step: Step) -> None:
        replica = self.stage.replicas[step.replica]
        if not self._stands(replica):
            return
        self._away.add(replica.number)
        await replica.kill()
        died = time.time()
        self._note(Fault.KILL, replica, died, died)
        self.measured.kills += 1
        await asyncio.sleep(step.seconds)
        await replica.start()
        self._away.discard(replica.number)

    async def _pause(self, step: Step) -> None:
        """The replica that sends, if it is free for it: with attempts in flight, so that its lease lapses under them."""
        sending = next((one for one in self.stage.replicas if self._sends(one)), None)
        replica = self.stage.replicas[step.replica] if sending is None else sending
        self.stage.receiver.slow = True
        await asyncio.sleep(SLOW_BEFORE_SECONDS)
        self.stage.receiver.slow = False
        if not self._stands(replica):
            return
        self._away.add(replica.number)
        began = time.time()
        replica.pause()
        span = self._note(Fault.PAUSE, replica, began, began + step.seconds)
        self.measured.pauses += 1
        await asyncio.sleep(step.seconds)
        replica.resume()
        span.until = time.time() + SETTLE_SECONDS
        await asyncio.sleep(SETTLE_SECONDS)
        self._away.discard(replica.number)

    def _stands(self, replica: Replica) -> bool:
        return replica.number not in self._away and replica.life is not None and not replica.life.over

    def _sends(self, replica: Replica) -> bool:
        return (
            self._stands(replica)
            and replica.life is not None
            and any(kind == "endpoint" for kind, _ in self.stage.watchman.owned_by(replica.life.pid))
        )

    async def _restart(self, step: Step) -> None:
        """Whoever stands, if the one that was drawn does not; never the last one."""
        standing = [one for one in self.stage.replicas if self._stands(one)]
        if len(standing) > 1:
            await self._stop_and_start(next((one for one in standing if one.number == step.replica), standing[0]))

    async def _stop_and_start(self, replica: Replica) -> None:
        self._away.add(replica.number)
        began = time.time()
        assert replica.life is not None
        pid = replica.life.pid
        code, seconds = await replica.stop()
        span = self._note(Fault.RESTART, replica, began, time.time())
        span.innocent, span.pid = True, pid
        if code != 0 and not self._server_was_away(began):
            self.stage.blamed.append(f"{replica.name} ended with {code} after {seconds:.1f} s when told to stop")
        self.measured.stops += 1
        self.measured.stop_seconds.append(seconds)
        await replica.start()
        self._away.discard(replica.number)

    async def _restart_server(self, step: Step) -> None:
        began = time.time()
        span = self._note(step.fault, None, began, began + SETTLE_SECONDS)
        await self.stage.server.restart("fast" if step.fault is Fault.SERVER_FAST else "immediate")
        span.until = time.time() + SETTLE_SECONDS
        self.measured.server_restarts += 1
        back = await until(lambda: any(backend.ready for backend in self.stage.balancer.backends), BACK_WITHIN)
        self.measured.server_back.append(BACK_WITHIN if back is None else time.time() - began)

    async def _keep_up(self) -> None:
        """A supervisor: start again what ended by itself. Only without its database it may."""
        while True:
            for replica in self.stage.replicas:
                if replica.number not in self._away and replica.life is not None and replica.life.over:
                    if not self._server_was_away(time.time() - UNEXPECTED_SECONDS):
                        code = replica.life.ended.result()
                        self.stage.blamed.append(f"{replica.name} ended by itself with {code}")
                    self.measured.restarted_by_supervisor += 1
                    await replica.start()
            await asyncio.sleep(1.0)

    def _server_was_away(self, since: float) -> bool:
        return any(span.replica < 0 and span.until >= since for span in self.stage.spans)

    def _note(self, fault: Fault | str, replica: Replica | None, began: float, until: float) -> Span:
        life = None if replica is None else replica.life
        span = Span(
            what=str(fault),
            replica=-1 if replica is None else replica.number,
            began=began,
            until=until,
            pid=None if life is None else life.pid,
        )
        self.stage.spans.append(span)
        self._say(f"{fault}" + ("" if replica is None else f" {replica.name}"))
        return span

    async def _all_ready(self) -> None:
        keeping = asyncio.create_task(self._keep_up())
        try:
            await self.stage.balancer.until_ready(range(len(self.stage.balancer.backends)))
        finally:
            keeping.cancel()

    # A lease that lapses under attempts in flight

    async def lapse(self, rounds: int) -> None:
        """Who sends is paused in the middle of it, and resumed while the next owner makes the same attempts again.

        Both then have results for the same rows; only one of them owns the lane.
        """
        receiver = self.stage.receiver
        for _ in range(rounds):
            await until(lambda: any(map(self._sends, self.stage.replicas)), FOUND_SECONDS)
            receiver.slow = True
            await until(lambda: receiver.waiting >= IN_FLIGHT_AT_LEAST, FOUND_SECONDS)
            await self._lapse(next(filter(self._sends, self.stage.replicas), self.stage.replicas[0]))
            receiver.slow = False
            await self._all_ready()

    async def _lapse(self, replica: Replica) -> None:
        receiver, watchman = self.stage.receiver, self.stage.watchman
        assert replica.life is not None
        pid, began = replica.life.pid, time.time()
        lanes = {lane for lane in watchman.owned_by(pid) if lane[0] == "endpoint"}
        self._away.add(replica.number)
        replica.pause()
        span = self._note(Fault.PAUSE, replica, began, began + PAUSE_SECONDS)
        self.measured.pauses += 1
        await asyncio.sleep(TTL_SECONDS)  # by then its own attempts have been answered
        await until(lambda: not (lanes & watchman.owned_by(pid)), PAUSE_SECONDS)
        self.measured.lapses += await until(lambda: receiver.waiting > 0, PAUSE_SECONDS) is not None
        replica.resume()
        span.until = time.time() + SETTLE_SECONDS
        await asyncio.sleep(SETTLE_SECONDS)
        self._away.discard(replica.number)

    # Only stops in order: nobody notices

    async def rolling(self, rounds: int) -> None:
        """Every replica in turn is told to stop and started again; a client behind the balancer sees none of it."""
        balancer = self.stage.balancer
        await asyncio.sleep(SETTLE_SECONDS)
        before, answered = balancer.trouble.copy(), balancer.answered
        for _ in range(rounds):
            for replica in self.stage.replicas:
                await self._stop_and_start(replica)
                self.measured.rolling_stops += 1
                await self._all_ready()
                await asyncio.sleep(1.0)
        self.measured.rolling_requests = balancer.answered - answered
        self.measured.rolling_trouble = dict(balancer.trouble - before)

    # A replica without its database

    async def cut(self, seconds: float) -> None:
        """The replica that sends is cut off from PostgreSQL and from nothing else."""
        stage, found = self.stage, self.measured
        await until(lambda: any(self._sends(one) for one in stage.replicas), 30)
        replica = next((one for one in stage.replicas if self._sends(one)), stage.replicas[0])
        assert replica.life is not None
        pid, owned = replica.life.pid, stage.watchman.owned_by(replica.life.pid)
        self._away.add(replica.number)
        began = time.time()
        span = self._note("cut off from PostgreSQL", replica, began, began + seconds)
        replica.wire.cut()
        found.cut_seconds = seconds
        found.cut_door = "api" in replica.roles
        if found.cut_door:
            found.cut_noticed = await until_ready(replica.port, False, seconds)
        found.cut_taken_over = await until(lambda: not stage.watchman.owned_by(pid), seconds)
        await asyncio.sleep(max(0.0, began + seconds - time.time()))
        replica.wire.mend()
        mended = time.time()
        if found.cut_door:
            found.cut_back = await until_ready(replica.port, True, BACK_WITHIN)
        span.until = max(time.time(), mended + SETTLE_SECONDS)
        if replica.life.over or replica.life.pid != pid:
            stage.blamed.append(f"{replica.name} ended while it was cut off, owning {sorted(owned)}")
        self._away.discard(replica.number)
        others = [one for one in stage.replicas if one is not replica]
        for one in others:
            await one.stop()
        found.cut_works_again = await until(lambda: bool(stage.watchman.owned_by(pid)), BACK_WITHIN)
        for one in others:
            await one.start()
        await self._all_ready()

    # As delivered

    async def defaults(self) -> None:
        """A kill with no span shortened."""
        stage = self.stage
        for replica in stage.replicas:
            await self._change(replica, unsafe=False)
        await self._all_ready()
        await until(lambda: any(self._sends(one) for one in stage.replicas), 90)
        victim = next((one for one in stage.replicas if self._sends(one)), stage.replicas[0])
        assert victim.life is not None
        pid = victim.life.pid
        lanes = stage.watchman.owned_by(pid)
        self._away.add(victim.number)
        await victim.kill()
        died = time.time()
        self._note(f"{Fault.KILL}, spans as delivered:", victim, died, died)
        for client in stage.clients.values():
            client.pausing = True  # what waits for look-ups takes minutes now
        await until(lambda: not stage.watchman.owned_by(pid), DEFAULT_TAKEN_OVER_WITHIN + 30)
        times = [seconds for lane, seconds in stage.watchman.taken_over(pid, died, died) if lane in lanes]
        self.measured.take_over_default = max(times, default=None)
        for client in stage.clients.values():
            client.pausing = False
        await victim.start()
        self._away.discard(victim.number)
        for replica in stage.replicas:
            await self._change(replica, unsafe=True)
        await self._all_ready()

    async def _change(self, replica: Replica, *, unsafe: bool) -> None:
        self._away.add(replica.number)
        await replica.stop()
        told = {name: value for name, value in replica.environment.items() if name not in SHORT}
        replica.environment = {**told, **(SHORT if unsafe else {})}
        await replica.start()
        self._away.discard(replica.number)
