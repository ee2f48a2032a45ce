"""With a tracer: nothing is acknowledged before it is synced; ENOSPC, EIO and SIGKILL at one system call after another. Minutes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from service.sandbox.jobs import Knobs
from tests.e2e.stack import COMMAND, Stack, installation
from tests.e2e.test_disk import ended, eventually
from tests.faults.traced import failing, require_strace, tracing, unsynced_answers

ANSWERS = int(os.environ.get("FAULT_ANSWERS", "1000"))
POINTS = int(os.environ.get("FAULT_TRACED", "30"))  # of each kind, spread over the first 300 calls
AT = [1 + 300 * point // POINTS for point in range(POINTS)]
ORDER = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}


@pytest.fixture(autouse=True, scope="module")
def strace() -> None:
    require_strace()


@pytest.mark.timeout(900)
async def test_no_acknowledgement_leaves_before_it_is_synced(tmp_path: Path) -> None:
    """One at a time, tasks and pushes in turn, with nothing else at work."""
    trace = tmp_path / "trace"
    async with installation(tmp_path) as stack:
        stack.run = tracing(trace, COMMAND)
        await stack.start(TASKRELAY_ROLES="api")
        push = stack.push_path("sub_00000000000000000000000000")
        async with stack.client() as client:
            for number in range(ANSWERS):
                path, body = ((push, {"n": number}), ("/v1/tasks", ORDER))[number % 2]
                assert (await client.post(path, json=body)).status_code == 202
    with trace.open(errors="replace") as lines:
        answers, early = unsynced_answers(lines)
    assert answers >= ANSWERS and early == []


async def asked_until_it_ends(stack: Stack, most: int) -> set[str]:
    """What was acknowledged before the service died, or after so many requests."""
    acked: set[str] = set()
    async with stack.client() as client:
        for _ in range(most):
            try:
                reply = await client.post("/v1/tasks", json=ORDER)
            except httpx.TransportError:
                break
            assert reply.status_code in (202, 503), reply.text
            if reply.status_code == 202:
                acked.add(reply.json()["id"])
    return acked


async def goes_on(stack: Stack, folder: Path, acked: set[str]) -> None:
    """Started without the fault, all is there, whole, bought once, and ends."""
    await stack.kill()
    stack.run = COMMAND
    await stack.start()
    async with stack.client() as client:
        found = {task["id"] for task in (await client.get("/v1/tasks?limit=200")).json()["data"]}
        assert acked <= found
        await eventually("every end", lambda: ended(client, found), stack)
    assert all(jobs <= 1 for counted in stack.world.accepted.values() for jobs in counted.values())
    with closing(sqlite3.connect(folder / "taskrelay.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.timeout(170)
@pytest.mark.parametrize("at", AT)
async def test_a_disk_that_is_full_from_some_write_on_ruins_nothing(tmp_path: Path, at: int) -> None:
    async with installation(tmp_path, knobs=Knobs(job_seconds=0.2, unique_external_id=False)) as stack:
        stack.run = failing("pwrite64", "error=ENOSPC", f"{at}+", COMMAND)
        await begun(stack)
        await goes_on(stack, tmp_path, await asked_until_it_ends(stack, 20))


@pytest.mark.timeout(170)
@pytest.mark.parametrize("at", AT)
async def test_a_kill_at_some_write_or_sync_ruins_nothing(tmp_path: Path, at: int) -> None:
    call = ("pwrite64", "fdatasync")[at % 2]
    async with installation(tmp_path, knobs=Knobs(job_seconds=0.2, unique_external_id=False)) as stack:
        stack.run = failing(call, "signal=SIGKILL", str(max(at // (1, 6)[at % 2], 1)), COMMAND)
        await begun(stack)
        await goes_on(stack, tmp_path, await asked_until_it_ends(stack, 20))


async def begun(stack: Stack) -> None:
    """Start it; with a fault this early it may say why it cannot, or be dead."""
    try:
        await stack.start()
    except AssertionError:
        assert stack.process is not None and stack.process.returncode in (1, -signal.SIGKILL, 128 + signal.SIGKILL)
        said = await asyncio.to_thread((stack.folder / "service.log").read_text)
        assert "Traceback" not in said
