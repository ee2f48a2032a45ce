"""What stands around the flow on the bench: the clock, the other parties on real sockets, and a database that can be spoilt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.pipeline.accounts import AccountDesk
from service.pipeline.ledger import AccountRules
from service.sandbox.jobs import Knobs
from service.sandbox.serve import Served, serve
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from storage.database import Database, T, Unit
from tests import clocks

SECOND = clocks.SECOND


class Clock(clocks.Clock):
    """It begins at the true time, because the published verifier looks at the machine's."""

    def __init__(self) -> None:
        super().__init__(time.time_ns() // 1000)


@dataclass
class Network:
    """The other parties."""

    world: World
    subscriber: Subscriber
    door: Subscriber  # takes the provider's pushes; `Rig.pushes` carries them on
    servers: Sequence[Served] = ()

    @property
    def provider_url(self) -> str:
        return self.servers[0].url

    @property
    def subscriber_url(self) -> str:
        return self.servers[1].url

    @property
    def door_url(self) -> str:
        return self.servers[2].url


async def open_network(clock: Clock) -> Network:
    world = World(Knobs(job_seconds=None), clock=lambda: clock() / SECOND)
    network = Network(world=world, subscriber=Subscriber(), door=Subscriber())
    network.servers = [await serve(world), await serve(network.subscriber), await serve(network.door)]
    return network


class Rules(Mapping[str, AccountRules]):
    """The rules of the accounts as they are configured at the moment."""

    def __init__(self, accounts: Mapping[str, AccountDesk]) -> None:
        self.accounts = accounts

    def __getitem__(self, name: str) -> AccountRules:
        return self.accounts[name].rules()

    def __iter__(self) -> Iterator[str]:
        return iter(self.accounts)

    def __len__(self) -> int:
        return len(self.accounts)


class Wrapped:
    """A database that tests spoil: everything goes to the real one."""

    def __init__(self, inner: Database) -> None:
        self.inner = inner

    async def write(self, unit: Unit[T], /) -> T:
        return await self.inner.write(unit)

    async def read(self, unit: Unit[T], /) -> T:
        return await self.inner.read(unit)

    @property
    def waiting(self) -> int:
        return self.inner.waiting

    def watched(self, told: Callable[[int, float], None], /) -> None:
        self.inner.watched(told)

    def claim_serving(self) -> bool:
        return self.inner.claim_serving()

    async def close(self) -> None:
        await self.inner.close()
