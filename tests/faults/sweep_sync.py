"""A sync that fails: the process trusts nothing any more and ends; the next one goes on from what is on disk."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from service.sandbox.jobs import Knobs
from tests.e2e.stack import installation
from tests.e2e.test_disk import ended, eventually
from tests.faults import seam
from tests.faults.seam import NO_SYNC, Control

ORDER = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}


async def failed_and_resumed(folder: Path, *, after: int) -> None:
    """Syncs fail from the Nth write on, with a request under way."""
    assert (why := seam.missing()) is None, f"{why}: run this with a Python whose sqlite3 is linked to a libsqlite3"
    control = Control(folder / "control")
    knobs = Knobs(job_seconds=0.3, unique_external_id=False)
    async with installation(folder, knobs=knobs, run=seam.command(control.path)) as stack:
        await stack.start()
        async with stack.client() as client:
            acked = {(await client.post("/v1/tasks", json={**ORDER, "reference": "first"})).json()["id"]}
            await eventually("the first end", lambda: ended(client, acked), stack)
            control.arm(NO_SYNC, after=after)
            cut_off: list[str] = []
            while not cut_off:
                reference = f"r-{len(acked)}"
                try:
                    reply = await client.post("/v1/tasks", json={**ORDER, "reference": reference})
                except httpx.TransportError:
                    cut_off.append(reference)
                else:
                    assert reply.status_code == 202
                    acked.add(reply.json()["id"])
            assert await stack.died() == 74
        said = (folder / "service.log").read_text()
        assert "the database file failed (SQLITE_IOERR_FSYNC" in said and "check the disk, then start again" in said
        control.heal()
        await stack.start()
        async with stack.client() as client:
            listed = (await client.get("/v1/tasks?limit=200")).json()["data"]
            found = {task["id"] for task in listed}
            # As after a power cut: what was not acknowledged may be there, whole, or not.
            assert acked <= found and {task["reference"] for task in listed if task["id"] not in acked} <= set(cut_off)
            await eventually("every end", lambda: ended(client, found), stack)
    assert all(jobs <= 1 for counted in stack.world.accepted.values() for jobs in counted.values())
    with closing(sqlite3.connect(folder / "taskrelay.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("after", range(int(os.environ.get("FAULT_SYNCS", "50"))))
async def test_a_failed_sync_ends_the_process_with_a_clear_word_and_the_next_goes_on(
    tmp_path: Path, after: int
) -> None:
    await failed_and_resumed(tmp_path, after=after)
