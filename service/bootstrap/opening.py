"""Opens a replica, refuses what would go wrong later, and closes it in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from service.bootstrap.errors import StartError
from service.bootstrap.keys import refuse_lost_keys
from service.bootstrap.parts import Service
from service.bootstrap.policy import policy_of
from service.bootstrap.stores import open_store
from service.bootstrap.wiring import wire
from service.bootstrap.world import REAL, USER_AGENT, Ports
from service.core.keys import Keyring
from service.core.times import iso
from service.net.client import ProviderClient
from service.net.resolver import Resolver
from service.net.sender import Sender
from service.pipeline.drill import drill
from service.settings import Settings
from service.telemetry import failpoints, metrics
from storage import lanes as lane_rows
from storage import projects
from storage.database import Database
from storage.errors import StorageError
from storage.moving import marks


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
    alone = database.claim_serving()
    await _refuse_moved(database)
    if alone:
        await database.write(lane_rows.void_leases)  # whoever held them is dead: this process alone serves
    failpoints.reach("at_start")
    await refuse_lost_keys(database, keyring.key_ids)
    installation = await database.read(projects.installation)
    policy = policy_of(settings)
    resolvers = Resolver(), Resolver(threads=8)
    client = ports.client or ProviderClient(policy, resolvers[1], user_agent=USER_AGENT)
    sender = ports.sender or Sender(
        policy, resolvers[0], user_agent=USER_AGENT, timeout_seconds=settings.timing.attempt_timeout_seconds
    )
    database.watched(_committed)
    service = wire(settings, database, keyring, policy, client, sender, installation, ports)
    try:
        await _refuse_wrong_clock(service)
        await drill(database, service.recorder, clock=ports.clock)
        yield service
    finally:
        await service.lanes.stop()
        await service.recorder.drain()
        await service.wakeups.close()
        with suppress(StorageError):  # some examples less
            await service.durations.store()
        with suppress(StorageError):  # the last minute of it
            await service.key_use.store(database)
        failpoints.reach("after_stop")
        await client.aclose()
        await sender.aclose()
        for resolver in resolvers:
            resolver.close()


def _committed(units: int, seconds: float) -> None:
    metrics.database_group_writes.labels().observe(units)
    metrics.database_commit_seconds.labels().observe(seconds)


async def _refuse_moved(database: Database) -> None:
    """Of a house that moved and the one it moved to, both would buy what is open in both."""
    at = await database.read(marks.moved_at)
    if at is not None:
        raise StartError(
            f"everything in this database was moved to another at {iso(at)}, and that one serves: set TASKRELAY_DATABASE_URL to it."
            " How to come back: taskrelay db copy --help"
        )


async def _refuse_wrong_clock(service: Service) -> None:
    if service.wakeups.alone:
        return
    await service.skew.run_once()
    if service.skew.refused and service.skew.noted is not None:
        raise StartError(service.skew.noted)
