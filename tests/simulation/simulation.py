"""One seed from beginning to end: the world, the replicas in it, what befalls them, and the verdict."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import warnings
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.core.keys import Keyring
from service.core.tokens import Tokens
from service.net.resolver import Resolver
from service.pipeline.audit import Scope, all_of
from service.pipeline.replay import check
from service.providers.registry import PROVIDERS
from service.telemetry.log import JsonLine
from storage.sqlite import SQLiteDatabase
from tests.simulation import faults
from tests.simulation.asgi import Answer
from tests.simulation.customers import Customers
from tests.simulation.faults import CALM, Plan, Weather
from tests.simulation.fleet import Fleet, lay_down
from tests.simulation.ground import INSTALLATION, PREPARED, PROVIDER_KEY, SECRET_KEY, settings_of, template
from tests.simulation.loop import Loop, Stuck
from tests.simulation.machine import EPOCH, Down, Machine
from tests.simulation.network import Client, Network, SimSender, client_for, sender_for
from tests.simulation.oracle import CONVERGE_SECONDS, Oracle
from tests.simulation.provider import Provider
from tests.simulation.scene import close, listening, repeatable, where
from tests.simulation.subscribers import Subscribers

SECOND = 1_000_000
KEPT_LINES = 60
EXEMPT_SECONDS = 1000.0  # a success without an output is waited for longer than anything else


@dataclass(slots=True)
class Verdict:
    """What came of a seed."""

    seed: int
    violations: list[str]
    markers: Counter[str]
    trace: str
    lines: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Simulation:
    """Everything that exists in one seed."""

    def __init__(self, plan: Plan, folder: Path, *, keep_lines: int = KEPT_LINES) -> None:
        self.plan = plan
        self.seed = plan.seed
        self.folder = folder
        self.path = folder / "relay.db"
        self.loop = Loop()
        self.context = copy_context()
        self.keys = [SECRET_KEY.encode()]
        self.tokens = Tokens(Keyring(self.keys), INSTALLATION)
        self.settings = settings_of(plan)
        self.resolver = _Nowhere()
        self.weather: Weather = CALM
        self.stormy = False
        self.storm_began = 0.0
        self.quiet_began = 0.0
        self.skew = 0
        self.clock_jumped = False
        self.clock_far_off = False  # further from the provider's than a look-up by time allows for
        self.store_down = False
        self.was_restored = False
        self.over = False
        self.outages: dict[str, float] = {}
        self.markers: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.lines: deque[str] = deque(maxlen=keep_lines)
        self.digest = hashlib.blake2b(digest_size=12)
        self.contradicted: set[str] = set()
        self.keys_of: dict[str, str] = {}
        self.project_names: dict[str, str] = {}
        self.project_secrets: dict[str, str] = {}
        self.secrets: list[str] = [SECRET_KEY, faults.SECRETS_IN_PROMPTS, PROVIDER_KEY]
        self.fleet = Fleet(self)
        self.start_unix = EPOCH / SECOND
        self.store_draw = self.dice("store")
        self.network = Network(self)
        self.oracle = Oracle(self)
        self.subscribers = Subscribers(self)
        self.customers = Customers(self)
        self.provider = Provider(self)
        self.tasks: set[asyncio.Task[Any]] = set()
        self.duties: list[asyncio.Task[Any]] = []

    # Time and chance

    def dice(self, name: str) -> random.Random:
        return faults.dice(self.seed, name)

    def unix(self) -> float:
        """The world's clock."""
        return self.start_unix + self.loop.time()

    def wall(self) -> int:
        """The replicas' clock, which may be set."""
        return EPOCH + round(self.loop.time() * SECOND) + self.skew

    def storm_time(self) -> float:
        return self.loop.time() - self.storm_began

    def quiet_for(self) -> float:
        return self.loop.time() - self.quiet_began

    # Record

    def note(self, kind: str, who: str, text: str) -> None:
        line = f"{self.loop.time():10.3f} {kind:10} {who:8} {text}"
        self.digest.update(line.encode())
        self.lines.append(line)
        self.counts[kind] += 1

    def mark(self, name: str) -> None:
        if name not in self.markers:
            self.note("marker", "-", name)
        self.markers[name] += 1

    # Parts that others call

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Something that the world does, whoever asked for it."""
        task = self.loop.create_task(work, context=self.context.copy())
        self.tasks.add(task)
        task.add_done_callback(self._ended, context=self.context)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.oracle.broken("simulation", f"the world itself failed: {type(error).__name__}: {error}")
            raise error

    def later(self, seconds: float, what: Callable[..., None], *arguments: object) -> None:
        if seconds < 50_000:
            self.loop.call_later(seconds, what, *arguments, context=self.context)

    def client_for(self, machine: Machine) -> Client:
        return client_for(self, machine)

    def sender_for(self, machine: Machine) -> SimSender:
        return sender_for(self, machine)

    def any_machine(self) -> Machine:
        listening = [machine for machine in self.fleet.machines.values() if machine.listening]
        if not listening:
            raise Down("refused")
        return listening[self.network.draw.randrange(len(listening))]

    async def knock(self, path: str, body: bytes, seconds: float) -> Answer:
        """A provider's push at our door."""
        machine = self.any_machine()
        answer = await machine.ask(
            "POST", path, headers={"content-type": "application/json"}, body=body, seconds=seconds
        )
        self.note("push", machine.name, f"{answer.status}")
        if answer.status == 200:
            _, _, provider, token = path.split("/")
            submission = self.tokens.read_callback(provider, token)
            if submission is not None:
                self.oracle.pushed.add((submission, hashlib.sha256(body).digest()))
        elif answer.status not in (202, 503):
            self.oracle.broken("API", f"a push was answered {answer.status}")
        return answer

    def committed(self, machine: Machine) -> None:
        self.counts["commit"] += 1
        self.oracle.look(machine)

    def store_mishap(self) -> str | None:
        if self.store_down:
            self.mark("store unavailable")
            return "down"
        if not self.stormy:
            return None
        dice = self.store_draw.random()
        if dice < self.weather.store_down:
            self.mark("store unavailable")
            return "down"
        if dice < self.weather.store_down + self.weather.store_mute:
            self.mark("commit unheard")
            return "mute"
        return None

    def guard_refused(self, machine: Machine) -> None:
        self.note("guard", machine.name, "refused")
        self.mark("guard refusal")

    def crossed(self, contract: str, body: bytes) -> bytes:
        """The answer to a create names another task's job, one that is bound already."""
        world = self.provider.world
        bound = {row.job for row in self.oracle.tasks.values() if row.account == contract}
        own = next((job for job in reversed(world.jobs.values()) if job.id.encode() in body), None)
        other = next(
            (job for job in world.jobs.values() if job.id in bound and job is not own and own is not None), None
        )
        if own is None or other is None or own.contract is not other.contract:
            return body
        self.note("provider", contract, "crossed two answers")
        return body.replace(own.id.encode(), other.id.encode())

    def forged(self, body: bytes) -> bytes:
        """What a stranger who has seen the URL might send, where nobody takes a push's word."""
        for word, lie in (
            (b'"processing"', b'"succeeded"'),
            (b'"submitted"', b'"failed"'),
            (b'"succeeded"', b'"failed"'),
        ):
            if word in body and all(mode == "verify" for mode in self.plan.callbacks.values()):
                return body.replace(word, lie)
        return body[: len(body) // 2]

    # The run

    def run(self) -> Verdict:
        lay_down(template(self.folder), self.path)
        for project, text, key in PREPARED:
            self.project_names[text] = project
            self.keys_of[project] = key
            self.secrets.append(key)
        with repeatable(self.seed), listening() as seen:
            asyncio.set_event_loop(self.loop)
            try:
                self.loop.run_until_complete(self.loop.create_task(self._all(), context=self.context))
            except Stuck as stuck:
                self.oracle.broken("stuck", str(stuck))
            except Exception as error:
                if not self.oracle.violations:
                    raise
                self.oracle.broken("simulation", f"{type(error).__name__}: {error}")
            finally:
                self._read_log(seen)
                self._bury()
        self.digest.update(repr(sorted(self.markers.items())).encode())
        return Verdict(
            seed=self.seed,
            violations=self.oracle.violations,
            markers=self.markers,
            trace=self.digest.hexdigest(),
            lines=list(self.lines),
            counts=self.counts,
            seconds=self.loop.time(),
        )

    def _bury(self) -> None:
        """Let everything be collected without a word: the `finally` blocks of the killed run now, when nobody looks."""
        logging.disable()
        self.loop.set_exception_handler(lambda loop, context: None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in (*self.tasks, *self.duties):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            for machine in self.fleet.all_machines:
                for one in machine.tasks:
                    if not one.done():
                        one._log_destroy_pending = False  # type: ignore[attr-defined]
                        close(one.get_coro())
            for task in (*self.tasks, *self.duties):
                if not task.done():
                    close(task.get_coro())
            self.oracle.close()
            for machine in self.fleet.all_machines:
                if machine.database is not None:
                    for wire in (machine.database._writer, *machine.database._readers):
                        wire._conn.close()
            asyncio.set_event_loop(None)
            self.loop.close()
        logging.disable(logging.NOTSET)

    async def _all(self) -> None:
        plan = self.plan
        for number in range(plan.replicas):
            self.duties.append(asyncio.create_task(self.fleet.keep(number)))
        await self.fleet.until_up()
        await self.customers.subscribe()
        self.stormy, self.storm_began, self.weather = True, self.loop.time(), plan.weather
        orders = [asyncio.create_task(self.customers.order(order)) for order in plan.orders]
        woes = [asyncio.create_task(self.fleet.befall(one)) for one in plan.misfortunes]
        if plan.restores:
            self.duties.append(asyncio.create_task(self.fleet.back_up()))
        await asyncio.sleep(plan.quiet_at)
        for woe in woes:
            await woe
        await self._calm()
        await asyncio.wait(orders)
        for order in orders:
            if (error := order.exception()) is not None:
                raise error
        if not self.oracle.violations:
            await self._converge()
        if not self.oracle.violations and plan.long_night:
            await self._night()
        await self._finish()

    async def _calm(self) -> None:
        self.weather, self.stormy, self.store_down = CALM, False, False
        self.outages.clear()
        for contract in Provider.every():
            self.provider.stop_paying(contract, broke=False)
        self.provider.world.script.creates.clear()
        self.fleet.calm()
        await self.fleet.until_up()
        self.quiet_began = self.loop.time()
        self.note("weather", "-", "quiet")

    async def _converge(self) -> None:
        """I12: ten minutes after the last fault everything that can be known is known."""
        waiting = self.oracle.ends.unsettled()
        while waiting and not self.oracle.violations:
            await asyncio.sleep(5.0)
            waiting = self.oracle.ends.unsettled()
            patience = EXEMPT_SECONDS if all(self._exempt(one) for one in waiting) else CONVERGE_SECONDS
            if self.quiet_for() > patience + self._last_end():
                break
        for one in waiting:
            self.oracle.broken("I12", one)

    def _exempt(self, waiting: str) -> bool:
        """Its own patience is longer: the output that may follow, the deadline that is asked past, the key that may be mended."""
        row = self.oracle.tasks.get(waiting.partition(" ")[0])
        return row is not None and (row.streak in ("no_output", "credentials", "absent") or "not bought" in waiting)

    def _last_end(self) -> float:
        """Jobs that are still running when it gets quiet need their own time first."""
        longest = max(
            (job.directives.seconds or self.plan.job_seconds for job in self.provider.world.jobs.values()), default=0.0
        )
        # What was due at an instant of the clock is due again when a clock that was set back has caught up.
        set_back = sum(-one.seconds for one in self.plan.misfortunes if one.kind == "clock" and one.seconds < 0)
        return float(longest) + 60.0 + set_back

    async def _night(self) -> None:
        """Everything is down until no deadline is left. Whatever is well must still end well."""
        open_rows = [row for row in self.oracle.tasks.values() if row.finished_at is None]
        last = max((row.deadline_at for row in open_rows), default=0)
        seconds = max((last - self.wall()) / SECOND + 30.0, 3700.0)
        for number in list(self.fleet.machines):
            self.fleet.downtime[number] = seconds
            await self.fleet.stop(number)
        await asyncio.sleep(seconds + 5.0)
        self.quiet_began = self.loop.time() - 61
        await self.fleet.until_up()
        began = self.loop.time()
        while self.loop.time() - began < EXEMPT_SECONDS and (  # noqa: ASYNC110 (time costs nothing here)
            any(row.finished_at is None for row in self.oracle.tasks.values()) or self.oracle.ends.unheard()
        ):
            await asyncio.sleep(5.0)
        for text in self.oracle.ends.unheard():
            self.oracle.broken("T12", text)
        for row in self.oracle.tasks.values():
            if row.finished_at is None:
                self.oracle.broken("end", f"{row.id} is {row.status} although its deadline has long passed")
        if open_rows:
            self.mark("long downtime")
        await asyncio.sleep(30.0)

    async def _finish(self) -> None:
        self.over = True
        for number in list(self.fleet.machines):
            await self.fleet.stop(number)
        self.oracle.ends.final()
        await self._replay()

    async def _replay(self) -> None:
        """P12: what is stored of every task is what its history gives."""

        async def at_once() -> None: ...

        database = await SQLiteDatabase.open(str(self.path), clock=self.wall, pace=at_once)
        async for page in check(database):
            for difference in page.differences:
                self.oracle.broken("P12", str(difference))
        await self._audit(database)
        await database.close()

    async def _audit(self, database: SQLiteDatabase) -> None:
        """What a person would ask: is anything missing? After a restore pushes may belong to tasks that are gone."""
        for project in self.project_names:
            scope = Scope(project_id=project, providers=PROVIDERS, orphans=not self.was_restored)
            async for part in all_of(database, scope):
                for one in (*part.unexplained, *part.unknown):
                    self.oracle.broken("audit", f"{one.kind}: {one.text}")

    def _read_log(self, seen: list[logging.LogRecord]) -> None:
        """I11, and nothing that nobody foresaw."""
        line = JsonLine()
        for record in seen:
            text = line.format(record)
            for secret in self.secrets:
                if secret in text:
                    self.oracle.broken("I11", f"the log has a secret: {text[:300]}")
            error = record.exc_info[1] if record.exc_info else None
            if error is not None and type(error).__module__ != "storage.errors":
                self.oracle.broken("log", f"{record.getMessage()}: {type(error).__name__}: {error} ({where(error)})")
            elif "please report" in text:
                self.oracle.broken("log", text[:300])


class _Nowhere(Resolver):
    """No names are resolved here."""

    def __init__(self) -> None:
        super().__init__(threads=4)
