"""What spares the suites time and takes nothing from a test: where their folders are, and when garbage is looked for."""

from __future__ import annotations

import gc
import os
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ENOUGH = 1 << 30  # of a container's usual 64 MB, a few workers would see the end


def folders(memory: Path = MEMORY) -> None:
    """Tests keep their files in memory where there is room: hundreds of databases sync each commit, and a disk takes 1 to 3 ms for that.

    Not where nothing may be executed: some tests write a program and run it. A folder that somebody has named stays.
    """
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not (memory.is_dir() and os.access(memory, os.W_OK | os.X_OK)):
        return
    if shutil.disk_usage(memory).free > ENOUGH and not os.statvfs(memory).f_flag & os.ST_NOEXEC:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(memory)


def collecting() -> None:
    """Thirteen thousand tests are made and none goes: without a search for garbage that takes 4.5 s, with one 7.5."""
    gc.disable()


def collected() -> None:
    """From here on only what tests leave behind is searched, not each time the tests themselves."""
    gc.freeze()
    gc.enable()


def order(items: list[pytest.Item]) -> None:
    """Files whose tests are allowed the longest first: one that begins last keeps a worker busy while the others have nothing left."""
    allowed: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        if (mark := item.get_closest_marker("timeout")) is not None:
            allowed[item.path] = max(allowed[item.path], mark.args[0])
    items.sort(key=lambda item: -allowed[item.path])
