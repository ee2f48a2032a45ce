"""One installation from its first start to its last: sandbox and subscriber here, the service as a process that keeps dying.

Run as `python -m tests.kill.installation SEED KILLS KIND NUMBER FOLDER`; the last line of its output is the result.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections import Counter, deque
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import httpx

from service.cli.demo.stage import free_port
from service.sandbox.jobs import Knobs
from service.sandbox.serve import serve
from service.sandbox.world import World
from tests import postgres
from tests.kill.client import Client
from tests.kill.facts import DATABASE, Facts, copied, read, timeline
from tests.kill.leases import end_leases
from tests.kill.nursery import Life, Nursery
from tests.kill.oracle import SUBSCRIBED, Oracle, Violation
from tests.kill.plan import RELEASES, STOPS, Kill, Plan, plans
from tests.kill.receiver import Receiver, receiving

SERVER = (
    "KILL_POSTGRES"  # the URL of the server on which each installation gets a database; without it, each has a file
)
# Of a submission: short, so that its fate is known within seconds, and long enough for a machine that stands still for three of them.
DEADLINE_SECONDS, SETTLE_SECONDS = 4, 2
STALL_SECONDS = 1.0
QUIET_SECONDS = 120.0  # everything has converged by then, or never will
STOP_SECONDS = 35.0
TURNS = 20  # of the loop: accept, read, call the application
SHOWN = 5  # violations of one rule
BUSY_SECONDS = 3.0  # longer lives get no new orders
STOP_AFTER_SECONDS = 0.6  # a life that is to be told to stop has this long to get busy


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of a plan."""

    name: str
    kind: str
    kills: int = 0
    reached: Counter[str] = field(default_factory=Counter)  # fail-points at which a life ended
    missed: Counter[str] = field(default_factory=Counter)  # those it lived past: killed at random instead
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[dict[str, Any]] = field(default_factory=list)
    converged_seconds: float | None = None
    seconds: float = 0.0

    def dump(self) -> str:
        return json.dumps({one.name: getattr(self, one.name) for one in fields(self)})


