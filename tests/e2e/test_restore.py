"""The restore drill with real processes: a backup of a serving database, more bought since, the disk is lost, the copy serves.

Nothing is bought twice, what was bought since is found again where the contract can be searched and held where it cannot,
and everything that ended is told, under the ids it had before.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from service.sandbox.jobs import Knobs
from service.telemetry.redact import visible
from tests.e2e.stack import PATIENCE_SECONDS, Stack, installation

pytestmark = [pytest.mark.slow, pytest.mark.sqlite("copies of its file")]

SETTINGS = {
    "TASKRELAY_ACCOUNTS__CLOUDSWAY__MAX_OPEN_TASKS": "2",
    "TASKRELAY_ACCOUNTS__CLOUDSWAY__RATE": "50/s",
    "TASKRELAY_ACCOUNTS__ULAZAI__MAX_OPEN_TASKS": "1",
    "TASKRELAY_ACCOUNTS__ULAZAI__RATE": "50/s",
    "TASKRELAY_ACCOUNTS__ACEDATA__API_KEY": "sandbox",
    "TASKRELAY_ACCOUNTS__ACEDATA__EXPECTED_SECONDS": "2",
    "TASKRELAY_ACCOUNTS__ACEDATA__MAX_OPEN_TASKS": "1",
    "TASKRELAY_ACCOUNTS__ACEDATA__RATE": "50/s",
}
MODELS = {"cloudsway": "kling-3.0-turbo", "ulazai": "kling-3.0", "acedata": "kling-v3"}


async def order(stack: Stack, provider: str, number: int) -> str:
    prompt = f"{provider} number {number}"
    reply = await stack.create(provider=provider, model=MODELS[provider], input={"prompt": prompt})
    assert reply.status_code == 202, visible(reply.text)
    task_id: str = reply.json()["id"]
    return task_id


def bought(stack: Stack) -> Counter[str]:
    return Counter(job.prompt for job in stack.world.jobs.values())


def ends_told(stack: Stack) -> dict[str, set[str]]:
    """Task → the ids of the events that told of its success."""
    told: dict[str, set[str]] = {}
    for hook in stack.subscriber.received:
        body = json.loads(hook.body)
        if body["type"] == "task.succeeded":
            told.setdefault(body["data"]["id"], set()).add(body["id"])
    return told


async def succeeded(stack: Stack, task_id: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), stack.client() as client:
        while (await client.get(f"/v1/tasks/{task_id}", params={"wait": "10"})).json()["status"] != "succeeded":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def refused(stack: Stack, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *stack.run,
        *command,
        cwd=stack.folder,
        env=stack.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    return err.decode()


async def test_after_a_restore_nothing_is_bought_twice_and_everything_is_found_or_held(tmp_path: Path) -> None:
    knobs = Knobs(job_seconds=None, unique_external_id=False)  # nothing ends, so what waits gets no turn
    async with installation(tmp_path, knobs=knobs, settings=SETTINGS) as stack:
        stack.extra["TASKRELAY_ACCOUNTS__ACEDATA__BASE_URL"] = stack.provider.url
        await stack.start()
        await stack.subscribe()
        before = {name: [await order(stack, name, number) for number in range(5)] for name in MODELS}
        await stack.until(lambda: len(bought(stack)) == 4, "as many purchases as may be open")
        copy = await stack.command("db", "backup", "copy.db", "--json")
        bought_by_then = set(bought(stack))
        assert (copy["open_tasks"], len(bought_by_then)) == (15, 4)
        assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
        assert "served by process" in await refused(stack, "db", "restore", "copy.db")

        knobs.job_seconds = 0.4
        for job_id in list(stack.world.jobs):
            stack.world.finish(job_id)
        after = [await order(stack, "cloudsway", number) for number in (5, 6)]
        await stack.until(lambda: len(bought(stack)) == 17, "every purchase")
        await stack.until(lambda: len(ends_told(stack)) == 17, "every end is told")
        first_ids = ends_told(stack)
        await stack.kill()
        restored = await stack.command("db", "restore", "copy.db", "--json")
        assert restored["tasks"] == 15
        assert restored["aside"].startswith(f"{tmp_path}/taskrelay.db.before-restore-")

        heard = len(stack.subscriber.received)
        await stack.start()
        for task_id in (*before["cloudsway"], *before["acedata"]):
            await succeeded(stack, task_id)
        await stack.until(lambda: len(stack.subscriber.received) > heard, "what had ended is told again")
        assert max(bought(stack).values()) == 1
        assert len(bought(stack)) == 17
        assert ends_told(stack) == first_ids  # what is told a second time has the id that it had
        for number, task_id in enumerate(before["ulazai"]):
            waited = f"ulazai number {number}" not in bought_by_then
            assert (await stack.task(task_id))["status"] in (
                ("unconfirmed",) if waited else ("succeeded", "unconfirmed")
            )
        async with stack.client() as client:
            assert [(await client.get(f"/v1/tasks/{lost}")).status_code for lost in after] == [404, 404]
        assert (await stack.command("db", "replay", "--json"))["differing"] == 0


async def test_what_was_not_bought_since_the_backup_is_bought_once_after_it_was_looked_for(tmp_path: Path) -> None:
    knobs = Knobs(job_seconds=0.4, unique_external_id=False)
    async with installation(tmp_path, knobs=knobs, settings=SETTINGS) as stack:
        knobs.job_seconds = None  # nothing ends, so nothing waiting gets its turn
        await stack.start()
        await stack.subscribe()
        tasks = [await order(stack, "cloudsway", number) for number in range(5)]
        await stack.until(lambda: len(bought(stack)) == 2, "two purchases")
        await stack.command("db", "backup", "copy.db", "--json")
        await stack.kill()
        await stack.command("db", "restore", "copy.db", "--json")
        knobs.job_seconds = 0.4
        for job_id in list(stack.world.jobs):
            stack.world.finish(job_id)
        await stack.start()
        await stack.until(lambda: len(bought(stack)) == 5, "the others are bought as well")
        assert max(bought(stack).values()) == 1
        told = {(await stack.task(task_id))["status"] for task_id in tasks}
        assert "unconfirmed" not in told
