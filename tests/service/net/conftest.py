from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network

import pytest
import uvloop

from service.net.guard import Policy
from service.net.resolver import Resolver
from tests.limits import Limits
from tests.service.net.certificates import Authority

LOOPBACK_ALLOWED = Policy(allow=(ip_network("127.0.0.0/8"),), ports=None)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops: uvloop serves, asyncio simulates, and they differ just where sockets are handled by hand."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    return Limits(monkeypatch)


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    """Every name is on this machine."""
    made = Resolver(lookup=lambda host: ["127.0.0.1"], timeout_seconds=60)
    yield made
    made.close()
