"""SIGKILL while a new database is made: the next start makes it whole, with one installation and every table."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.faults.seam import ROOT

POINTS = 20


async def killed_while_opening(folder: Path, points: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a whole database looks like, and what became of the others."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.opening", str(folder), str(points)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaints = await running.communicate()
    assert running.returncode == 0, complaints.decode()
    first, *rest = map(json.loads, out.splitlines())
    return first["whole"], rest


async def test_a_start_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    whole, seen = await killed_while_opening(tmp_path, POINTS)
    assert len(seen) == POINTS and whole["installations"] == 1
    assert {one["died"] for one in seen} <= {0, -signal.SIGKILL}
    assert sum(one["died"] == -signal.SIGKILL for one in seen) >= POINTS // 2
    for one in seen:
        told = {name: one[name] for name in whole}
        assert (one["again"], told) == (0, whole), one
