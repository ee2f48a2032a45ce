from __future__ import annotations

import asyncio
import socket
from collections.abc import MutableMapping
from pathlib import Path

import httpx
import pytest

from service.bootstrap.door import app_of, bind, server_of
from service.bootstrap.keys import key_for
from service.bootstrap.opening import open_service, serving
from service.bootstrap.stores import open_store
from service.bootstrap.world import Ports
from tests.service.bootstrap.given import NEW, settings


async def test_a_service_lives_in_the_world_that_its_ports_lead_to(tmp_path: Path) -> None:
    given = settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW)
    ports = Ports(clock=lambda: 1_790_000_000_000_000, entropy=lambda count: b"\x01" * count)
    async with open_store(given) as (database, keyring), serving(given, database, keyring, ports) as service:
        answers: list[MutableMapping[str, object]] = []

        async def send(message: MutableMapping[str, object]) -> None:
            answers.append(message)

        scope = {"type": "http", "method": "GET", "path": "/livez", "headers": [], "query_string": b""}
        await app_of(service)(scope, lambda: asyncio.sleep(0, {"type": "http.disconnect"}), send)
        told = dict(answers[0]["headers"])  # type: ignore[call-overload]
        assert told[b"x-request-id"].decode() == ports.mint("req") and service.ports is ports


async def test_rates_count_by_the_clock_that_nobody_sets_back(tmp_path: Path) -> None:
    """The time of day stands still here, and may go back."""
    given = settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW, TASKRELAY_API__RATE="2/m")
    since_boot = [7.0]
    ports = Ports(clock=lambda: 1_790_000_000_000_000, boottime=lambda: since_boot[0])
    async with open_store(given) as (database, keyring), serving(given, database, keyring, ports) as service:
        made = await key_for(database, keyring, name="me", scopes=["read"])
        transport = httpx.ASGITransport(app_of(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            client.headers["authorization"] = f"Bearer {made.key}"
            told = [(await client.get("/v1/whoami")).status_code for _ in range(3)]
            since_boot[0] += 60.0
            assert [*told, (await client.get("/v1/whoami")).status_code] == [200, 200, 429, 200]


async def status(folder: Path, roles: str, path: str, **more: str) -> object:
    async with open_service(settings(folder, TASKRELAY_SECRET_KEYS=NEW, TASKRELAY_ROLES=roles, **more)) as service:
        answers: list[MutableMapping[str, object]] = []

        async def send(message: MutableMapping[str, object]) -> None:
            answers.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
        await app_of(service)(scope, lambda: asyncio.sleep(0, {"type": "http.disconnect"}), send)
        assert server_of(service).config.port == 8080
        return answers[0]["status"]


@pytest.mark.parametrize(("path", "door", "worker"), [("/readyz", 200, 200), ("/", 200, 404), ("/v1/tasks", 401, 404)])
async def test_one_that_only_works_answers_for_its_health_alone(
    tmp_path: Path, path: str, door: int, worker: int
) -> None:
    assert await status(tmp_path, "api", path) == door
    assert await status(tmp_path, "work", path) == worker


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_the_description_is_served_unless_it_is_switched_off(tmp_path: Path, path: str) -> None:
    assert await status(tmp_path, "api", path) == 200
    assert await status(tmp_path, "api", path, TASKRELAY_DOCS="false") == 404
    assert await status(tmp_path, "work", path) == 404


def test_it_is_bound_before_it_serves(tmp_path: Path) -> None:
    with bind(settings(tmp_path, TASKRELAY_PORT="0")) as bound:
        assert bound.getsockname()[1] > 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(bound.getsockname())
