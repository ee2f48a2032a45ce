"""Puts the parts of a replica together: the one place where each is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from service.bootstrap.accounts import accounts_of
from service.bootstrap.parts import Service
from service.bootstrap.policy import public_url_of
from service.bootstrap.stores import postgres_of
from service.bootstrap.world import USER_AGENT, Ports
from service.core.keys import Keyring
from service.core.schedule import Bucket
from service.core.tokens import Tokens
from service.net.client import ProviderClient
from service.net.guard import Policy
from service.net.hosts import Hosts
from service.net.sender import Sender
from service.pipeline.account import AccountLane
from service.pipeline.accounts import AccountDesk
from service.pipeline.durations import Durations
from service.pipeline.duties import Duties
from service.pipeline.key_use import KeyUse
from service.pipeline.lanes import Lanes, Worker
from service.pipeline.ledger import AccountRules, Batch, Desk
from service.pipeline.neighbours import Neighbours
from service.pipeline.poll import PollDesk
from service.pipeline.recorder import Recorder
from service.pipeline.relay import EndpointLane, RelayDesk
from service.pipeline.retention import Keep, Retention
from service.pipeline.silence import Silence
from service.pipeline.skew import Skew
from service.pipeline.submit import SubmitDesk
from service.pipeline.sweep import Sweep
from service.pipeline.watch import Watch
from service.settings import Settings
from storage.database import Database
from storage.records import Lane, LaneKind
from storage.wakeups import open_wakeups


def wire(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    policy: Policy,
    client: ProviderClient,
    sender: Sender,
    installation: str,
    ports: Ports,
) -> Service:
    clock = ports.clock
    tokens, accounts, watch = Tokens(keyring, installation), accounts_of(settings), Watch()
    rules = {name: account.rules() for name, account in accounts.items()}
    durations = Durations(database, rules, clock=clock)

    def arrived(batch: Batch) -> None:
        lanes.arrived(batch)
        watch.recorded(batch)
        neighbours.committed(batch)

    desk = _desk(settings, rules, durations, tokens, installation, ports)
    recorder = Recorder(database, desk, arrived=arrived, heard=durations.heard)
    buckets: dict[str, Bucket] = {}

    def bucket(account: str) -> Bucket:
        """Kept beyond the lane: a lane given back and taken again by the same process has not spent more than its rate."""
        return buckets.setdefault(account, Bucket(accounts[account].rate, now=clock()))

    relaying = _relaying(settings, database, recorder, sender, keyring, ports)
    owner = f"{os.getpid()}-{ports.entropy(6).hex()}"
    lanes = Lanes(
        database,
        owner=owner,
        accounts=list(accounts),
        clock=clock,
        make=_maker(database, accounts, relaying, client, tokens, bucket, ports),
        ttl_seconds=settings.timing.lane_ttl_seconds,
        released=lambda key, at: neighbours.released(key, at),
    )
    wakeups = open_wakeups(settings.database_url, notify=postgres_of(settings).notify, name=owner)
    works = "work" in settings.roles
    neighbours = Neighbours(database, wakeups, lanes, watch, works=works, clock=clock, chance=ports.chance)
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
        wakeups=wakeups,
        neighbours=neighbours,
        skew=Skew(database, clock=clock, judged=lanes.fit),
        duties=Duties(database, owner=owner, clock=clock, alone=wakeups.alone),
        key_use=KeyUse(),
        client=client,
    )


def _desk(
    settings: Settings,
    rules: Mapping[str, AccountRules],
    durations: Durations,
    tokens: Tokens,
    installation: str,
    ports: Ports,
) -> Desk:
    public_url = public_url_of(settings)
    return Desk(
        accounts=rules,
        curve=durations.curve,
        public_url=public_url,
        event_key=installation.encode(),  # never rotates, so a fact keeps its event id through restore and rotation
        output_url=lambda task_id: f"{public_url}/o/{tokens.output(task_id)}",
        clock=ports.clock,
        entropy=ports.entropy,
        chance=ports.chance,
    )


def _relaying(
    settings: Settings, database: Database, recorder: Recorder, sender: Sender, keyring: Keyring, ports: Ports
) -> RelayDesk:
    return RelayDesk(
        database=database,
        recorder=recorder,
        sender=sender,
        unseal=keyring.open,
        clock=ports.clock,
        chance=ports.chance,
        user_agent=USER_AGENT,
        attempt_seconds=settings.timing.attempt_timeout_seconds,
        hosts=Hosts(settings.egress.per_host),
    )


def _maker(
    database: Database,
    accounts: Mapping[str, AccountDesk],
    relaying: RelayDesk,
    client: ProviderClient,
    tokens: Tokens,
    bucket: Callable[[str], Bucket],
    ports: Ports,
) -> Callable[[Lane], Worker]:
    """What makes the worker of a lane."""
    recorder, clock = relaying.recorder, ports.clock
    submitting = SubmitDesk(
        recorder=recorder, client=client, clock=clock, boottime=ports.boottime, callback_token=tokens.callback
    )
    polling = PollDesk(recorder=recorder, client=client, clock=clock, read_token=tokens.read_callback)

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

    return make
