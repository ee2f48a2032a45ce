"""A sync that fails: nothing after it is believed. The whole service through it: sweep_sync.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

from storage import projects
from storage.database import Connection
from storage.sqlite import SQLiteDatabase
from tests.storage.children import child
from tests.storage.conftest import Clock

FAILING = """
from tests.faults.seam import fail_syncs
database = await open_database(f"sqlite:///{sys.argv[1]}", clock=lambda: 1)
await database.write(projects.touch)
say("acknowledged")
fail_syncs()
await database.write(projects.touch)
say("acknowledged")
"""


async def touches(tx: Connection) -> object:
    [(found,)] = await tx.fetch("SELECT touches FROM installation")
    return found


def size_of_log(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


async def test_a_failed_sync_ends_the_process_unacknowledged_and_the_next_begins_with_what_is_synced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.db"
    with child(FAILING, str(path)) as running:
        said, complained = await asyncio.to_thread(running.communicate, timeout=60)
    assert (running.returncode, said) == (74, "acknowledged\n")
    assert "the database file failed (SQLITE_IOERR_FSYNC" in complained and "start again" in complained
    assert size_of_log(path) > 0
    database = await SQLiteDatabase.open(str(path), clock=Clock())
    try:
        # What the log held may never have reached the disk, whatever the next sync of it says: it is written anew, elsewhere.
        assert size_of_log(path) == 0
        assert await database.read(touches) in (1, 2)
        await database.write(projects.touch)
    finally:
        await database.close()