class Installation:
    """The stage of one plan. `url`: of its own database."""

    STOP = signal.SIGTERM

    def __init__(self, plan: Plan, folder: Path, nursery: Nursery, url: str) -> None:
        self.plan = plan
        self.folder = folder
        self.url = url
        self.port = free_port()
        self.world = World(Knobs(job_seconds=0.3, unique_external_id=False))  # a second purchase is made, and counted
        self.world.requests = deque()  # every create is evidence
        self.receiver = Receiver(plan.seed)
        self.result = Result(name=plan.name, kind=plan.kind.name)
        self.client = Client(kind=plan.kind, url=f"http://127.0.0.1:{self.port}", key="", seed=plan.seed)
        self.oracle = Oracle(kind=plan.kind, world=self.world, client=self.client, receipts=self.receiver.receipts)
        self._nursery = nursery
        self._secret_keys = secrets.token_hex(32)
        self._provider_url = ""
        self._receiver_url = ""

    async def run(self) -> Result:
        async with AsyncExitStack() as ending:
            self._provider_url = (await ending.enter_async_context(await serve(self.world))).url
            self._receiver_url = await ending.enter_async_context(receiving(self.receiver))
            await self._set_up()
            watching = asyncio.create_task(self._watch_for_stalls())
            ending.callback(watching.cancel)
            ordering = asyncio.create_task(self.client.stream())
            await self._lives()
            ordering_ends = await self._quiet(ordering)
            if ordering_ends:
                await ordering
            else:
                ordering.cancel()
        return self.result

    async def _set_up(self) -> None:
        made = self.folder / "key.json"
        life = await self._start("keys", "create", "--name", "kill", "--scope", "admin", "--json", log=made)
        code = await life.wait(120)
        assert code == 0, made.read_text()
        self.client.key = json.loads(made.read_text())["key"]
        life = await self._serve("", self.port)
        async with self._http() as http:
            for _ in range(2400):
                try:
                    order = {"url": f"{self._receiver_url}/hook", "events": list(SUBSCRIBED)}
                    reply = await http.post("/v1/endpoints", json=order)
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
            assert reply.status_code == 201, reply.text
        self.receiver.subscriber.trust([reply.json()["secret"]])
        life.signal(signal.SIGKILL)
        await life.ended

    async def _watch_for_stalls(self) -> None:
        """While our loop stands still the provider answers nobody: what was asked meanwhile may be answered too late."""
        while True:
            began = time.time()
            await asyncio.sleep(STALL_SECONDS / 10)
            if (now := time.time()) - began > STALL_SECONDS:
                self.oracle.stalls.append((began, now))

    async def _lives(self) -> None:
        for kill in self.plan.kills:
            await self._life(kill, self.port)
            if self.result.violations:
                break

    async def _life(self, kill: Kill, port: int) -> None:
        """Start, let it work, let it die as planned; then judge what it left."""
        life = await self._serve(kill.armed, port)
        code = await self._until_dead(kill, life)
        if code is None:
            life.signal(signal.SIGKILL)
            await life.ended
        elif code != -signal.SIGKILL:
            self._blame("service errors", f"it ended by itself with {code}, told to die at {kill}", kill)
        if kill.point is not None:
            (self.result.missed if code is None else self.result.reached)[kill.point] += 1
        for _ in range(TURNS):  # what it sent before it died waits in our sockets
            await asyncio.sleep(0)
        self.oracle.deaths.append(time.time())
        self.result.kills += 1
        for violation in self.oracle.after_kill(await self._left(), kill.index):
            self._note(violation, kill)

    async def _until_dead(self, kill: Kill, life: Life) -> int | None:
        """Its exit code, or None when it lives longer than it was to."""
        self.client.pausing = kill.point in RELEASES
        if kill.point in STOPS:
            await life.wait(STOP_AFTER_SECONDS)
            life.signal(self.STOP)
        code = await life.wait(min(kill.seconds, BUSY_SECONDS))
        if code is None and kill.seconds > BUSY_SECONDS:
            self.client.pausing = True  # what it now waits for comes by itself
            code = await life.wait(kill.seconds - BUSY_SECONDS)
        return code

    async def _left(self) -> Facts:
        """What a dead process left."""
        if self.url.startswith("sqlite:"):
            return read(copied(self.folder))
        await end_leases(self.url)
        return read(self.url)

    async def _quiet(self, ordering: asyncio.Task[None]) -> bool:
        """No more faults: everything ends, every end is delivered. Returns whether all orders were acknowledged."""
        self.receiver.calm = self.client.calm = True
        life = await self._serve("", self.port)
        began = time.monotonic()
        while time.monotonic() - began < QUIET_SECONDS and not life.over:
            facts = read(self.url)
            if ordering.done() and not self._open(facts):
                self.result.converged_seconds = round(time.monotonic() - began, 1)
                break
            await asyncio.sleep(0.2)
        if life.over:
            last = (self.folder / "service.log").read_text()[-1000:]
            self._blame("service errors", f"it ended by itself with {life.ended.result()}, having said {last}", None)
            return ordering.done()
        facts = read(self.url)
        for what in self._open(facts) if self.result.converged_seconds is None else ():
            self._blame("not quiet", what, None)
        for violation in self.oracle.at_end(facts):
            self._note(violation, None)
        self._count(facts)
        await self._resolve(facts)
        await self._audit()
        life.signal(signal.SIGTERM)
        if await life.wait(STOP_SECONDS) != 0:
            self._blame("service errors", "it did not stop in order", None)
            life.signal(signal.SIGKILL)
        self._read_log()
        return ordering.done()

    def _open(self, facts: Facts) -> list[str]:
        """What is still under way."""
        jobs = self.oracle.jobs(facts)
        found = [
            f"{task.id} ({task.reference}) is {task.status}"
            for task in facts.tasks.values()
            if not task.finished and not self.oracle.held(task, jobs[task.id])
        ]
        found += [f"{event.id} is not delivered" for event in facts.events.values() if event.wanted > event.delivered]
        found += [f"{order.reference} is not acknowledged" for order in self.client.orders if order.id is None]
        return [*found, f"{facts.bells} pushes wait for a query"] if facts.bells else found

    async def _resolve(self, facts: Facts) -> None:
        """Give up what nobody can find out about; that is told as well."""
        held = [task.id for task in facts.tasks.values() if task.status == "unconfirmed"]
        self.result.counts["held"] = len(held)
        async with self._http() as http:
            for one in held:
                if (shown := (await http.get(f"/v1/tasks/{one}")).json().get("status")) != "unconfirmed":
                    self._blame("not visible", f"{one} is shown as {shown}", None)
            replies = [await http.post(f"/v1/tasks/{one}/resolve", json={"action": "abandon"}) for one in held]
        if not held or replies[0].status_code in (404, 405):
            return
        self.result.counts["abandoned"] = sum(reply.status_code == 200 for reply in replies)
        for _ in range(600):
            facts = read(self.url)
            told = {one.task_id for one in facts.events.values() if one.type == "task.failed" and one.delivered}
            if told >= set(held):
                return
            await asyncio.sleep(0.1)
        self._blame("events lost", f"abandoned and not told: {sorted(set(held) - told)[:3]}", None)

    async def _audit(self) -> None:
        """What the service itself says is missing, asked as a customer asks it."""
        after: str | None = None
        async with self._http() as http:
            while True:
                reply = await http.get("/v1/audit", params={"after": after} if after else {})
                found = reply.json()
                if reply.status_code != 200:
                    self._blame("unexplained", f"the audit was answered {reply.status_code}: {reply.text[:300]}", None)
                    return
                for one in (*found["unexplained"], *found["unknown"]):
                    self._blame("unexplained", f"{one['kind']}: {one['message']}", None)
                self.result.counts["audited"] += found["counts"]["owed"]
                if (after := found["next"]) is None:
                    return

    def _count(self, facts: Facts) -> None:
        counts = self.result.counts
        counts["acked"] = len(self.client.acked)
        counts["tasks"] = len(facts.tasks)
        counts["jobs"] = len(self.world.jobs)
        counts["creates"] = sum(asked.kind == "create" for asked in self.world.requests)
        counts["resends"] = sum(task.resends for task in facts.tasks.values())
        counts["pushes"] = sum(bool(push.attempts) for job in self.world.jobs.values() for push in job.pushes)
        counts["events"] = sum(event.wanted for event in facts.events.values())
        counts["receipts"] = len(self.receiver.receipts)
        counts["duplicates"] = self.oracle.duplicates
        counts["conflicts"] = sum(event.type == "task.conflict" for event in facts.events.values())
        counts |= Counter({f"ended {status}": count for status, count in facts.statuses.items()})

    def _read_log(self) -> None:
        """An exception that reached the log is a mistake of ours, whatever came of it."""
        text = (self.folder / "service.log").read_text()
        if "Traceback" in text:
            self._blame("service errors", text[text.index("Traceback") :][:3000], None)

    def _blame(self, rule: str, what: str, kill: Kill | None) -> None:
        self._note(Violation(rule=rule, what=what, kill=None if kill is None else kill.index), kill)

    def _note(self, violation: Violation, kill: Kill | None) -> None:
        self.result.counts[violation.rule] += 1
        if self.result.counts[violation.rule] > SHOWN:
            return
        told = timeline(self.url, violation.task_id) if violation.task_id else []
        where = {"installation": self.plan.name, "seed": self.plan.seed, "point": str(kill) if kill else "quiet"}
        self.result.violations.append({**asdict(violation), **where, "timeline": told})

    async def _serve(self, armed: str, port: int) -> Life:
        extra = {"TASKRELAY_FAILPOINT": armed} if armed else {}
        extra["TASKRELAY_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
        arguments = ("serve", "--host", "127.0.0.1", "--port", str(port))
        return await self._start(*arguments, log=self.folder / "service.log", **extra)

    async def _start(self, *arguments: str, log: Path, **extra: str) -> Life:
        environment = {**self._environment(), **extra}
        return await self._nursery.run(*arguments, folder=self.folder, log=log, environment=environment)

    def _http(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.client.key}"}
        return httpx.AsyncClient(base_url=self.client.url, headers=headers, timeout=15)

    def _environment(self) -> dict[str, str]:
        account = {
            "BASE_URL": self._provider_url,
            "API_KEY": "sandbox",
            "ENABLED": "true",
            "EXPECTED_SECONDS": "1",
            "RATE": "500/s",
            "MAX_OPEN_TASKS": "100000",  # held tasks count as open
            **({"ENDPOINT_PATH": "sandbox"} if self.plan.kind.name == "cloudsway" else {}),
        }
        return {
            "PATH": os.environ.get("PATH", ""),
            "TASKRELAY_DATABASE_URL": self.url,
            "TASKRELAY_SECRET_KEYS": self._secret_keys,
            "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
            "TASKRELAY_EGRESS__PORTS": "*",
            "TASKRELAY_LOG_LEVEL": "warning",
            "TASKRELAY_UNSAFE_TIMING": "1",
            "TASKRELAY_API__RATE": "off",
            "TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
            "TASKRELAY_TIMING__SETTLE_SECONDS": str(SETTLE_SECONDS),
            **{f"TASKRELAY_ACCOUNTS__{self.plan.kind.name.upper()}__{name}": told for name, told in account.items()},
        }


async def play(plan: Plan, folder: Path) -> Result:
    """Run a plan in a folder of its own."""
    began = time.monotonic()
    async with Nursery() as nursery:
        result = await (await _made(plan, folder, nursery)).run()
    result.seconds = round(time.monotonic() - began, 1)
    return result


async def _made(plan: Plan, folder: Path, nursery: Nursery) -> Installation:
    from tests.kill.pair import Pair

    if (server := os.environ.get(SERVER)) is None:
        return Installation(plan, folder, nursery, f"sqlite:///{folder}/{DATABASE}")
    url = await postgres.database(server, f"kill_{plan.name}".replace("-", "_"))
    return (Pair if os.environ.get("REPLICAS") == "2" else Installation)(plan, folder, nursery, url)


def main() -> None:
    seed, kills, kind, number, folder = sys.argv[1:]
    [plan] = [one for one in plans(int(seed), int(kills), [kind]) if one.number == int(number)]
    result = asyncio.run(play(plan, Path(folder)))
    sys.stdout.write(result.dump() + "\n")


if __name__ == "__main__":
    main()
