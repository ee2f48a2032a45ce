"""Scenarios of purchases of unknown fate that a person settles, or a policy that somebody set before."""

from __future__ import annotations

from service.core.observation import Claim, Source
from storage.records import OnAmbiguous, Task, TaskStatus
from tests.histories.bench import HOUR, MINUTE, Bench

S = TaskStatus


async def unsure(bench: Bench, orders: str = "lost-reply", **more: object) -> Task:
    task = await bench.order("ulazai", orders, **more)  # type: ignore[arg-type]
    await bench.settle()
    return await bench.is_now(task, S.UNCONFIRMED)


async def adopted(bench: Bench) -> Task:
    """A person names the job; the provider shows it, and it goes on as any other."""
    task = await unsure(bench)
    bench.clock.advance(MINUTE)
    await bench.tell(task, Claim.ADOPT, provider_task_id=bench.only().id)
    await bench.settle()
    bench.begin()
    await bench.stretch(2 * MINUTE)
    bench.finish()
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def adopted_by_mistake(bench: Bench) -> Task:
    """T18: a person names a job that the provider does not know; it is taken off again."""
    task = await unsure(bench)
    await bench.tell(task, Claim.ADOPT, provider_task_id="a-slip-of-the-pen")
    await bench.stretch(20 * MINUTE)
    return await bench.is_now(task, S.UNCONFIRMED)


async def adopted_after_the_end(bench: Bench) -> Task:
    """It expired unconfirmed; then a person finds its job."""
    task = await unsure(bench, deadline_seconds=HOUR)
    await bench.stretch(2 * HOUR)
    await bench.is_now(task, S.EXPIRED)
    bench.finish()
    await bench.tell(task, Claim.ADOPT, provider_task_id=bench.only().id)
    await bench.stretch(10 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def abandoned(bench: Bench) -> Task:
    """T8: given up by a person; it may still be charged."""
    task = await unsure(bench)
    bench.clock.advance(MINUTE)
    await bench.tell(task, Claim.ABANDON)
    return await bench.is_now(task, S.FAILED)


async def resubmitted(bench: Bench) -> Task:
    """T7 by a person who accepts a possible second charge."""
    task = await unsure(bench, "close")
    bench.clock.advance(5 * MINUTE)
    await bench.tell(task, Claim.RESUBMIT)
    bench.world.script.creates.clear()
    await bench.stretch(MINUTE)
    return await bench.now(task)


async def resubmitted_by_policy(bench: Bench) -> Task:
    """T7 by the policy of the project: once, after the settle window; then it is held."""
    bench.account("ulazai")
    bench.script(creates="close")
    task = await bench.order("ulazai", on_ambiguous=OnAmbiguous.RESUBMIT)
    await bench.stretch(10 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def orders_in_vain(bench: Bench) -> Task:
    """Nobody can adopt, resubmit or abandon what is not in doubt."""
    task = await bench.order()
    await bench.settle()
    for claim in (Claim.ABANDON, Claim.RESUBMIT):
        await bench.tell(task, claim)
    await bench.tell(task, Claim.ADOPT, provider_task_id="another")
    bench.finish()
    await bench.heard()
    return await bench.is_now(task, S.SUCCEEDED)


async def surplus_after_a_resubmission(bench: Bench) -> Task:
    """Sent once more with permission, and both had arrived: the second job is on the bill, and told."""
    task = await unsure(bench)
    bench.clock.advance(5 * MINUTE)
    await bench.tell(task, Claim.RESUBMIT)
    submission = await bench.intend(task)
    await bench.hear(task, Claim.ACCEPTED, Source.SUBMIT, job="411", submission=submission)
    await bench.hear(task, Claim.RUNNING, Source.LOOK_UP, job="412", external_id=task.id)
    return await bench.is_now(task, S.PROCESSING)
