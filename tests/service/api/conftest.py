"""One service without its lanes: a real database, recorder and application; pushes and queries are played by the test."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from service.api.app import Api, create_app
from service.api.context import Context, Limits
from service.core import ids
from service.core.keys import Keyring
from service.core.schedule import Bucket
from service.core.tokens import Tokens
from service.net.client import ProviderClient
from service.net.guard import Policy
from service.net.resolver import Resolver
from service.pipeline.recorder import Recorder
from service.pipeline.skew import Skew
from service.pipeline.watch import Watch
from storage import projects
from storage.database import open_database
from tests import engines
from tests.service.api.house import House, accounts, desk
from tests.storage.conftest import Clock

BASE = "https://relay.example.org"
TLS = ssl.create_default_context()  # slow to make, the same for all


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def public_url() -> str | None:
    return BASE


@pytest.fixture
async def house(tmp_path: Path, clock: Clock, public_url: str | None) -> AsyncIterator[House]:
    database = await open_database(await engines.address(tmp_path, clock), clock=clock)
    numbers = itertools.count(1)

    def entropy(count: int) -> bytes:
        return next(numbers).to_bytes(count, "big")

    def mint(prefix: str) -> str:
        clock.advance(0.001)  # ids of one millisecond do not sort
        return ids.mint(prefix, clock(), entropy(10))

    installation = await database.read(projects.installation)
    keyring = Keyring([b"k" * 32])
    tokens = Tokens(keyring, installation)
    configured, rung, watch = accounts(public_url), [], Watch(look_again_seconds=3600.0)
    buckets = {name: Bucket(one.rate, now=0) for name, one in configured.items()}
    recorder = Recorder(database, desk(configured, tokens, clock, entropy), arrived=watch.recorded)
    resolver = Resolver(lookup=lambda host: ["127.0.0.1"])
    policy = Policy(
        allow=(ip_network("10.1.0.0/16"), ip_network("127.0.0.0/8")),
        ports=None,
        denied_hosts=frozenset({"relay.example.org"}),
    )
    provider = ProviderClient(policy, resolver, user_agent="taskrelay/test", ssl_context=TLS)
    context = Context(
        database=database,
        recorder=recorder,
        ring=lambda key, at: rung.append((key, at)),
        watch=watch,
        accounts=configured,
        disabled={"spare": "ulazai"},
        tokens=tokens,
        keyring=keyring,
        policy=Policy(allow=(ip_network("10.1.0.0/16"),), denied_hosts=frozenset({"relay.example.org"})),
        client=provider,
        bucket=lambda name: buckets[name],
        clock=clock,
        skew=Skew(database, clock=clock),
        mint=mint,
        entropy=entropy,
        public_url=public_url,
        limits=Limits(endpoints=3),
    )
    made = House(context=context, clock=clock, rung=rung)
    await made.furnish()
    yield made
    await recorder.drain()
    await provider.aclose()
    resolver.close()
    await database.close()


@pytest.fixture
def app(house: House) -> Api:
    return create_app(house.context)


@pytest.fixture
async def client(house: House, app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client(app, house.key) as opened:
        yield opened


@pytest.fixture
def calling(house: House, app: Api) -> Callable[[str], httpx.AsyncClient]:
    """A client with another key."""
    return lambda key: house.client(app, key)
