"""A prober for each test."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.probe.scene import Prober


@pytest.fixture
def prober(relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prober:
    monkeypatch.chdir(tmp_path)
    return Prober(relay, tmp_path, f"sandbox-key-{secrets.token_hex(8)}")
