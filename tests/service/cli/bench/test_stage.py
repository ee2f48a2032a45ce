from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.bench.stage import CLOUDSWAY, prepare

pytestmark = pytest.mark.slow  # processes, each with its start


async def test_a_key_is_made_and_no_limit_of_ours_is_in_the_way(tmp_path: Path) -> None:
    settings, made = await prepare(tmp_path, f"sqlite:///{tmp_path}/scratch.db")
    assert made["key"].startswith("trk_") and made["scopes"] == ["endpoints", "read", "tasks"]
    assert (tmp_path / "scratch.db").exists()
    assert settings[f"{CLOUDSWAY}RATE"] == "1000/s" and settings[f"{CLOUDSWAY}EXPECTED_SECONDS"] == "3600"
