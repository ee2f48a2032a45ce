"""The processes of a bench: what each is told, so that what is measured is taskrelay and not a limit somebody set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.cli.demo.play import HERE, Cast, settings_for
from service.cli.demo.stage import Stage, free_port, run_once

CLOUDSWAY = "TASKRELAY_ACCOUNTS__CLOUDSWAY__"


async def prepare(folder: Path, url: str) -> tuple[dict[str, str], Mapping[str, Any]]:
    """The settings, and a key in a database that is ready. Raises `StageError`."""
    port, sandbox = free_port(), free_port()
    settings = settings_for(f"http://{HERE}:{sandbox}", f"http://{HERE}:{port}") | {
        "TASKRELAY_DATABASE_URL": url,
        "TASKRELAY_PORT": str(port),
        "TASKRELAY_API__RATE": "off",
        f"{CLOUDSWAY}RATE": "1000/s",
        f"{CLOUDSWAY}MAX_OPEN_TASKS": "100000",
        f"{CLOUDSWAY}EXPECTED_SECONDS": "3600",  # nothing is polled: a callback is the only way to learn
    }
    if url.startswith("postgresql://"):
        await run_once(folder, ["db", "migrate", "--json"], settings)
    made = await run_once(
        folder, ["keys", "create", "--name", "bench", "--scope", "tasks,endpoints,read", "--json"], settings
    )
    return settings, made


async def bring_up(stage: Stage, settings: Mapping[str, str], key: str) -> Cast:
    """Start sandbox, subscriber and taskrelay. Raises `StageError`."""
    played = settings[f"{CLOUDSWAY}BASE_URL"].rpartition(":")[2]
    sandbox = await stage.start(
        "sandbox", ["sandbox", "--port", played, "--job-seconds", "0", "--faults", "no-push", "--json"]
    )
    subscriber = await stage.start("subscriber", ["subscriber", "--port", "0", "--json"])
    taskrelay = await stage.start("taskrelay", ["serve", "--host", HERE, "--json"], settings)
    return Cast(sandbox=sandbox, taskrelay=taskrelay, subscriber=subscriber, key=key)
