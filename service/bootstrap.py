"""Puts the parts together: the one place that knows settings, engines and network clients at the same time."""

from __future__ import annotations

import os
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from service import __version__
from service.api.app import Api, create_app
from service.api.context import Context, Limits
from service.core import ids
from service.core.keys import Keyring, key_id_of
from service.core.schedule import Bucket
from service.core.tokens import Tokens
from service.net.client import Channel, ProviderClient
from service.net.dial import boottime
from service.net.guard import NetError, Policy
from service.net.hosts import Hosts
from service.net.resolver import Resolver
from service.net.sender import Sender
from service.net.server import Server, listen, uvicorn_config
from service.net.tap import TappedClient
from service.pipeline.account import AccountLane
from service.pipeline.accounts import AccountDesk, Callbacks
from service.pipeline.drill import drill
from service.pipeline.durations import EVERY_SECONDS, Durations
from service.pipeline.keys import MadeKey, make_key
from service.pipeline.lanes import Lanes, Worker
from service.pipeline.ledger import Batch, Desk
from service.pipeline.poll import PollDesk
from service.pipeline.probe.cheapest import Purchase as Purchase  # whoever asks for one may name it
from service.pipeline.probe.cheapest import cheapest
from service.pipeline.probe.course import Course
from service.pipeline.probe.facts import Fact, facts
from service.pipeline.probe.heard import Heard
from service.pipeline.probe.samples import samples
from service.pipeline.recorder import Recorder
from service.pipeline.relay import EndpointLane, RelayDesk
from service.pipeline.replay import Checked, check
from service.pipeline.reseal import Resealing, reseal, use_of
from service.pipeline.retention import EVERY_SECONDS as RETENTION_EVERY_SECONDS
from service.pipeline.retention import Keep, Retention
from service.pipeline.silence import EVERY_SECONDS as SILENCE_EVERY_SECONDS
from service.pipeline.silence import Silence
from service.pipeline.submit import SubmitDesk
from service.pipeline.sweep import Sweep
from service.pipeline.watch import Watch
from service.providers.base import Account
from service.providers.registry import PROVIDERS
from service.runtime import Loop
from service.settings import AccountSettings, Settings
from service.telemetry import failpoints
from storage import lanes as lane_rows
from storage import projects, seals
from storage.database import Database, open_database
from storage.errors import StorageError
from storage.records import Lane, LaneKind

USER_AGENT = f"taskrelay/{__version__}"
SWEEP_EVERY_SECONDS = 30.0


class StartError(Exception):
    """The service cannot start as it is configured; the text says what to do."""


