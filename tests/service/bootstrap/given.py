"""Settings of a taskrelay in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from service.settings import Settings, load

ACCOUNT = "TASKRELAY_ACCOUNTS__CLOUDSWAY__"
OLD, NEW = "9f8c1e5b7a3d2460" * 2, "0642d3a7b5e1c8f9" * 2


def settings(folder: Path, **more: str) -> Settings:
    return load({"TASKRELAY_DATABASE_URL": f"sqlite:///{folder}/taskrelay.db", **more})
