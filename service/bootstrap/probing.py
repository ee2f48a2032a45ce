"""A replica that is listened to while it buys one job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from service.bootstrap.door import app_of
from service.bootstrap.opening import serving
from service.bootstrap.parts import Service
from service.bootstrap.policy import policy_of
from service.bootstrap.stores import open_store
from service.bootstrap.world import REAL, USER_AGENT, clock
from service.net.resolver import Resolver
from service.net.server import Server, uvicorn_config
from service.net.tap import TappedClient
from service.pipeline.probe.course import Course
from service.pipeline.probe.facts import Fact, facts
from service.pipeline.probe.heard import Heard
from service.pipeline.probe.samples import samples
from service.settings import Settings


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
