"""The providers: the sandbox with all its contracts, on virtual time, and what happens to it in a seed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from service.net.guard import Target
from service.providers.base import Ask
from service.sandbox.app import create_app
from service.sandbox.jobs import Job, Knobs
from service.sandbox.rules import Scope
from service.sandbox.script import Step
from service.sandbox.world import World
from tests.simulation.asgi import Answer
from tests.simulation.faults import CONTRACTS
from tests.simulation.network import Courier, ask_app, contract_of

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

NOTHING_YET = Answer(200, {}, b'{"code":0,"message":"SUCCEED","data":[],"request_id":"r"}')


class Provider:
    """Every contract's server."""

    def __init__(self, sim: Simulation) -> None:
        plan = sim.plan
        self.sim = sim
        knobs = Knobs(
            unique_external_id=plan.unique, job_seconds=plan.job_seconds, push_retries=plan.push_retries, credits=10**9
        )
        self.world = World(knobs, clock=sim.unix, sleep=asyncio.sleep, postman=Courier(sim))
        self.app = create_app(self.world)
        self.refused_twice: set[str] = set()  # external ids whose second create was turned down

    async def answer(self, ask: Ask, target: Target, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """What the server says; None: it hung up."""
        if not ask.paid and self.sim.plan.index_lag and (wanted := self._looked_up(target)):
            youngest = max((job.accepted_at for job in wanted), default=0.0)
            if youngest > self.sim.unix() - self.sim.plan.index_lag:
                return NOTHING_YET
        before = len(self.world.jobs)
        answer = await ask_app(self.app, ask, target, headers, body)
        if ask.paid:
            made = len(self.world.jobs) - before
            self.sim.note("provider", contract_of(target.host), f"{answer.status if answer else '-'} jobs={made}")
            if answer is not None and answer.status == 400 and b"1201" in answer.body:
                self.refused_twice |= {job.external_id or "" for job in self.world.jobs.values()} & _ids_in(body)
        return answer

    def _looked_up(self, target: Target) -> list[Job]:
        named = parse_qs(target.path.partition("?")[2]).get("external_task_ids", [])
        known = self.world.by_external_id
        return [job for name in named for job in known.get(("cloudsway", name), [])]

    def jobs_of(self, prompt: str) -> list[Job]:
        return [job for job in self.world.jobs.values() if job.prompt == prompt]

    def stop_paying(self, contract: str, *, broke: bool) -> None:
        self.world.book.change(Scope(contract), {"credits": 0 if broke else None})

    def refuse_next(self, contract: str) -> None:
        self.world.script.creates.append(Step(directive="refuse", contract=contract))

    def contradict(self, draw_index: int) -> None:
        """One job that has ended says the opposite now."""
        ended = [job for job in self.world.jobs.values() if job.phase.ended]
        if ended:
            job = ended[draw_index % len(ended)]
            self.world.finish(job.id, failed=job.word == job.contract.words[job.phase] and job.phase.value != "failed")
            self.sim.note("provider", job.contract.name, "contradicts itself")
            self.sim.contradicted.add(job.prompt)

    @staticmethod
    def every() -> tuple[str, ...]:
        return CONTRACTS


def _ids_in(body: bytes) -> set[str]:
    return set(re.findall(r"task_[0-9A-Z]{26}", body.decode(errors="replace")))
