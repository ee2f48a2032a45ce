from __future__ import annotations

from pathlib import Path

import pytest

from service.bootstrap.world import clock
from service.cli.bench import commits as measured
from storage import audit
from storage.database import open_database

PROJECT = "prj_" + "0" * 26


async def test_what_is_counted_is_in_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "SECONDS", 0.05)
    url = f"sqlite:///{tmp_path}/scratch.db"
    database = await open_database(url, clock=clock)
    try:
        alone, together = await measured.commits(url, PROJECT)
        written = await database.read(lambda tx: audit.page(tx, PROJECT, after=None, limit=200))
    finally:
        await database.close()
    assert alone > 0 and together > 0 and len(written) >= 3
