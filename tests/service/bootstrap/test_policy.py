from __future__ import annotations

import socket
from pathlib import Path

import pytest

from service.bootstrap.policy import policy_of, reach
from service.net.guard import Blocked
from service.settings import load
from tests.service.bootstrap.given import ACCOUNT, settings


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
