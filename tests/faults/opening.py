"""Opens new databases in processes that are killed on the way, at one write after another, and then opens each once more.

Forks before any thread exists, so that a death costs no new interpreter. Prints one JSON line for each.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from storage.database import open_database
from tests.faults import seam
from tests.faults.seam import KILL, Control


async def _open(path: Path) -> None:
    database = await open_database(f"sqlite:///{path}", clock=lambda: 1)
    await database.close()


def _in_child(path: Path, control: Path | None, at: int) -> int:
    """Open in a child that dies at this write, if it makes so many. Returns its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if control is not None:
                shared = Control(control)
                if at:
                    shared.arm(KILL, after=at - 1)
                seam.install(shared)
            asyncio.run(_open(path))
            code = 0
        finally:
            os._exit(code)
    return pid


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _found(path: Path) -> dict[str, object]:
    with closing(sqlite3.connect(path)) as raw:
        [(check,)] = raw.execute("PRAGMA integrity_check")
        [(made,)] = raw.execute("SELECT count(*) FROM installation")
        tables = sorted(name for (name,) in raw.execute("SELECT name FROM sqlite_master"))
    return {"check": check, "installations": made, "tables": tables}


def _say(found: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main(folder: Path, points: int) -> None:
    seen = folder / "measure" if seam.missing() is None else None
    began = time.monotonic()
    _wait(_in_child(folder / "whole.db", seen, 0))
    took = time.monotonic() - began
    _say({"whole": _found(folder / "whole.db")})
    calls = Control(seen).calls if seen is not None else points
    for point in range(points):
        path = folder / f"{point}.db"
        at = 1 + calls * point // points
        pid = _in_child(path, folder / f"{point}.control" if seen is not None else None, at)
        if seen is None:  # this Python hides the seam: by the clock, then
            time.sleep(took * point / points)
            os.kill(pid, signal.SIGKILL)
        died = _wait(pid)
        again = _wait(_in_child(path, None, 0))
        _say({"at": at, "died": died, "again": again, **_found(path)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