def clock() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world outside as the service meets it: clocks, chance, network. By default the real one; a simulation brings its own.

    `clock`: microseconds UTC. `boottime`: see `dial.boottime`. `entropy`: that many random bytes. `chance`: from 0 to 1.
    """

    clock: Callable[[], int] = clock
    boottime: Callable[[], float] = boottime
    entropy: Callable[[int], bytes] = secrets.token_bytes
    chance: Callable[[], float] = random.random
    client: ProviderClient | None = None
    sender: Sender | None = None

    def mint(self, prefix: str) -> str:
        return ids.mint(prefix, self.clock(), self.entropy(ids.ENTROPY_BYTES))


REAL = Ports()
mint = REAL.mint


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything a process needs, wired. Made by `open_service`."""

    ports: Ports
    settings: Settings
    database: Database
    keyring: Keyring
    tokens: Tokens
    policy: Policy
    accounts: Mapping[str, AccountDesk]
    recorder: Recorder
    lanes: Lanes
    durations: Durations
    silence: Silence
    bucket: Callable[[str], Bucket]
    sweep: Sweep
    retention: Retention
    watch: Watch
    client: ProviderClient

    @property
    def loops(self) -> list[Loop]:
        """What a working replica runs beside `lanes.run`."""
        return [
            Loop(name="heartbeat", run_once=self._heartbeat, every_seconds=self.settings.timing.heartbeat_seconds),
            Loop(name="durations", run_once=self.durations.run_once, every_seconds=EVERY_SECONDS),
            Loop(name="silence", run_once=self.silence.run_once, every_seconds=SILENCE_EVERY_SECONDS),
            Loop(name="sweep", run_once=self.sweep.run_once, every_seconds=SWEEP_EVERY_SECONDS),
            Loop(name="retention", run_once=self.retention.run_once, every_seconds=RETENTION_EVERY_SECONDS),
        ]

    async def _heartbeat(self) -> int:
        await self.lanes.heartbeat()
        return 0


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[tuple[Database, Keyring]]:
    """The database and the keys alone: what short commands need."""
    database = await open_database(settings.database_url, clock=clock)
    try:
        yield database, keyring_of(settings)  # after the file: what cannot be opened leaves no key behind
    finally:
        await database.close()


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Open everything a serving process needs; on the way out, finish what is in flight and give the lanes back.

    Raises `StartError`, `storage.errors.StorageError` or ValueError with a text for the operator.
    """
    async with open_store(settings) as (database, keyring):
        failpoints.arm(settings.failpoint)
        async with serving(settings, database, keyring) as service:
            yield service


@asynccontextmanager
async def serving(
    settings: Settings, database: Database, keyring: Keyring, ports: Ports = REAL
) -> AsyncIterator[Service]:
    """Wire the service on an open database; on the way out, finish what is in flight and give the lanes back."""
    if database.claim_serving():
        await database.write(lane_rows.void_leases)  # whoever held them is dead: this process alone serves
    failpoints.reach("at_start")
    await _refuse_lost_keys(database, keyring)
    installation = await database.read(projects.installation)
    policy = policy_of(settings)
    resolvers = Resolver(), Resolver(threads=8)
    client = ports.client or ProviderClient(policy, resolvers[1], user_agent=USER_AGENT)
    sender = ports.sender or Sender(
        policy, resolvers[0], user_agent=USER_AGENT, timeout_seconds=settings.timing.attempt_timeout_seconds
    )
    service = _wire(settings, database, keyring, policy, client, sender, installation, ports)
    try:
        await drill(database, service.recorder, clock=ports.clock)
        yield service
    finally:
        await service.lanes.stop()
        await service.recorder.drain()
        with suppress(StorageError):  # some examples less
            await service.durations.store()
        failpoints.reach("after_stop")
        await client.aclose()
        await sender.aclose()
        for resolver in resolvers:
            resolver.close()


async def _refuse_lost_keys(database: Database, keyring: Keyring) -> None:
    """Without the key that sealed them, secrets cannot be opened, and every delivery would fail one by one."""
    used = {key for sealed in await database.read(seals.use) if (key := key_id_of(sealed)) is not None}
    if lost := sorted(used - set(keyring.key_ids)):
        raise StartError(
            f"secrets in the database are sealed with key {', '.join(lost)}, which is not among TASKRELAY_SECRET_KEYS"
            f" ({', '.join(keyring.key_ids)}). Put it back: at the end of the list, or as taskrelay.secret beside the database"
        )


def _wire(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    policy: Policy,
    client: ProviderClient,
    sender: Sender,
    installation: str,
    ports: Ports,
) -> Service:
    clock, chance = ports.clock, ports.chance
    tokens, accounts = Tokens(keyring, installation), accounts_of(settings)
    watch, public_url = Watch(), public_url_of(settings)
    rules = {name: account.rules() for name, account in accounts.items()}
    durations = Durations(database, rules, clock=clock)
    desk = Desk(
        accounts=rules,
        curve=durations.curve,
        public_url=public_url,
        event_key=installation.encode(),  # never rotates, so a fact keeps its event id through restore and rotation
        output_url=lambda task_id: f"{public_url}/o/{tokens.output(task_id)}",
        clock=clock,
        entropy=ports.entropy,
        chance=chance,
    )

    def arrived(batch: Batch) -> None:
        lanes.arrived(batch)
        watch.recorded(batch)

    recorder = Recorder(database, desk, arrived=arrived, heard=durations.heard)
    relaying = RelayDesk(
        database=database,
        recorder=recorder,
        sender=sender,
        unseal=keyring.open,
        clock=clock,
        chance=chance,
        user_agent=USER_AGENT,
        attempt_seconds=settings.timing.attempt_timeout_seconds,
        hosts=Hosts(settings.egress.per_host),
    )
    submitting = SubmitDesk(
        recorder=recorder,
        client=client,
        clock=clock,
        boottime=ports.boottime,
        callback_token=tokens.callback,
    )
    polling = PollDesk(recorder=recorder, client=client, clock=clock, read_token=tokens.read_callback)

    buckets: dict[str, Bucket] = {}

    def bucket(account: str) -> Bucket:
        """Kept beyond the lane: a lane given back and taken again by the same process has not spent more than its rate."""
        return buckets.setdefault(account, Bucket(accounts[account].rate, now=clock()))

    def make(lane: Lane) -> Worker:
        if lane.kind is LaneKind.ENDPOINT:
            return EndpointLane(lane, relaying)
        return AccountLane(
            lane,
            accounts[lane.key],
            database=database,
            submitting=submitting,
            polling=polling,
            bucket=bucket(lane.key),
        )

    lanes = Lanes(
        database,
        owner=f"{os.getpid()}-{ports.entropy(6).hex()}",
        accounts=list(accounts),
        clock=clock,
        make=make,
        ttl_seconds=settings.timing.lane_ttl_seconds,
    )
    return Service(
        ports=ports,
        settings=settings,
        database=database,
        keyring=keyring,
        tokens=tokens,
        policy=policy,
        accounts=accounts,
        recorder=recorder,
        lanes=lanes,
        durations=durations,
        silence=Silence(database, recorder, accounts, clock=clock),
        bucket=bucket,
        sweep=Sweep(database, recorder, clock=clock),
        retention=Retention(database, Keep(**settings.retention.model_dump()), clock=clock),
        watch=watch,
        client=client,
    )


def policy_of(settings: Settings) -> Policy:
    """What may be called."""
    ports = settings.egress.ports
    own = {host} if (host := _host_of(settings.public_url)) else set()
    public = urlsplit(public_url_of(settings))
    return Policy(
        allow=tuple(settings.egress.allow),
        ports=None if ports == "*" else frozenset(ports),
        denied_hosts=frozenset(own),
        own_origins=frozenset({(public.hostname or "", public.port or (443 if public.scheme == "https" else 80))}),
        own_ports=frozenset({settings.port}) if _heard_at_home(settings.host) else frozenset(),
    )


def _heard_at_home(host: str) -> bool:
    """Whether who listens at this host is heard on loopback."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def accounts_of(settings: Settings) -> dict[str, AccountDesk]:
    """The accounts that may be asked. Raises `StartError` naming every one that cannot work."""
    found: dict[str, AccountDesk] = {}
    faults: list[str] = []
    for name, account in settings.accounts.items():
        if not account.enabled:
            continue
        prefix = f"TASKRELAY_ACCOUNTS__{name.upper()}__"
        if account.provider not in PROVIDERS:
            faults.append(
                f"{prefix}PROVIDER: there is no provider {account.provider!r}; there is {', '.join(PROVIDERS)}"
            )
        elif account.api_key is None:
            faults.append(f"{prefix}API_KEY is not set (or {prefix}ENABLED=false)")
        else:
            found[name] = _account(name, account, settings)
    if faults:
        raise StartError("\n".join(faults))
    return found


