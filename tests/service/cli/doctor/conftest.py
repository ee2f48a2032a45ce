"""A sound installation whose provider and whose public address are answered by one stranger on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.cli.doctor.scene import Answers, Place, place_at, somebody, sound_settings


@pytest.fixture
def provider() -> Iterator[Answers]:
    with somebody() as stranger:
        yield stranger


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Answers) -> Place:
    return place_at(tmp_path, monkeypatch, sound_settings(provider.url, None))
