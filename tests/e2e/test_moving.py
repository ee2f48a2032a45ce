"""Moving house with real processes: what SQLite had begun, PostgreSQL ends; links, tokens and secrets of before still hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.sandbox.jobs import Knobs
from service.sandbox.subscriber import Answers
from tests import postgres
from tests.e2e.stack import PATIENCE_SECONDS, Stack, installation
from tests.storage.moving.house import change

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

# Polling comes too late to end anything here: what ends was pushed, to an address that was made before the move.
SETTINGS = {"TASKRELAY_ACCOUNTS__CLOUDSWAY__EXPECTED_SECONDS": "600"}
WAIT = {"wait": "20"}


@pytest.fixture
async def new_house() -> AsyncIterator[str]:
    with postgres.server(durable=False) as server:
        yield await postgres.database(server, "taskrelay_moved_into")


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    house = {"TASKRELAY_DATABASE_URL": f"sqlite:///{tmp_path}/taskrelay.db"}
    async with installation(tmp_path, knobs=Knobs(job_seconds=None), settings={**SETTINGS, **house}) as made:
        yield made


async def stopped(stack: Stack) -> None:
    assert stack.process is not None
    stack.process.terminate()
    assert await stack.died() == 0


async def refused(stack: Stack, *command: str) -> str:
    ran = await asyncio.create_subprocess_exec(
        *stack.run,
        *command,
        cwd=stack.folder,
        env=stack.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await ran.communicate()
    assert ran.returncode == 1
    return err.decode()


async def ordered(stack: Stack, prompt: str) -> tuple[str, str]:
    """Ids of a task that was bought, and of its job at the provider."""
    task_id: str = (await stack.create(input={"prompt": prompt})).json()["id"]
    await stack.until(lambda: any(job.prompt == prompt for job in stack.world.jobs.values()), "the purchase")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await stack.task(task_id))["status"] != "processing":  # noqa: ASYNC110 (the sandbox rings before we know)
            await asyncio.sleep(0.02)
    return task_id, next(id for id, job in stack.world.jobs.items() if job.prompt == prompt)


async def ended(stack: Stack, task_id: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_SECONDS), stack.client() as client:
        while (found := (await client.get(f"/v1/tasks/{task_id}", params=WAIT)).json())["status"] != "succeeded":
            pass
    task: dict[str, Any] = found
    return task


def told(stack: Stack, task_id: str) -> list[tuple[str | None, str]]:
    """Id and bytes of what arrived about the task, each with a good signature."""
    about = [one for one in stack.subscriber.received if json.loads(one.body)["data"]["id"] == task_id]
    assert all(one.valid for one in about)
    return [(one.webhook_id, one.sha256) for one in about]


async def test_everything_goes_on_where_it_was_and_comes_back_again(stack: Stack, new_house: str) -> None:
    file = stack.extra["TASKRELAY_DATABASE_URL"]
    await stack.start()
    await stack.subscribe()
    done, its_job = await ordered(stack, "done before")
    stack.world.finish(its_job)
    link = (await ended(stack, done))["output_url"]
    await stack.until(lambda: len(told(stack, done)) == 1, "the first event")
    owed, its_job = await ordered(stack, "owed")
    stack.subscriber.answers = Answers(status=503, times=1)
    stack.world.finish(its_job)
    await ended(stack, owed)
    await stack.until(lambda: len(told(stack, owed)) == 1, "an event that is not taken")
    going, job_under_way = await ordered(stack, "under way")
    assert "is served by process" in await refused(stack, "db", "copy", file, new_house)
    await stopped(stack)

    moved = await stack.command("db", "copy", file, new_house, "--json")
    assert moved["tables"]["tasks"]["rows"] == 3
    assert "was moved to another" in await refused(stack, "serve", "--port", "0")

    stack.extra["TASKRELAY_DATABASE_URL"] = new_house
    if not stack.keys:  # SQLite made its own; replicas are told theirs
        stack.extra["TASKRELAY_SECRET_KEYS_FILE"] = f"{stack.folder}/taskrelay.secret"
    await stack.start()
    await stack.until(lambda: len(told(stack, owed)) == 2, "what was owed")
    assert len(set(told(stack, owed))) == 1  # the same id, the same bytes
    stack.world.finish(job_under_way)
    await ended(stack, going)
    await stack.until(lambda: len(told(stack, going)) == 1, "the end of what was under way")
    async with httpx.AsyncClient() as anybody:
        assert (await anybody.get(link)).status_code == 302
    new, its_job = await ordered(stack, "made there")
    stack.world.finish(its_job)
    await ended(stack, new)
    await stack.until(lambda: len(told(stack, new)) == 1, "an event of a new task")
    stack.extra |= {"TASKRELAY_URL": stack.url, "TASKRELAY_KEY": stack.key}
    audit = await stack.command("audit", "--json")
    assert (audit["counts"]["unexplained"], audit["counts"]["ended"]) == (0, 4), audit
    assert (await stack.command("db", "replay", "--json"))["differing"] == 0
    async with stack.client() as client:
        feed = (await client.get("/v1/events")).json()["data"]
    ends = [event["data"]["id"] for event in feed if event["type"] == "task.succeeded"]
    assert ends == [done, owed, going, new]
    assert "another taskrelay uses" in await refused(stack, "db", "copy", file, new_house, "--undo")
    await stopped(stack)

    await stack.command("db", "copy", file, new_house, "--undo", "--json")
    assert "was moved to another" in await refused(stack, "serve", "--port", "0")
    stack.extra["TASKRELAY_DATABASE_URL"] = file
    # Its push has been and gone, and the next look is ten minutes off: they pass.
    change(
        stack.folder / "taskrelay.db",
        "UPDATE tasks SET due_at = 1 WHERE due_at > 1",
        "UPDATE lanes SET next_due_at = 1",
    )
    await stack.start()
    await ended(stack, going)
    await stack.until(lambda: len(told(stack, going)) == 2, "the end is told by this life too")
    assert len({webhook_id for webhook_id, _ in told(stack, going)}) == 1
    assert (
        max(sum(job.prompt == one.prompt for job in stack.world.jobs.values()) for one in stack.world.jobs.values())
        == 1
    )