def _account(name: str, account: AccountSettings, settings: Settings) -> AccountDesk:
    provider = PROVIDERS[account.provider]
    traits = provider.traits
    assert account.api_key is not None  # accounts_of has checked
    return AccountDesk(
        account=Account(name=name, provider=account.provider, endpoint_path=account.endpoint_path),
        provider=provider,
        channel=Channel(
            name=name, base_url=account.base_url or provider.base_url, api_key=account.api_key.get_secret_value()
        ),
        callbacks=Callbacks(account.callbacks),
        rate=account.rate.per_second if account.rate is not None else traits.rate,
        max_open_tasks=account.max_open_tasks,
        expected_seconds=account.expected_seconds or traits.expected_seconds,
        settle_seconds=settings.timing.settle_seconds,
        submit_deadline_seconds=settings.timing.submit_deadline_seconds,
        query_seconds=settings.timing.query_timeout_seconds,
        units_per_second={rate.level: rate.amount for rate in account.units_per_second},
        unit_price=str(account.unit_price) if account.unit_price is not None else None,
        webhook_secret=account.webhook_secret.get_secret_value() if account.webhook_secret is not None else None,
        public_url=settings.public_url,
    )


def public_url_of(settings: Settings) -> str:
    """Where clients find us: what is configured, else where we listen."""
    return settings.public_url or f"http://{settings.host}:{settings.port}"


def _host_of(url: str | None) -> str | None:
    return urlsplit(url).hostname if url else None


def keyring_of(settings: Settings) -> Keyring:
    """The configured keys; without any, on SQLite, those of a file beside the database, made at first use."""
    if settings.secret_keys:
        return Keyring([key.get_secret_value() for key in settings.secret_keys])
    path = secret_file(settings)
    if path is None:
        raise StartError(
            "TASKRELAY_SECRET_KEYS is not set. Replicas must share it; make one with: openssl rand -base64 48"
        )
    if not path.exists():
        _make_secret(path)
    lines = [line.strip() for line in path.read_text().splitlines()]
    return Keyring([line.encode() for line in lines if line])


