"""The whole flow on a bench: a real database, a sandbox provider and a subscriber on real sockets, and a clock that tests move.

Lanes are worked by hand: `settle` turns every worker until nothing is due at the instant shown by the clock, and fails when a worker
claims to have work and does none, which in the running service would be a busy loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import ssl
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

from service.core import ids, signature
from service.core.keys import Keyring
from service.core.observation import Claim, Observation, Reading, Source
from service.core.request import TaskRequest
from service.core.tokens import Tokens
from service.net.client import Channel, ProviderClient
from service.net.dial import boottime
from service.net.guard import Policy
from service.net.hosts import Hosts
from service.net.resolver import Resolver
from service.net.sender import Sender
from service.pipeline.account import AccountLane
from service.pipeline.accounts import AccountDesk, Callbacks
from service.pipeline.lanes import Lanes, Worker
from service.pipeline.ledger import Batch, Callback, Desk, Recorded
from service.pipeline.poll import PollDesk
from service.pipeline.recorder import Recorder
from service.pipeline.relay import EndpointLane, RelayDesk
from service.pipeline.submit import SubmitDesk
from service.providers.base import Account, Push
from service.providers.registry import PROVIDERS
from service.sandbox.jobs import Job
from service.sandbox.subscriber import Answers, Received, Subscriber
from service.sandbox.world import World
from storage import callbacks, endpoint_secrets, endpoints, lanes, projects, submissions, tasks
from storage.database import Connection, Database, Row, open_database
from storage.records import (
    Endpoint,
    EndpointSecret,
    EndpointStatus,
    Lane,
    LaneKind,
    Project,
    Submission,
    Task,
    TaskStatus,
    TimelineEntry,
)
from tests import engines
from tests.service.pipeline.parties import SECOND, Clock, Network, Rules

AGES = 10 * 365 * 86_400.0  # a lease that never lapses while a test moves the clock
FRUITLESS = 10  # turns in a row in which a worker says it has work and does none
POLICY = Policy(allow=(ip_network("127.0.0.0/8"),), ports=None)
TLS = ssl.create_default_context()  # slow to make, the same for all


@dataclass
class Rig:
    """Everything wired as in the service."""

    path: Path
    clock: Clock
    database: Database
    network: Network | None = None
    owner: str = "rig"
    ttl_seconds: float = AGES
    accounts: dict[str, AccountDesk] = field(default_factory=dict)
    workers: dict[tuple[LaneKind, str], Worker] = field(default_factory=dict)
    turns: Counter[str] = field(default_factory=Counter)  # how often each lane was turned
    batches: list[Batch] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)  # the subscriber's secrets
    attempt_seconds: float = 15.0
    hosts: Hosts = field(default_factory=Hosts)
    lanes: Lanes | None = None  # set by tests that run lanes the service's way
    touched: bool = False  # rows of the past were changed by hand, so they no longer agree with each other

    def __post_init__(self) -> None:
        self.keyring = Keyring([b"k" * 32])
        self.tokens = Tokens(self.keyring, "ins_test")
        self.resolver = Resolver(lookup=lambda host: ["127.0.0.1"])
        self.client = ProviderClient(POLICY, self.resolver, user_agent="taskrelay/test", ssl_context=TLS)
        self.sender = Sender(
            POLICY,
            self.resolver,
            user_agent="taskrelay/test",
            ssl_context=TLS,
            timeout_seconds=self.attempt_seconds,
        )
        self.recorder = Recorder(self.database, self.desk(), arrived=self._arrived)

    @property
    def world(self) -> World:
        assert self.network is not None
        return self.network.world

    @property
    def subscriber(self) -> Subscriber:
        assert self.network is not None
        return self.network.subscriber

    def desk(self) -> Desk:
        return Desk(
            accounts=Rules(self.accounts),
            public_url="https://relay.example",
            event_key=b"ins_test",
            output_url=lambda task_id: f"https://relay.example/o/{task_id}",
            clock=self.clock,
            entropy=secrets.token_bytes,
            chance=lambda: 0.0,
        )

    async def close(self) -> None:
        """End what is in flight, whatever state a failing test left behind."""
        if self.lanes is not None:
            for answers in (self.network.subscriber,) if self.network else ():
                answers.answers = Answers()
            await self.lanes.stop()
        for worker in self.workers.values():
            await worker.stop()
        await self.recorder.drain()
        await self.client.aclose()
        await self.sender.aclose()
        self.resolver.close()
        await self.database.close()

    # Making rows

    def mint(self, prefix: str) -> str:
        return ids.mint(prefix, self.clock(), secrets.token_bytes(10))

    def account(
        self,
        name: str = "cloudsway",
        *,
        provider: str | None = None,
        callbacks: Callbacks = Callbacks.VERIFY,
        rate: float = 1000.0,
        max_open_tasks: int = 100,
        webhook_secret: str | None = None,
        base_url: str | None = None,
        query_seconds: float = 5.0,
        submit_deadline_seconds: float = 30.0,
    ) -> AccountDesk:
        """Configure an account; its provider is the sandbox."""
        contract = PROVIDERS[provider or name]
        network = self.network
        url = base_url or (network.provider_url if network else "http://127.0.0.1:9")
        self.accounts[name] = AccountDesk(
            account=Account(name=name, provider=contract.name, endpoint_path="tenant-1"),
            provider=contract,
            channel=Channel(name=name, base_url=url, api_key="key-of-the-account"),
            callbacks=callbacks,
            rate=rate,
            max_open_tasks=max_open_tasks,
            expected_seconds=60.0,
            settle_seconds=120.0,
            submit_deadline_seconds=submit_deadline_seconds,
            query_seconds=query_seconds,
            webhook_secret=webhook_secret,
            public_url=network.door_url if network else "https://relay.example",
        )
        return self.accounts[name]

    def _secret(self, purpose: str) -> str:
        secret = signature.new_secret(secrets.token_bytes(24))
        self.trusted.append(secret)
        if self.network is not None:
            self.subscriber.trust(self.trusted)
        return self.keyring.seal(secret, purpose=purpose, nonce=secrets.token_bytes(12))

    async def project(self) -> str:
        made = self.mint("prj")
        project = Project(id=made, name=made, secret=self._secret("project-secret"), created_at=self.clock())
        await self.database.write(lambda tx: projects.insert(tx, project))
        return made

    async def endpoint(
        self,
        project: str,
        *,
        url: str | None = None,
        events: str | None = None,
        hidden: bool = False,
        status: EndpointStatus = EndpointStatus.ACTIVE,
        max_in_flight: int = 8,
        **more: object,
    ) -> str:
        made = Endpoint(
            id=self.mint("ep"),
            project_id=project,
            url=url or (f"{self.network.subscriber_url}/hook" if self.network else "http://127.0.0.1:9/hook"),
            status=status,
            hidden=hidden,
            events=events,
            max_in_flight=max_in_flight,
            created_at=self.clock(),
            updated_at=self.clock(),
            **more,  # type: ignore[arg-type]
        )
        sealed = None if hidden else self._secret("endpoint-secret")

        async def unit(tx: Connection) -> None:
            await endpoints.insert(tx, made)
            if sealed is not None:
                row = EndpointSecret(endpoint_id=made.id, number=1, sealed=sealed, created_at=self.clock())
                await endpoint_secrets.insert(tx, row)

        await self.database.write(unit)
        return made.id

    async def task(
        self,
        project: str,
        *,
        account: str = "cloudsway",
        prompt: str = "A paper boat.",
        deadline_seconds: float = 7200.0,
        webhook: tuple[str, str, str | None] | None = None,
        **changes: object,
    ) -> Task:
        """Store a queued task and tell its account's lane. `webhook`: hidden endpoint, URL, types."""
        if account not in self.accounts:
            self.account(account)
        contract = self.accounts[account].provider
        model = next(iter(contract.models))
        ready = contract.prepare(TaskRequest(provider=contract.name, model=model, input={"prompt": prompt}))
        now = self.clock()
        task = Task(
            id=self.mint("task"),
            project_id=project,
            account=account,
            provider=contract.name,
            model=model,
            status=TaskStatus.QUEUED,
            input=json.dumps(ready.input),
            provider_options=json.dumps(ready.provider_options),
            webhook_endpoint_id=webhook[0] if webhook else None,
            webhook_url=webhook[1] if webhook else None,
            webhook_events=webhook[2] if webhook else None,
            due_at=now,
            deadline_at=now + round(deadline_seconds * SECOND),
            created_at=now,
            updated_at=now,
        )
        task = replace(task, **changes)  # type: ignore[arg-type]

        async def unit(tx: object) -> None:
            await tasks.insert(tx, task)  # type: ignore[arg-type]
            await lanes.arrive(tx, {(LaneKind.ACCOUNT, account): now})  # type: ignore[arg-type]

        await self.database.write(unit)
        self.ring(LaneKind.ACCOUNT, account)
        return task

    async def bound(self, task: Task, job: str | None = None) -> str:
        """Take a task to `processing` without a provider; returns its submission."""
        submission = await self.intend(task)
        await self.see(task, Claim.ACCEPTED, job=job or f"job-{task.id}", submission=submission, source=Source.SUBMIT)
        return submission

    async def intend(self, task: Task) -> str:
        submission = self.mint("sub")
        await self.recorder.record(
            Observation(
                task_id=task.id,
                source=Source.SUBMIT,
                reading=Reading(claim=Claim.INTENT),
                at=self.clock(),
                submission_id=submission,
                submission_deadline_at=self.clock() + 30 * SECOND,
            )
        )
        return submission

    def seen(
        self,
        task: Task,
        claim: Claim,
        *,
        job: str | None = None,
        submission: str | None = None,
        source: Source = Source.POLL,
        **reading: object,
    ) -> Observation:
        """An observation about a task."""
        return Observation(
            task_id=task.id,
            source=source,
            reading=Reading(claim=claim, provider_task_id=job, **reading),  # type: ignore[arg-type]
            at=self.clock(),
            submission_id=submission,
        )

    async def see(self, task: Task, claim: Claim, **more: object) -> Recorded:
        return await self.recorder.record(self.seen(task, claim, **more))  # type: ignore[arg-type]

    def callback(
        self, submission: str, claim: Claim, *, body: bytes = b"{}", signed: bool = False, **reading: object
    ) -> Callback:
        return Callback(
            provider="cloudsway",
            submission_id=submission,
            reading=Reading(claim=claim, **reading),  # type: ignore[arg-type]
            body=body,
            signed=signed,
        )

    # Reading rows

    async def rows(self, sql: str, **params: object) -> list[Row]:
        return await self.database.read(lambda tx: tx.fetch(sql, params))

    async def run(self, sql: str, **params: object) -> None:
        """An operator's hand in the database: breaks things on purpose."""
        await self.database.write(lambda tx: tx.fetch(sql, params))

    async def now(self, task: Task) -> Task:
        """The task as it is stored."""
        return (await self.database.read(lambda tx: tasks.read(tx, {task.id})))[task.id]

    async def submissions(self, task: Task) -> list[Submission]:
        return await self.database.read(lambda tx: submissions.of_task(tx, task.id))

    async def timeline(self, task: Task) -> list[TimelineEntry]:
        return await self.database.read(lambda tx: callbacks.timeline_of(tx, task.id))

    async def events(self, task: Task) -> list[str]:
        """Types of its events, in the order of the feed."""
        rows = await self.rows("SELECT type FROM events WHERE task_id = :id ORDER BY position", id=task.id)
        return [str(kind) for (kind,) in rows]

    async def deliveries(self, endpoint: str) -> list[tuple[str, int]]:
        """(status, attempts) of an endpoint's deliveries, in the order they were owed."""
        rows = await self.rows(
            "SELECT status, attempts FROM deliveries JOIN events ON events.id = event_id"
            " WHERE endpoint_id = :id ORDER BY position",
            id=endpoint,
        )
        return [(str(status), int(str(attempts))) for status, attempts in rows]

    async def bells(self) -> int:
        [(count,)] = await self.rows("SELECT count(*) FROM observations WHERE verified_at IS NULL")
        return int(str(count))

    async def lane(self, kind: LaneKind, key: str) -> Lane:
        found = await self.database.read(lambda tx: lanes.get(tx, kind, key))
        assert found is not None
        return found

    # The parties

    def job(self, task: Task) -> Job:
        """The one job the sandbox made for a task."""
        [job] = self.jobs(task)
        return job

    def jobs(self, task: Task) -> list[Job]:
        prompt = json.loads(task.input)["prompt"]
        contract = task.provider
        return [
            job
            for job in self.world.jobs.values()
            if job.contract.name == contract
            and (job.external_id == task.id if job.external_id is not None else job.prompt == prompt)
        ]

    def requests(self, kind: str) -> int:
        """How many creates or queries the provider has seen."""
        return sum(asked.kind == kind for asked in self.world.requests)

    async def pushes(self) -> int:
        """Carry what the provider has pushed so far through the door; returns how many those were."""
        assert self.network is not None
        await self.world.quiet()
        taken = list(self.network.door.received)
        self.network.door.received.clear()
        for push in taken:
            await self.carry(push)
        return len(taken)

    async def carry(self, push: Received) -> Recorded:
        provider, token = push.path.removeprefix("/callbacks/").split("/")
        submission = self.tokens.read_callback(provider, token)
        assert submission is not None
        body = push.body.encode()
        reading = PROVIDERS[provider].read(Push(headers=push.headers, body=body))
        return await self.recorder.record(
            Callback(provider=provider, submission_id=submission, reading=reading, body=body, at=self.clock())
        )

    def received(self, kind: str | None = None) -> list[Received]:
        """What the subscriber has, of one type or all."""
        return [one for one in self.subscriber.received if kind in (None, one.headers["taskrelay-event"])]

    # Working lanes

    def make(self, lane: Lane) -> Worker:
        if lane.kind is LaneKind.ENDPOINT:
            return EndpointLane(
                lane,
                RelayDesk(
                    database=self.database,
                    recorder=self.recorder,
                    sender=self.sender,
                    unseal=self.keyring.open,
                    clock=self.clock,
                    chance=lambda: 0.0,
                    user_agent="taskrelay/test",
                    attempt_seconds=self.attempt_seconds,
                    hosts=self.hosts,
                ),
            )
        submitting = SubmitDesk(
            recorder=self.recorder,
            client=self.client,
            clock=self.clock,
            boottime=boottime,
            callback_token=self.tokens.callback,
        )
        polling = PollDesk(
            recorder=self.recorder, client=self.client, clock=self.clock, read_token=self.tokens.read_callback
        )
        return AccountLane(
            lane, self.accounts[lane.key], database=self.database, submitting=submitting, polling=polling
        )

    def running_lanes(self, **more: object) -> Lanes:
        """Lanes as the service runs them, with their own tasks."""
        self.lanes = Lanes(
            self.database,
            owner=self.owner,
            accounts=list(self.accounts),
            clock=self.clock,
            make=more.pop("make", self.make),  # type: ignore[arg-type]
            ttl_seconds=self.ttl_seconds,
            **more,  # type: ignore[arg-type]
        )
        return self.lanes

    async def claim(self) -> int:
        """Take the lanes that are due."""
        taken = await self.database.write(
            lambda tx: lanes.claim(
                tx,
                owner=self.owner,
                accounts=list(self.accounts),
                now=self.clock(),
                ttl_seconds=self.ttl_seconds,
                batch=200,
            )
        )
        for lane in taken:
            self.workers[lane.kind, lane.key] = self.make(
                replace(lane, until=self.clock() + round(self.ttl_seconds * SECOND))
            )
        return len(taken)

    async def worker(self, kind: LaneKind, key: str) -> Worker:
        """The worker of a lane, claimed now if nobody has it."""
        if (kind, key) not in self.workers:
            await self.database.write(lambda tx: lanes.arrive(tx, {(kind, key): self.clock()}))
            await self.claim()
        return self.workers[kind, key]

    async def turn(self, worker: Worker) -> int:
        self.turns[worker.lane.key] += 1
        return await worker.run_once()

    async def settle(self) -> None:
        """Turn the lanes until nothing is in flight and nothing is due now."""
        fruitless = 0
        async with asyncio.timeout(60):
            while True:
                ending = any(map(in_flight, self.workers.values()))
                moved = await self.claim()
                for worker in list(self.workers.values()):
                    if not worker.lost:
                        moved += await self.turn(worker)
                if moved:
                    fruitless = 0
                elif self._tick():
                    continue
                elif busy := [worker for worker in self.workers.values() if in_flight(worker)]:
                    await any_of([worker.wait(5) for worker in busy])
                elif self._due():
                    fruitless += 1
                    assert fruitless < FRUITLESS, f"busy loop: {self._due()} say they have work and do none"
                elif not ending:  # else it may have left work for another lane since that was asked for
                    return

    def _tick(self) -> bool:
        """Let milliseconds pass: deliveries of one commit are due a microsecond apart, and results wait for company."""
        times = [worker.next_at() for worker in self.workers.values() if not worker.lost]
        soon = [at for at in times if at is not None and self.clock() < at <= self.clock() + 10_000]
        self.clock.now = max([self.clock.now, *soon])
        return bool(soon)

    def _due(self) -> list[str]:
        """Lanes that say there is something to do now."""
        times = [(worker.lane.key, worker.next_at()) for worker in self.workers.values() if not worker.lost]
        return [key for key, at in times if at is not None and at <= self.clock()]

    async def stretch(self, seconds: float) -> Counter[str]:
        """Let time pass, from one moment at which a lane has something to do to the next. Returns the turns of each lane."""
        end = self.clock() + round(seconds * SECOND)
        before = Counter(self.turns)
        while True:
            await self.settle()
            times = [worker.next_at() for worker in self.workers.values() if not worker.lost]
            following = min((at for at in times if at is not None), default=end)
            if following >= end:
                self.clock.now = end
                await self.settle()
                return self.turns - before
            self.clock.now = max(self.clock.now + 1, following)

    def ring(self, kind: LaneKind, key: str) -> None:
        if (kind, key) in self.workers:
            self.workers[kind, key].ring(self.clock())
        if self.lanes is not None:
            self.lanes.ring((kind, key), self.clock())

    def _arrived(self, batch: Batch) -> None:
        self.batches.append(batch)
        if self.lanes is not None:
            self.lanes.arrived(batch)
            return
        for fresh in batch.fresh:
            if (worker := self.workers.get((LaneKind.ENDPOINT, fresh.endpoint_id))) is not None:
                worker.hand(fresh)
        for key, at in batch.arrivals.items():
            if (worker := self.workers.get(key)) is not None:
                worker.ring(at)


def in_flight(worker: Worker) -> bool:
    """Whether a request of this worker is on its way, or its result is not yet written."""
    if isinstance(worker, EndpointLane):
        return bool(worker._senders or worker._settling)
    assert isinstance(worker, AccountLane)
    return not worker.idle


async def any_of(waits: Sequence[Awaitable[None]]) -> None:
    """Until the first of them is over."""
    running = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def open_rig(path: Path, clock: Clock, network: Network | None, **more: object) -> Rig:
    database = await open_database(await engines.address(path, clock), clock=clock)
    return Rig(path=path, clock=clock, database=database, network=network, **more)  # type: ignore[arg-type]


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
