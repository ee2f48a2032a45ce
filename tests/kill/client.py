"""A client that loses nothing: it tries until it has an answer, always under the same reference, and knows what was acknowledged."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import httpx

from tests.kill.plan import Kind, behaviour

AT_ONCE = 6
EVERY_SECONDS = 0.05
PAUSE_SECONDS = 0.03
NOT_TAKEN = "not taken"  # stands where the task's id would


@dataclass(slots=True, kw_only=True)
class Order:
    """One task as its client sees it. `id` None: nothing was acknowledged yet."""

    reference: str
    does: str
    tries: int = 0
    id: str | None = None


@dataclass(slots=True, kw_only=True)
class Client:
    """Orders tasks in a steady stream while it is told to. A life may end at any time."""

    kind: Kind
    url: str
    key: str
    seed: str
    orders: list[Order] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    every_seconds: float = EVERY_SECONDS  # on average
    pause_seconds: float = PAUSE_SECONDS
    urls: tuple[str, ...] = ()  # of several replicas: each try asks another one
    prefix: str = "order"  # of references: those of clients who share a project must differ
    pausing: bool = False
    calm: bool = False

    @property
    def acked(self) -> list[Order]:
        return [order for order in self.orders if order.id is not None]

    async def stream(self) -> None:
        """Order and order again; once it is calm, return as soon as everything is acknowledged."""
        rng = random.Random(f"{self.seed}/orders")
        running: set[asyncio.Task[None]] = set()
        limits = httpx.Limits(max_connections=AT_ONCE, keepalive_expiry=3)
        async with httpx.AsyncClient(
            base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=15, limits=limits
        ) as http:
            while running or not self.calm:
                if len(running) < AT_ONCE and not (self.pausing or self.calm):
                    running.add(asyncio.create_task(self._place(self._new(rng), http)))
                await asyncio.sleep(self.every_seconds * 2 * rng.random())
                for ended in [task for task in running if task.done()]:
                    running.discard(ended)
                    ended.result()

    def _new(self, rng: random.Random) -> Order:
        order = Order(reference=f"{self.prefix}-{len(self.orders)}", does=behaviour(self.kind, rng))
        self.orders.append(order)
        return order

    async def _place(self, order: Order, http: httpx.AsyncClient) -> None:
        while order.id is None:
            order.tries += 1
            # Each try is a prompt of its own: a reference is free again after a failure, and then the second try is a second task.
            prompt = f"A paper boat, {self.kind.name} {order.reference} try {order.tries}"
            body = {
                "provider": self.kind.name,
                "model": self.kind.model,
                "input": {"prompt": f"{prompt} [sandbox: {order.does}]" if order.does else prompt},
                "reference": order.reference,
            }
            try:
                reply = await http.post(f"{self._asked(order)}/v1/tasks", json=body)
            except httpx.HTTPError:
                await asyncio.sleep(self.pause_seconds)
                continue
            order.id = self._read(order, reply)
            if order.id is None:
                await asyncio.sleep(self.pause_seconds)

    def _asked(self, order: Order) -> str:
        return self.urls[(len(self.orders) + order.tries) % len(self.urls)] if self.urls else ""

    def _read(self, order: Order, reply: httpx.Response) -> str | None:
        """The task's id if this acknowledges one."""
        if reply.status_code == 202:
            return str(reply.json()["id"])
        if reply.status_code == 409 and reply.json().get("code") == "reference_taken":
            if order.tries == 1:
                self.bad.append(f"{order.reference} was taken at its first try: {reply.text}")
            return str(reply.json()["existing"])
        if reply.status_code not in (429, 503):
            self.bad.append(f"{order.reference} was answered {reply.status_code}: {reply.text[:300]}")
            return NOT_TAKEN
        return None
