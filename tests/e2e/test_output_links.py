"""An `output_url` of an old event, with real processes: it plays after the provider's own link has expired, and says 410 once the
provider has deleted the output. Every contract, and every way in which its pushes are taken.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.sandbox.jobs import Job, Knobs
from tests.e2e.stack import PATIENCE_SECONDS, Stack, installation
from tests.e2e.test_contracts import CONTRACTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # more than its own patience

LINK_SECONDS = 6
GONE_WITHIN_SECONDS = 300  # three answers over a minute, and a machine that is busy
ACCOUNTS = {f"{name}_{mode}": (name, mode) for name in CONTRACTS for mode in ("verify", "trust", "off")}


def settings(url: str) -> dict[str, str]:
    told: dict[str, str] = {}
    for account, (name, mode) in ACCOUNTS.items():
        own = {
            "PROVIDER": CONTRACTS[name].provider,
            "BASE_URL": url,
            "API_KEY": account,
            "EXPECTED_SECONDS": "1",
            "RATE": "100/s",
            "ENABLED": "true",
            "CALLBACKS": mode,
            **({"ENDPOINT_PATH": "sandbox"} if name == "cloudsway" else {}),
        }
        told |= {f"TASKRELAY_ACCOUNTS__{account.upper()}__{field}": value for field, value in own.items()}
    return told


async def bought(stack: Stack) -> dict[str, dict[str, Any]]:
    """Account → the body of the event that told of its task's success."""
    for account, (name, _) in ACCOUNTS.items():
        prompt = f"A boat of {account} [sandbox: link-seconds={LINK_SECONDS}]"
        reply = await stack.create(
            provider=None, account=account, model=CONTRACTS[name].model, input={"prompt": prompt}
        )
        assert reply.status_code == 202, reply.text
    await stack.until(lambda: len(stack.subscriber.received) >= len(ACCOUNTS), "an event of each")
    bodies = [json.loads(one.body) for one in stack.subscriber.received]
    assert {body["type"] for body in bodies} == {"task.succeeded"}
    return {body["data"]["account"]: body for body in bodies}


async def plays(anybody: httpx.AsyncClient, url: str) -> str:
    """Follow our link to the film; returns where the provider has it."""
    answer = await anybody.get(url)
    assert answer.status_code == 302, answer.text
    film = await anybody.get(answer.headers["location"])
    assert (film.status_code, film.headers["content-type"]) == (200, "video/mp4"), film.text
    location: str = answer.headers["location"]
    return location


async def dies(anybody: httpx.AsyncClient, location: str) -> None:
    """Until the provider's own link is refused."""
    async with asyncio.timeout(LINK_SECONDS + PATIENCE_SECONDS):
        while (await anybody.get(location)).status_code == 200:  # noqa: ASYNC110 (a link that dies rings nobody)
            await asyncio.sleep(0.2)


async def gone(anybody: httpx.AsyncClient, url: str) -> None:
    """Come back when told to, until it is settled."""
    async with asyncio.timeout(GONE_WITHIN_SECONDS):
        while (answer := await anybody.get(url)).status_code == 503:
            assert answer.json()["code"] == "output_unavailable"
            await asyncio.sleep(int(answer.headers["retry-after"]))
    assert (answer.status_code, answer.json()["code"]) == (410, "output_gone")


async def test_an_old_events_link_plays_after_expiry_and_is_gone_after_the_purge(tmp_path: Path) -> None:
    async with installation(tmp_path, knobs=Knobs(job_seconds=0.5)) as stack, httpx.AsyncClient(timeout=30) as anybody:
        stack.world.knobs.output_base = f"{stack.provider.url}/_sandbox/outputs"
        stack.extra = settings(stack.provider.url)
        await stack.start()
        await stack.subscribe()
        events = await bought(stack)
        links = [body["data"]["output_url"] for body in events.values()]
        assert all(body["data"]["outputs"][0]["expires_at"] for body in events.values())

        first = [body["data"]["outputs"][0]["url"] for body in events.values()]
        await asyncio.gather(*(dies(anybody, one) for one in first))
        second = await asyncio.gather(*(plays(anybody, link) for link in links))
        assert not set(first) & set(second)

        await asyncio.gather(*(dies(anybody, one) for one in second))
        jobs: list[Job] = list(stack.world.jobs.values())
        for number, job in enumerate(jobs):
            stack.world.purge(job.id, keep_record=number % 2 == 0)
        await asyncio.gather(*(gone(anybody, link) for link in links))

        asked = sum(job.queried for job in jobs)
        assert [(await anybody.head(link)).status_code for link in links] == [410] * len(links)
        assert sum(job.queried for job in jobs) == asked, "what is gone is not asked for again"
        assert len(stack.subscriber.received) == len(ACCOUNTS), "no event tells of links"
        replayed = await stack.command("db", "replay", "--json")
        assert replayed["differences"] == [], replayed
