"""The three integrations, as their pages write them and against `taskrelay dev`: a back end, a subscriber in Express, a Zap."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli.demo.stage import free_port
from service.sandbox.serve import serve
from service.sandbox.subscriber import Subscriber
from tests.docs import pages
from tests.docs.receiving import RECEIVERS
from tests.e2e.stack import COMMAND, PATIENCE_SECONDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.sqlite("`taskrelay dev` keeps its tasks in a file"),
]


@dataclass(frozen=True)
class Dev:
    """A `taskrelay dev` that is up, and a subscriber beside it."""

    url: str
    sandbox: str
    key: str
    secret: str
    subscriber: Subscriber
    hook: str

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=40)

    async def jobs(self) -> int:
        """How many were bought, by the provider's own count."""
        async with httpx.AsyncClient(base_url=self.sandbox) as client:
            return len((await client.get("/_sandbox/jobs")).json())


@asynccontextmanager
async def developing(folder: Path, port: int | None = None) -> AsyncIterator[Dev]:
    """`taskrelay dev`, as a program starts it."""
    ports = ["--port", str(port or free_port()), "--sandbox-port", str(free_port())]
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("dev", "--json", "--job-seconds", "0.5", "--folder", str(folder / "dev"), *ports),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    subscriber = Subscriber()
    try:
        async with await serve(subscriber) as receiver:
            assert process.stdout is not None
            async with asyncio.timeout(PATIENCE_SECONDS):
                facts = json.loads(await process.stdout.readline())
            secret = facts["webhook_secret"]
            yield Dev(facts["url"], facts["sandbox"], facts["key"], secret, subscriber, f"{receiver.url}/hooks/1")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def order(folder: Path, url: str, key: str, order_id: str) -> str:
    """What the back end of the page says the order's task is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import order; print(order.order_video({order_id!r}, 'A paper boat drifts down a gutter'))",
        cwd=folder,
        env={**os.environ, "TASKRELAY_URL": url, "TASKRELAY_KEY": key, "PYTHONPATH": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().strip()


async def test_a_back_end_orders_once_however_often_it_asks(tmp_path: Path) -> None:
    (tmp_path / "order.py").write_text(pages.program("docs/back-end.md", "order.py"), encoding="utf-8")
    port = free_port()
    async with developing(tmp_path, port) as dev:
        key = dev.key
        first = await order(tmp_path, dev.url, key, "order-1")
        async with dev.client() as client:
            assert (await client.get(f"/v1/tasks/{first}", params={"wait": 30})).json()["status"] == "succeeded"
    early = asyncio.create_task(
        order(tmp_path, f"http://127.0.0.1:{port}", key, "order-1")
    )  # nobody listens: it tries again
    async with developing(tmp_path, port) as dev:
        again, other = await asyncio.gather(early, order(tmp_path, dev.url, key, "order-2"))
        assert (again, other != first) == (first, True)
        async with dev.client() as client:
            task = (await client.get(f"/v1/tasks/{other}", params={"wait": 30})).json()
        assert (task["status"], task["reference"], await dev.jobs()) == ("succeeded", "order-2", 1)  # of this sandbox


async def test_a_subscriber_in_express_hears_of_each_end_once(tmp_path: Path) -> None:
    [express] = [one for one in RECEIVERS if one.name == "express"]
    (tmp_path / "receiver").mkdir()
    async with (
        developing(tmp_path) as dev,
        express.running(tmp_path / "receiver", dev.secret) as receiver,
        dev.client() as client,
    ):
        made = await client.post("/v1/endpoints", json={"url": receiver.url, "secret": dev.secret})
        assert made.status_code == 201, made.text
        body = {
            "provider": "cloudsway",
            "model": "kling-3.0-turbo",
            "input": {"prompt": "A boat"},
            "reference": "order-1",
        }
        bad = {**body, "input": {"prompt": "A boat [sandbox: fail]"}, "reference": "order-2"}
        for task in ({**body, "webhook_url": receiver.url}, bad):  # of the first it is told twice
            assert (await client.post("/v1/tasks", json=task)).status_code == 202
        await settled(client, 3)
    assert sorted(line.split()[:2] for line in receiver.said) == [["deliver", "order-1"], ["refund", "order-2"]]


async def settled(client: httpx.AsyncClient, count: int) -> None:
    """Wait until so many deliveries have arrived."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            owed = (await client.get("/v1/deliveries")).json()["data"]
            if [one["status"] for one in owed] == ["delivered"] * count:
                return
            await asyncio.sleep(0.05)


async def test_a_zap_connects_subscribes_hears_and_leaves(tmp_path: Path) -> None:
    page = "docs/no-code.md"
    async with developing(tmp_path) as dev, dev.client() as client:
        fields = {
            "bundle.targetUrl": dev.hook,
            "bundle.meta.zap.id": "1234",
            "bundle.subscribeData.id": "-",
            "bundle.inputData.order": "order-1",
            "bundle.inputData.prompt": "A paper boat",
        }
        connect, subscribe, _, samples, act = pages.requests(page, "Zapier", fields)
        told = [await answer(client, connect), await answer(client, subscribe)]
        shown = [json.loads(found[1]) for found in documented(page)]
        assert [set(one) for one in shown] == [set(one) for one in told]
        dev.subscriber.trust([told[1]["secret"]])
        [synthetic] = await answer(client, samples)
        task = await answer(client, act)
        assert (task["status"], task["metadata"]) == ("succeeded", {"from": "zapier"})
        async with asyncio.timeout(PATIENCE_SECONDS):
            await dev.subscriber.until(1)
        [real] = await answer(client, samples)
        assert keys(synthetic) - {"test"} >= keys(real) - {"data.metadata.from"} - input_keys(real)
        again = await client.request(act.method, act.path, content=act.body, headers=act.headers)
        assert (again.status_code, again.json()["existing"], await dev.jobs()) == (409, task["id"], 1)
        fields["bundle.subscribeData.id"] = told[1]["id"]
        unsubscribe = list(pages.requests(page, "Zapier", fields))[2]
        for _ in range(2):
            assert (await client.request(unsubscribe.method, unsubscribe.path)).status_code == 204
    [heard] = dev.subscriber.received
    assert heard.valid and json.loads(heard.body) == real


def documented(page: str) -> list[tuple[str, str]]:
    return [found for found in pages.FENCE.findall(pages.section(page, "Zapier")) if found[0] == "json"]


def keys(found: dict[str, Any], path: str = "") -> set[str]:
    """The fields that Zapier offers to map, whatever is in them."""
    return {
        name
        for key, value in found.items()
        for name in (keys(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}"})
    }


def input_keys(found: dict[str, Any]) -> set[str]:
    return {name for name in keys(found) if name.startswith("data.input.")}


async def answer(client: httpx.AsyncClient, one: pages.Written) -> Any:
    reply = await client.request(one.method, one.path, content=one.body or None, headers=one.headers)
    assert 200 <= reply.status_code < 300, f"{one.method} {one.path}: {reply.text}"
    return reply.json()
