"""Plays the demo with kills: orders come in a steady stream while the service is killed -9 and started again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from service.cli.demo.ledger import Ledger, Order
from service.cli.demo.play import HERE, settings_for
from service.cli.demo.scenes import Scene, body_of
from service.cli.demo.stage import Child, Stage, StageError, free_port, run_once, until_ready

if TYPE_CHECKING:
    import httpx

KILLS = TASKS = 20
LIFE_SECONDS = 0.7  # at most, once it serves
STARTING_SECONDS = 0.6  # at most, of a life that is ended while it starts
STARTING = 0.2  # so many of the lives
LOOK_SECONDS, RETRY_SECONDS = 0.2, 0.05
# After that no purchase of a dead process can still be under way: what its provider does not list was not bought.
SURE_SECONDS = 4.0
AUDITS = 20
CANNOT_BE_ASKED = ("ulazai",)
SHORT = {
    "TASKRELAY_UNSAFE_TIMING": "1",
    "TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": "2",
    "TASKRELAY_TIMING__SETTLE_SECONDS": "2",
    "TASKRELAY_ACCOUNTS__ULAZAI__EXPECTED_SECONDS": "1",
}
SCOPES = "tasks,endpoints,read,admin"


def orders_of(scenes: Sequence[Scene], *, stuck: bool) -> list[Order]:
    """The scenes in turns, each time with a prompt of its own, by which the sandbox's jobs are told apart."""
    found = []
    for number in range(1, TASKS + 1):
        scene = scenes[(number - 1) % len(scenes)]
        orders = scene.orders.replace("seconds=3", "seconds=1") + (", stuck" if stuck else "")
        found.append(Order(number=number, scene=replace(scene, number=number, orders=orders)))
    return found


