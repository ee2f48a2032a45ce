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


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody has is known not to be there within a second, also where no server of names answers at all."""
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):  # of the machine's own: it would be asked instead
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Answers) -> Place:
    return place_at(tmp_path, monkeypatch, sound_settings(provider.url, None))
