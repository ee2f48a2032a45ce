"""Scenarios of pushes: early, twice, out of order, forged, of somebody else."""

from __future__ import annotations

from service.core.observation import Claim, Source
from service.pipeline.accounts import Callbacks
from storage.records import Task, TaskStatus
from tests.histories.bench import MINUTE, VIDEO, Bench

S = TaskStatus


async def before_the_reply(bench: Bench) -> Task:
    """C6: the push is there before the reply to the purchase."""
    task = await bench.order(orders="push-before-reply")
    await bench.settle()
    await bench.heard()
    bench.finish()
    await bench.heard()
    return await bench.is_now(task, S.SUCCEEDED)


async def binds_before_the_reply(bench: Bench) -> Task:
    """C6 where pushes are trusted: the push binds, the reply that follows says nothing new."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order()
    submission = await bench.intend(task)
    await bench.push(task, Claim.WAITING, provider_task_id="411", external_id=task.id)
    await bench.is_now(task, S.PROCESSING)
    await bench.hear(task, Claim.ACCEPTED, Source.SUBMIT, job="411", submission=submission)
    await bench.push(task, Claim.SUCCEEDED, provider_task_id="411", external_id=task.id, outputs=VIDEO)
    return await bench.is_now(task, S.SUCCEEDED)


async def reply_names_another(bench: Bench) -> Task:
    """C10: the reply names another job than the push did: one was bought too many."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order()
    submission = await bench.intend(task)
    await bench.push(task, Claim.RUNNING, provider_task_id="411", external_id=task.id)
    await bench.hear(task, Claim.ACCEPTED, Source.SUBMIT, job="412", submission=submission)
    return await bench.is_now(task, S.PROCESSING)


async def forged(bench: Bench) -> Task:
    """C3: a push claims the end, the query does not show it: asked a few times more, then as usual."""
    task = await bench.order()
    await bench.settle()
    await bench.says("succeeded")
    await bench.stretch(3 * MINUTE)
    await bench.is_now(task, S.PROCESSING)
    bench.finish()
    await bench.heard()
    return await bench.is_now(task, S.SUCCEEDED)


async def ahead_of_the_query(bench: Bench) -> Task:
    """C3: the push was true and the query lagged behind it."""
    task = await bench.order()
    await bench.settle()
    await bench.says("succeeded")
    await bench.stretch(5)
    bench.finish()
    await bench.stretch(30)
    return await bench.is_now(task, S.SUCCEEDED)


async def twice_and_out_of_order(bench: Bench) -> Task:
    """C4, C5: trusted pushes twice, the last first."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order(orders="push-twice, out-of-order")
    await bench.settle()
    bench.begin()
    bench.finish()
    await bench.pushes()
    await bench.pushes()
    return await bench.is_now(task, S.SUCCEEDED)


async def regressive(bench: Bench) -> Task:
    """C4: words that lie behind what is known change nothing."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order()
    await bench.settle()
    bench.begin()
    await bench.pushes()
    await bench.push(task, Claim.WAITING, provider_task_id=bench.only().id, provider_status="submitted")
    bench.finish()
    await bench.pushes()
    await bench.push(task, Claim.RUNNING, provider_task_id=bench.only().id, provider_status="processing")
    return await bench.is_now(task, S.SUCCEEDED)


async def of_another_job(bench: Bench) -> Task:
    """C9: a push with our token that speaks of another job only rings."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order()
    await bench.settle()
    await bench.push(task, Claim.FAILED, provider_task_id="somebody-elses")
    bench.finish()
    await bench.settle()
    return await bench.is_now(task, S.SUCCEEDED)


async def in_unknown_words(bench: Bench) -> Task:
    """A trusted push in words we do not know is not trusted: the query decides."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order()
    await bench.settle()
    await bench.push(task, Claim.UNKNOWN, provider_task_id=bench.only().id)
    bench.world.knobs.query_faults = ""
    bench.finish()
    await bench.settle()
    return await bench.is_now(task, S.SUCCEEDED)


async def without_output(bench: Bench) -> Task:
    """A trusted success without a file, repeated: the wait is counted in queries, not in pushes."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order(orders="no-push")
    await bench.settle()
    for number in range(3):
        await bench.push(task, Claim.SUCCEEDED, provider_task_id=bench.only().id, progress=number)
    bench.finish()
    await bench.stretch(3 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def contradicting(bench: Bench) -> Task:
    """C2 by trusted pushes: the second verdict is told and changes nothing."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order()
    await bench.settle()
    bench.finish()
    await bench.pushes()
    bench.finish(failed=True)
    await bench.pushes()
    return await bench.is_now(task, S.SUCCEEDED)


async def a_job_of_another_task(bench: Bench) -> Task:
    """C15: a trusted push names a job that belongs to another task."""
    bench.account(callbacks=Callbacks.TRUST)
    project = await bench.project()
    other = await bench.order(orders="no-push", project=project)
    await bench.bound(other, "411")
    task = await bench.order(project=project)
    await bench.intend(task)
    await bench.push(task, Claim.RUNNING, provider_task_id="411", external_id=task.id)
    return await bench.is_now(task, S.SUBMITTING)
