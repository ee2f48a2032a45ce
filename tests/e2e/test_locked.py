"""Another process keeps the database from being written: 503 in time, reads go on, and all is well as soon as it lets go."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from service.sandbox.jobs import Knobs
from tests.e2e.stack import installation
from tests.e2e.test_disk import ended, eventually, refused

pytestmark = [pytest.mark.slow, pytest.mark.sqlite("one writer at a time")]

# A write waits five seconds for a foreign writer. Twice that is two in turn, and what is between is for a machine that stands still.
ANSWERED_WITHIN_SECONDS = 9.5
WELL_WITHIN_SECONDS = 4.5


async def held(folder: Path, seconds: float) -> None:
    """Hold the database for at least so long, with requests that come all the while."""
    async with installation(folder, knobs=Knobs(job_seconds=0.3)) as stack:
        await stack.start()
        async with stack.client() as client:
            order = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}
            push = stack.push_path("sub_00000000000000000000000000")
            acked = {(await client.post("/v1/tasks", json=order)).json()["id"]}
            await eventually("the first end", lambda: ended(client, acked), stack)
            waits: list[float] = []

            async def ask(after: float, path: str, body: dict[str, object]) -> httpx.Response:
                await asyncio.sleep(after)
                began = time.monotonic()
                reply = await client.post(path, json=body)
                waits.append(time.monotonic() - began)
                return reply

            with closing(sqlite3.connect(folder / "taskrelay.db", isolation_level=None)) as foreign:
                foreign.execute("BEGIN EXCLUSIVE")
                began = time.monotonic()
                # In step with the writer's own waiting, and out of it: nobody waits for the others' turn.
                bodies = [(push, {"n": number}) if number % 3 else ("/v1/tasks", order) for number in range(24)]
                asking = [asyncio.create_task(ask(number * 0.07, *body)) for number, body in enumerate(bodies)]
                ready = asyncio.create_task(client.get("/readyz"))
                for _ in range(20):
                    for path in ("/v1/tasks", "/livez", *(f"/v1/tasks/{task_id}" for task_id in acked)):
                        assert (await client.get(path)).status_code == 200
                for reply in await asyncio.gather(ready, *asking):
                    refused(reply)
                while time.monotonic() < began + seconds:
                    refused(await client.get("/readyz"))
                foreign.execute("ROLLBACK")
                released = time.monotonic()
            assert max(waits) < ANSWERED_WITHIN_SECONDS, sorted(waits)
            reply = await client.post("/v1/tasks", json=order)
            assert reply.status_code == 202 and time.monotonic() < released + WELL_WITHIN_SECONDS
            acked.add(reply.json()["id"])
            assert (await client.post(push, json={"n": 1})).status_code == 202
            await eventually("every end", lambda: ended(client, acked), stack)
            listed = {task["id"] for task in (await client.get("/v1/tasks?limit=200")).json()["data"]}
            assert listed == acked, "what was refused was not kept, what was acknowledged was"


@pytest.mark.timeout(300)
async def test_a_foreign_writer_is_waited_for_by_all_at_once_and_never_in_turn(tmp_path: Path) -> None:
    await held(tmp_path, 0)