class Killing:
    """One run. `tell` is called whenever something changed."""

    def __init__(self, stage: Stage, client: httpx.AsyncClient, ledger: Ledger, tell: Callable[[], None]) -> None:
        self._stage, self._client, self.ledger, self._tell = stage, client, ledger, tell
        self._rng = random.Random(ledger.seed)
        self._port = free_port()
        self.url = f"http://{HERE}:{self._port}"
        self._settings: dict[str, str] = {}
        self._sandbox = self._subscriber = ""
        self._headers: dict[str, str] = {}
        self._killed_at: float | None = None

    async def run(self, within: float) -> None:
        """All of it. Raises `StageError`; what is known until then is in the ledger."""
        await self._bring_up()
        running = await self._live()
        await self._subscribe()
        placing: list[asyncio.Task[None]] = []
        waiting = iter(self.ledger.orders)
        try:
            while self.ledger.kills < KILLS:
                placing += [asyncio.create_task(self._place(order)) for order in islice(waiting, 1)]
                await asyncio.sleep(self._rng.uniform(0, LIFE_SECONDS))
                await self._kill(running)
                running = await self._next_life()
                await self._hear()
            placing += [asyncio.create_task(self._place(order)) for order in waiting]
            with suppress(TimeoutError):  # the ledger says what is missing
                async with asyncio.timeout(within):
                    await self._until_told()
        finally:  # before the client is closed that they ask with
            for one in placing:
                one.cancel()
            await asyncio.gather(*placing, return_exceptions=True)
        await self._gather()

    async def _bring_up(self) -> None:
        port = free_port()
        self._settings = settings_for(f"http://{HERE}:{port}", self.url) | SHORT
        made = ["keys", "create", "--name", "demo", "--scope", SCOPES, "--json"]
        sandbox, subscriber, key = await asyncio.gather(
            self._stage.start("sandbox", ["sandbox", "--port", str(port), "--json"]),
            self._stage.start("subscriber", ["subscriber", "--port", "0", "--json"]),
            run_once(self._stage.folder, made, self._settings),
        )
        self._sandbox, self._subscriber = sandbox.url, subscriber.url
        self._headers = {"authorization": f"Bearer {key['key']}"}
        # Else the sandbox refuses an id it knows, and a second purchase would not be seen.
        knobs = await self._client.patch(f"{sandbox.url}/_sandbox/knobs", json={"unique_external_id": False})
        knobs.raise_for_status()

    async def _subscribe(self) -> None:
        made = await self._client.post(
            f"{self.url}/v1/endpoints", json={"url": f"{self._subscriber}/events"}, headers=self._headers
        )
        secret = made.raise_for_status().json()["secret"]
        (await self._client.put(f"{self._subscriber}/_secret", json={"secret": secret})).raise_for_status()

    # The service, life after life

    async def _spawn(self) -> Child:
        return await self._stage.spawn(
            "taskrelay", ["serve", "--host", HERE, "--port", str(self._port), "--json"], self._settings
        )

    async def _live(self) -> Child:
        child = await self._spawn()
        await until_ready(child)
        if self._killed_at is not None:
            self.ledger.recoveries.append(time.monotonic() - self._killed_at)
        return child

    async def _next_life(self) -> Child:
        """The next one that serves; now and then one dies on the way to it."""
        while self.ledger.kills < KILLS and self._rng.random() < STARTING:
            child = await self._spawn()
            await asyncio.sleep(self._rng.uniform(0.05, STARTING_SECONDS))
            self.ledger.killed_starting += not child.ready.done()
            await self._kill(child, again=True)
        return await self._live()

    async def _kill(self, child: Child, *, again: bool = False) -> None:
        if child.running.returncode is not None:
            raise StageError(f"taskrelay ended by itself with code {child.running.returncode}")
        await self._stage.kill(child)
        self.ledger.kills += 1
        if not again:  # nobody was served in between, so that recovery goes on
            self._killed_at = time.monotonic()
        self._tell()

    # The orders

    async def _place(self, order: Order) -> None:
        """Ask until it is acknowledged, always under the same reference: then a lost answer costs nothing."""
        import httpx

        await asyncio.sleep(self._rng.uniform(0, LIFE_SECONDS))
        scene = order.scene
        wanted: dict[str, Any] = {"provider": scene.provider, "model": scene.model, "reference": order.reference}
        wanted["input"] = {"prompt": scene.prompt, "duration": 5}
        while order.id is None:
            order.tries += 1
            with suppress(httpx.HTTPError):
                reply = await self._client.post(f"{self.url}/v1/tasks", json=wanted, headers=self._headers)
                order.id = _acknowledged(reply)
            await asyncio.sleep(RETRY_SECONDS)
        self._tell()

    async def _until_told(self) -> None:
        """Until every order has ended and the subscriber knows; meanwhile a person settles what is in doubt."""
        began = time.monotonic()
        while True:
            await self._read()
            if all(order.ended and order.ends_received for order in self.ledger.orders):
                return
            if time.monotonic() - began > SURE_SECONDS:
                for order in self.ledger.orders:
                    if order.task.get("status") == "unconfirmed" and order.scene.provider in CANNOT_BE_ASKED:
                        await self._settle(order)
            if (gone := self._stage.ended()) is not None:
                raise StageError(f"{gone.name} went away with code {gone.running.returncode}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _settle(self, order: Order) -> None:
        """What an operator does: look at the provider's dashboard, here the sandbox's ledger, and say what is there."""
        word: dict[str, Any] = {"action": "resubmit", "possible_double_charge": True}
        if order.jobs:
            word = {"action": "adopt", "provider_task_id": order.jobs[0]["id"]}
        path = f"{self.url}/v1/tasks/{order.id}/resolve"
        reply = await self._client.post(path, json=word, headers=self._headers)
        if reply.is_success:
            order.held = "adopted" if order.jobs else "bought after all"

    # What everybody knows

    async def _read(self) -> None:
        ledger = await self._get(f"{self._sandbox}/_sandbox/ledger")
        received = await self._hear()
        for order in self.ledger.orders:
            order.jobs = [job for job in ledger["jobs"] if job["prompt"] == order.scene.prompt]
            if order.id is not None and not order.ended:
                order.task = await self._get(f"{self.url}/v1/tasks/{order.id}")
        known = {order.scene.prompt for order in self.ledger.orders}
        ours = {order.id for order in self.ledger.orders}
        self.ledger.strangers = [
            f"{job['id']}: bought for nobody" for job in ledger["jobs"] if job["prompt"] not in known
        ]
        self.ledger.strangers += [
            f"{event['webhook_id']}: told of no order of ours"
            for event in received
            if body_of(event)["data"].get("id") not in ours
        ]
        last = max((event["received_at"] for event in received), default=None)
        if last is not None and self._killed_at is not None:
            self.ledger.settled_seconds = max(0.0, last - (time.time() - (time.monotonic() - self._killed_at)))
        self._tell()

    async def _hear(self) -> list[dict[str, Any]]:
        """All that the subscriber received, with each order's own noted."""
        received: list[dict[str, Any]] = await self._get(f"{self._subscriber}/_received")
        for order in self.ledger.orders:
            if order.id is not None:
                order.received = [event for event in received if body_of(event)["data"].get("id") == order.id]
        return received

    async def _gather(self) -> None:
        """The last word: the timelines, and taskrelay's own audit by its own command."""
        await self._read()
        for order in self.ledger.orders:
            if order.id is not None:
                order.timeline = await self._get(f"{self.url}/v1/tasks/{order.id}/timeline")
        key = self._headers["authorization"].removeprefix("Bearer ")
        reach = {"TASKRELAY_URL": self.url, "TASKRELAY_KEY": key}
        for _ in range(AUDITS):
            self.ledger.audit = await run_once(self._stage.folder, ["audit", "--json"], reach, fine=(0, 1))
            if not self.ledger.audit["counts"]["pending"]:  # a delivery is settled a moment after it was answered
                break

    async def _get(self, url: str) -> Any:
        headers = self._headers if url.startswith(self.url) else {}
        return (await self._client.get(url, headers=headers)).raise_for_status().json()


def _acknowledged(reply: httpx.Response) -> str | None:
    """The task's id, if this says that it is kept. Raises `StageError` for a refusal that asking again does not change."""
    if reply.status_code == 202:
        return str(reply.json()["id"])
    if reply.status_code == 409 and reply.json().get("code") == "reference_taken":
        return str(reply.json()["existing"])
    if reply.status_code in (429, 503):
        return None
    raise StageError(f"/v1/tasks answered {reply.status_code}: {reply.text[:300]}")