def _make_secret(path: Path) -> None:
    """Whole or not at all: another process may be making it too, and what it seals must survive a power cut."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        raise StartError(
            f"{path} cannot be made: {(error.strerror or '').lower()}. Mend its folder, or name another in TASKRELAY_DATABASE_URL"
        ) from None


def secret_file(settings: Settings) -> Path | None:
    """Where the key is kept when none is configured; None when it must be configured."""
    if not settings.database_url.startswith("sqlite:///"):
        return None
    return Path(settings.database_url.removeprefix("sqlite:///")).absolute().parent / "taskrelay.secret"


def app_of(service: Service) -> Api:
    """The HTTP side of a replica as an application."""
    settings, ports = service.settings, service.ports
    context = Context(
        database=service.database,
        recorder=service.recorder,
        learned=service.durations.told,
        ring=service.lanes.ring,
        watch=service.watch,
        accounts=service.accounts,
        tokens=service.tokens,
        keyring=service.keyring,
        policy=service.policy,
        client=service.client,
        bucket=service.bucket,
        clock=ports.clock,
        mint=ports.mint,
        entropy=ports.entropy,
        public_url=public_url_of(settings),
        disabled={name: account.provider for name, account in settings.accounts.items() if not account.enabled},
        limits=Limits(streams=settings.max_streams, project_streams=settings.max_project_streams),
    )
    return create_app(context)


def server_of(service: Service) -> Server:
    """The HTTP side of a replica, not yet started: `serve(sockets=[bind(settings)])`."""
    return Server(uvicorn_config(app_of(service), service.settings.host, service.settings.port))


async def key_for(
    database: Database, keyring: Keyring, *, name: str, scopes: Collection[str], project: str | None = None
) -> MadeKey:
    """Make an API key in an open store. Raises ValueError or `StorageError` with what to do."""
    return await make_key(
        database,
        keyring,
        name=name,
        scopes=scopes,
        project=project,
        clock=clock,
        mint=mint,
        entropy=secrets.token_bytes,
    )


def replay_of(database: Database) -> AsyncIterator[Checked]:
    """Replay every task of an open store and hold it against what is stored, a page at a time."""
    return check(database)


def reseal_of(database: Database, keyring: Keyring) -> AsyncIterator[Resealing]:
    """Seal again with the newest key whatever an older one has sealed, a batch at a time."""
    return reseal(database, keyring, entropy=os.urandom)


async def seals_of(database: Database, keyring: Keyring) -> Mapping[str, int]:
    """How many texts each key has sealed."""
    return await use_of(database, keyring)


def provider_names() -> tuple[str, ...]:
    return tuple(PROVIDERS)


def pushing_providers() -> tuple[str, ...]:
    return tuple(name for name, provider in PROVIDERS.items() if provider.traits.callbacks)


async def reach(settings: Settings) -> AsyncIterator[tuple[str, str, str | None]]:
    """Each account that may be asked, its address, and why that cannot be called. Resolves names, asks nobody."""
    policy, resolver = policy_of(settings), Resolver()
    try:
        for name, account in settings.accounts.items():
            if not account.enabled or account.provider not in PROVIDERS:
                continue
            address = account.base_url or PROVIDERS[account.provider].base_url
            try:
                target = policy.judge_url(address)
                await resolver.addresses(policy.inside() if target.inside_only else policy, target.host)
            except NetError as error:
                yield name, address, str(error)
            else:
                yield name, address, None
    finally:
        resolver.close()


def cheapest_purchase(settings: Settings, account: str, model: str | None = None) -> Purchase | None:
    """The cheapest job at this account. Raises KeyError for an account that may not be asked, `StartError` for faulty ones."""
    return cheapest(accounts_of(settings)[account], model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """A service that is listened to. `server`: not yet started."""

    service: Service
    server: Server
    course: Course

    async def report(self, task_id: str) -> tuple[list[Fact], dict[str, dict[str, object]]]:
        """Which facts held, and samples of what was said, by name. Empty while no job is known."""
        seen = await self.course.evidence(task_id)
        return (facts(seen), samples(seen, seen.account.channel.api_key)) if seen is not None else ([], {})


@asynccontextmanager
async def open_probe(settings: Settings, account: str) -> AsyncIterator[Probing]:
    """The whole service on these settings, with an ear at its client and at its callback door. Raises what `open_service` raises."""
    heard, resolver = Heard(clock), Resolver()
    client = TappedClient(policy_of(settings), resolver, user_agent=USER_AGENT, heard=heard.exchange)
    try:
        async with (
            open_store(settings) as (database, keyring),
            serving(settings, database, keyring, replace(REAL, client=client)) as service,
        ):
            course = Course(
                account=service.accounts[account],
                database=database,
                client=client,
                read_token=service.tokens.read_callback,
                heard=heard,
            )
            server = Server(uvicorn_config(heard.at_the_door(app_of(service)), settings.host, settings.port))
            yield Probing(service=service, server=server, course=course)
    finally:
        resolver.close()


def bind(settings: Settings) -> socket.socket:
    """The socket to serve on, not yet open for requests. Raises OSError."""
    return listen(settings.host, settings.port)
