"""The disk fills under a running service, and has room again: nothing acknowledged is lost, nothing is bought unnoticed, no restart."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.core.keys import Keyring
from service.core.tokens import Tokens
from service.sandbox.jobs import Knobs
from tests.e2e.stack import COMMAND, PATIENCE_SECONDS, Stack, installation
from tests.faults.disk import Disk, Seam, some_disk

pytestmark = [pytest.mark.slow, pytest.mark.sqlite("the disk under its file")]


@asynccontextmanager
async def on(disk: Disk, **settings: str) -> AsyncIterator[Stack]:
    """An installation whose database is on this disk; the service runs."""
    knobs = Knobs(job_seconds=0.3, unique_external_id=False)
    async with installation(disk.folder, knobs=knobs, settings=settings, run=disk.command(COMMAND)) as stack:
        await stack.start()
        yield stack


def callback_path(stack: Stack, disk: Disk, submission: str) -> str:
    """A push's address, as a provider would know it."""
    keys = Keyring([line.encode() for line in (disk.here / "taskrelay.secret").read_text().split()])
    [[installation_id]] = disk.ask("SELECT id FROM installation")
    return f"/callbacks/cloudsway/{Tokens(keys, str(installation_id)).callback('cloudsway', submission)}"


def refused(reply: httpx.Response) -> None:
    """503 with a time to come back, in the form of all problems, and nothing of what happened inside."""
    assert (reply.status_code, reply.headers["content-type"]) == (503, "application/problem+json")
    assert int(reply.headers["retry-after"]) >= 1 and reply.json()["code"] == "unavailable"
    assert not any(word in reply.text.lower() for word in ("sqlite", "traceback", ".db", "/tmp"))


async def eventually(what: str, holds: Callable[[], Awaitable[bool]], stack: Stack) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await holds():  # noqa: ASYNC110 (another process rings nobody)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what}\n{(stack.folder / 'service.log').read_text()[-4000:]}") from None


async def ended(client: httpx.AsyncClient, ids: set[str]) -> bool:
    tasks = [(await client.get(f"/v1/tasks/{task_id}")).json() for task_id in ids]
    return all(task["status"] == "succeeded" for task in tasks)


def bought(stack: Stack) -> int:
    return sum(sum(counted.values()) for counted in stack.world.accepted.values())


def creates(stack: Stack) -> int:
    """Requests to buy that reached the provider, accepted or not."""
    return sum(one.kind == "create" for one in stack.world.requests)


def answered(stack: Stack) -> int:
    """Of them, those with an answer."""
    return sum(one.kind == "create" and one.status is not None for one in stack.world.requests)


async def until_full(client: httpx.AsyncClient, disk: Disk, path: str, body: dict[str, Any]) -> list[str]:
    """Ask until there is no room, and a little longer. What was taken meanwhile fitted: its ids."""
    taken: list[str] = []
    refusals = 0
    for number in itertools.count():
        disk.fill()  # others write too: what SQLite sets free is gone
        reply = await client.post(path, json={**body, **({"n": number} if "/callbacks/" in path else {})})
        if reply.status_code in (201, 202):
            taken.append(reply.json().get("id", ""))
            continue
        refused(reply)
        refusals += 1
        if refusals == 5:
            break
    return taken


def intact(disk: Disk) -> None:
    assert disk.ask("PRAGMA integrity_check") == [["ok"]]
    assert (
        disk.ask(
            "SELECT id FROM tasks WHERE provider_task_id IS NOT NULL AND id NOT IN (SELECT task_id FROM submissions)"
        )
        == []
    )


async def story(disk: Disk) -> None:
    """What a full disk must and must not do, from before to after."""
    async with on(disk) as stack, stack.client() as client:
        await stack.subscribe()
        order = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}
        acked = {(await client.post("/v1/tasks", json=order)).json()["id"]}
        await eventually("the first end", lambda: ended(client, acked), stack)

        # A purchase is under way when the disk fills: its answer must wait in memory.
        slow = {**order, "input": {"prompt": "A slow boat [sandbox: late-reply=4]"}}
        under_way = (await client.post("/v1/tasks", json=slow)).json()["id"]
        acked.add(under_way)
        await stack.until(lambda: creates(stack) == 2, "the purchase under way")
        disk.fill()
        acked |= set(await until_full(client, disk, "/v1/tasks", order))
        await stack.until(lambda: answered(stack) == 2, "its answer")
        push = callback_path(stack, disk, "sub_00000000000000000000000000")
        pushed = len(await until_full(client, disk, push, {"status": "succeed"}))
        await until_full(client, disk, "/v1/endpoints", {"url": f"{stack.receiver.url}/more"})
        ready = await client.get("/readyz")
        refused(ready)
        assert "disk" in ready.json()["detail"]
        assert (await client.get("/livez")).status_code == 200
        assert {task["id"] for task in (await client.get("/v1/tasks?limit=200")).json()["data"]} == acked
        if isinstance(disk, Seam):  # where nothing at all fits
            assert (await client.get(f"/v1/tasks/{under_way}")).json()["status"] == "submitting"
            assert creates(stack) == 2, "something was bought whose intent could not be stored"

        pid = stack.process.pid if stack.process is not None else 0
        disk.free()

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await eventually("ready again", is_ready, stack)
        reply = await client.post("/v1/tasks", json=order)
        assert reply.status_code == 202
        acked.add(reply.json()["id"])
        assert (await client.post(push, json={"last": "one"})).status_code == 202
        await eventually("every end", lambda: ended(client, acked), stack)
        await stack.until(
            lambda: len({one.webhook_id for one in stack.subscriber.received}) == len(acked), "every event"
        )
        assert all(one.valid for one in stack.subscriber.received if one.path == "/hook")
        assert stack.process is not None and (stack.process.pid, stack.process.returncode) == (pid, None)
        assert bought(stack) == creates(stack) == len(acked), "bought once each"
        assert disk.ask("SELECT count(*) FROM callbacks") == [[pushed + 1]]
        intact(disk)


@pytest.mark.timeout(600)
async def test_a_full_disk_refuses_keeps_and_mends(tmp_path: Path) -> None:
    with some_disk(tmp_path) as disk:
        await story(disk)
