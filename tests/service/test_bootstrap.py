"""What bootstrap gives the command; the wiring itself is shown by everything that runs a real process."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import MutableMapping
from pathlib import Path

import pytest

from service import bootstrap
from service.bootstrap import (
    Ports,
    StartError,
    app_of,
    key_for,
    keyring_of,
    open_service,
    open_store,
    policy_of,
    reach,
    serving,
)
from service.net.guard import Blocked
from service.settings import Settings, load
from storage import projects
from storage.errors import StorageError

ACCOUNT = "TASKRELAY_ACCOUNTS__CLOUDSWAY__"


def settings(folder: Path, **more: str) -> Settings:
    return load({"TASKRELAY_DATABASE_URL": f"sqlite:///{folder}/taskrelay.db", **more})


def test_a_key_that_another_process_made_in_the_same_moment_is_kept(tmp_path: Path) -> None:
    found = keyring_of(settings(tmp_path)).key_ids
    bootstrap._make_secret(tmp_path / "taskrelay.secret")  # what a process does that saw no file a moment ago
    assert keyring_of(settings(tmp_path)).key_ids == found
    assert [path.name for path in tmp_path.iterdir()] == ["taskrelay.secret"]
    assert (tmp_path / "taskrelay.secret").stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="TASKRELAY_DATABASE_URL"):
        keyring_of(settings(tmp_path / "nowhere"))


def test_with_postgresql_keys_must_be_given() -> None:
    with pytest.raises(StartError, match="TASKRELAY_SECRET_KEYS is not set"):
        keyring_of(load({"TASKRELAY_DATABASE_URL": "postgresql://db/relay"}))


async def test_a_key_is_made_in_an_open_store(tmp_path: Path) -> None:
    async with open_store(settings(tmp_path)) as (database, keyring):
        made = await bootstrap.key_for(database, keyring, name="me", scopes=["tasks"])
        assert made.key.startswith("trk_") and await database.read(projects.count_keys) == 1


async def test_a_database_that_cannot_be_opened_leaves_no_key_behind(tmp_path: Path) -> None:
    (tmp_path / "taskrelay.db").mkdir()
    with pytest.raises(StorageError):
        async with open_store(settings(tmp_path)):
            raise AssertionError("it was opened")
    assert os.listdir(tmp_path) == ["taskrelay.db"]


@pytest.mark.parametrize(
    ("host", "public", "own", "other"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:8080/", "http://127.0.0.1:8081/"),
        ("0.0.0.0", "https://relay.example.com", "http://localhost:8080/", "http://10.0.0.7:8080/"),
        ("localhost", "http://10.0.0.5", "http://10.0.0.5/hook", "http://10.0.0.5:81/hook"),
        ("10.0.0.9", "http://relay.internal:9000", "http://relay.internal:9000/", "http://127.0.0.1:8080/"),
    ],
)
def test_events_are_not_delivered_to_their_sender(host: str, public: str, own: str, other: str) -> None:
    egress = {"TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8,10.0.0.0/8", "TASKRELAY_EGRESS__PORTS": "*"}
    policy = policy_of(load({"TASKRELAY_HOST": host, "TASKRELAY_PUBLIC_URL": public, **egress}))
    with pytest.raises(Blocked, match="this service itself"):
        policy.judge_url(own)
    assert policy.judge_url(other)


async def test_accounts_are_looked_at_without_asking_them(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        given = {f"{ACCOUNT}BASE_URL": address, f"{ACCOUNT}API_KEY": "k"}
        [(name, shown, fault)] = [found async for found in reach(settings(tmp_path, **given))]
        assert (name, shown) == ("cloudsway", address) and fault is not None and "EGRESS__ALLOW" in fault
        allowed = {**given, "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8", "TASKRELAY_EGRESS__PORTS": "*"}
        assert [found async for found in reach(settings(tmp_path, **allowed))] == [("cloudsway", address, None)]
        off = {**allowed, f"{ACCOUNT}ENABLED": "false"}
        assert [found async for found in reach(settings(tmp_path, **off))] == []
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_every_contract_has_a_name() -> None:
    assert {"cloudsway", "ulazai"} <= set(bootstrap.provider_names())


OLD, NEW = "9f8c1e5b7a3d2460" * 2, "0642d3a7b5e1c8f9" * 2


async def test_serving_without_the_key_that_sealed_the_secrets_is_refused(tmp_path: Path) -> None:
    async with open_store(settings(tmp_path, TASKRELAY_SECRET_KEYS=OLD)) as (database, keyring):
        await key_for(database, keyring, name="me", scopes={"tasks"})  # makes the project, and seals its secret
    with pytest.raises(StartError, match=f"sealed with key {keyring.key_ids[0]}") as told:
        async with open_service(settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW)):
            pass
    assert OLD not in str(told.value)
    async with open_service(settings(tmp_path, TASKRELAY_SECRET_KEYS=f"{NEW},{OLD}")) as service:
        assert service.keyring.key_ids[1] == keyring.key_ids[0]


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
