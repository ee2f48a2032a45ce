"""The clients: they order, ask again when they heard nothing, cancel, settle what is unconfirmed, and pry at others' tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from tests.simulation.asgi import Answer
from tests.simulation.faults import Order
from tests.simulation.machine import Down
from tests.simulation.subscribers import Party

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class Customers:
    """Everybody who orders."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.draw = sim.dice("customers")

    async def ask(self, project: str, method: str, path: str, body: object = None, *, seconds: float = 20.0) -> Answer:
        """One request to whichever replica listens. Raises `Down` or TimeoutError."""
        sim = self.sim
        await asyncio.sleep(sim.network.leg())
        headers = {"authorization": f"Bearer {sim.keys_of[project]}", "content-type": "application/json"}
        answer = await sim.any_machine().ask(
            method, path, headers=headers, body=b"" if body is None else orjson.dumps(body), seconds=seconds
        )
        if answer.status >= 500 and answer.status != 503:
            sim.oracle.broken("API", f"{method} {path} answered {answer.status}: {answer.body[:300]!r}")
        await asyncio.sleep(sim.network.leg())
        if sim.stormy and self.draw.random() < sim.weather.client_lost:
            raise Down("the answer got lost")
        return answer

    async def subscribe(self) -> None:
        """Before anything else: the endpoints."""
        sim = self.sim
        for one in sim.plan.endpoints:
            url = f"https://subscriber-{one['number']}.example/hook"
            body: dict[str, Any] = {"url": url}
            for name in ("events", "max_in_flight"):
                if one[name] is not None:
                    body[name] = one[name]
            answer = await self.ask(one["project"], "POST", "/v1/endpoints", body)
            made = orjson.loads(answer.body)
            sim.secrets.append(made["secret"])
            sim.subscribers.add(
                Party(url=url, project=one["project"], secret=made["secret"], temper=one["temper"], endpoint=made["id"])
            )
        for project in sim.keys_of:
            answer = await self.ask(project, "GET", "/v1/projects/current/secret")
            sim.project_secrets[project] = orjson.loads(answer.body)["secret"]
            sim.secrets.append(sim.project_secrets[project])
            if sim.plan.policies.get(project) == "resubmit":
                wish = {"on_ambiguous": "resubmit", "possible_double_charge": True}
                await self.ask(project, "PATCH", "/v1/projects/current", wish)

    async def order(self, order: Order) -> None:
        """One customer with one task."""
        sim = self.sim
        await asyncio.sleep(max(order.at - sim.storm_time(), 0.0))
        body = self._body(order)
        task_id = await self._create(order, body)
        if task_id is None:
            return
        sim.oracle.acknowledged(order, task_id)
        if order.cancel_after is not None:
            await asyncio.sleep(order.cancel_after)
            await self._try(order.project, "POST", f"/v1/tasks/{task_id}/cancel")
        await self._pry(order, task_id)
        if order.settle is not None:
            await self._settle(order, task_id)

    def _body(self, order: Order) -> dict[str, Any]:
        body: dict[str, Any] = {
            "provider": order.contract,
            "model": order.model,
            "input": {"prompt": order.prompt, "duration": 5, "aspect_ratio": "16:9"},
            "deadline_seconds": order.deadline,
            "metadata": {"order": str(order.number)},
        }
        if order.reference:
            body["reference"] = f"order-{order.number}"
        if order.fallbacks:
            body["fallbacks"] = [{"provider": name, "model": model} for name, model in order.fallbacks]
        if order.webhook:
            url = f"https://hooks-{order.project}.example/task/{order.number}"
            body["webhook_url"] = url
            secret = self.sim.project_secrets[order.project]
            self.sim.subscribers.add(Party(url=url, project=order.project, secret=secret))
        return body

    async def _create(self, order: Order, body: dict[str, Any]) -> str | None:
        """Until it is taken. Without a reference an answer that got lost ends it: a second order might be a second task."""
        sim = self.sim
        while True:
            try:
                answer = await self.ask(order.project, "POST", "/v1/tasks", body)
            except (Down, TimeoutError) as error:
                if not order.reference and str(error) != "refused":
                    sim.note("customer", str(order.number), "never heard")
                    return None
            else:
                told = orjson.loads(answer.body)
                if answer.status in (200, 202):
                    sim.note("customer", str(order.number), "accepted")
                    return str(told["id"])
                if answer.status == 409 and told.get("code") == "reference_taken":
                    return str(told["existing"]["id"] if isinstance(told["existing"], dict) else told["existing"])
                if answer.status not in (429, 503):
                    sim.oracle.broken(
                        "API", f"order {order.number} was answered {answer.status}: {answer.body[:300]!r}"
                    )
                    return None
                if answer.status == 503 and not order.reference:
                    return None  # it may have been stored all the same
            await asyncio.sleep(1.0 + 5.0 * self.draw.random())

    async def _try(self, project: str, method: str, path: str, body: object = None) -> Answer | None:
        try:
            return await self.ask(project, method, path, body)
        except (Down, TimeoutError):
            return None

    async def _pry(self, order: Order, task_id: str) -> None:
        """I9: another project's task does not exist."""
        other = next(name for name in self.sim.keys_of if name != order.project)
        answer = await self._try(other, "GET", f"/v1/tasks/{task_id}")
        if answer is not None and answer.status not in (404, 503):
            self.sim.oracle.broken("I9", f"{other} read {task_id} of {order.project}: {answer.status}")
        answer = await self._try(other, "POST", f"/v1/tasks/{task_id}/cancel")
        if answer is not None and answer.status not in (404, 503):
            self.sim.oracle.broken("I9", f"{other} canceled {task_id} of {order.project}: {answer.status}")

    async def _settle(self, order: Order, task_id: str) -> None:
        """What a person does who finds it unconfirmed."""
        sim = self.sim
        await asyncio.sleep(order.settle_after)
        if sim.oracle.status_of(task_id) != "unconfirmed":
            return
        action: dict[str, Any] = {"action": order.settle}
        if order.settle == "adopt":
            jobs = sim.provider.jobs_of(order.prompt)
            if not jobs:
                return
            action["provider_task_id"] = jobs[0].id
        elif order.settle == "resubmit":
            action["possible_double_charge"] = True
            # Counted before it is asked: the answer may get lost, and the permission was given all the same.
            sim.oracle.may_buy_again(order)
        answer = await self._try(order.project, "POST", f"/v1/tasks/{task_id}/resolve", action)
        sim.note("customer", str(order.number), f"{order.settle} {answer.status if answer else 'unheard'}")
