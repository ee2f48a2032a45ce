"""Scenarios of jobs that run and end, at every contract: pushed, polled, late, never."""

from __future__ import annotations

from service.core.observation import Claim, Source
from service.pipeline.accounts import Callbacks
from storage.records import Task, TaskStatus
from tests.histories.bench import DAY, HOUR, MINUTE, VIDEO, Bench

S = TaskStatus


async def pushed(bench: Bench) -> Task:
    """Kling pushes each change; a push rings and a query decides."""
    task = await bench.order()
    await bench.settle()
    bench.begin()
    await bench.heard()
    await bench.stretch(30)
    bench.finish()
    await bench.heard()
    return await bench.is_now(task, S.SUCCEEDED)


async def polled(bench: Bench) -> Task:
    """All pushes are lost: the poller finds the end."""
    task = await bench.order(orders="no-push")
    await bench.settle()
    bench.begin()
    await bench.stretch(100)
    bench.finish()
    await bench.stretch(3 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def trusted(bench: Bench) -> Task:
    """An account that trusts pushes: no query is made."""
    bench.account(callbacks=Callbacks.TRUST)
    task = await bench.order()
    await bench.settle()
    bench.begin()
    await bench.pushes()
    bench.clock.advance(40)
    bench.finish()
    await bench.pushes()
    return await bench.is_now(task, S.SUCCEEDED)


async def unpushed(bench: Bench) -> Task:
    """No callback URL is sent at all; the poller knows the pace."""
    bench.account(callbacks=Callbacks.OFF)
    task = await bench.order()
    await bench.settle()
    bench.begin()
    await bench.stretch(70)
    bench.finish()
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def acedata_pushed(bench: Bench) -> Task:
    """AceData pushes once, at the end; its record is asked."""
    task = await bench.order("acedata")
    await bench.settle()
    bench.clock.advance(80)
    bench.finish()
    await bench.heard()
    return await bench.is_now(task, S.SUCCEEDED)


async def acedata_trusted(bench: Bench) -> Task:
    """AceData's push decides by itself."""
    bench.account("acedata", callbacks=Callbacks.TRUST)
    task = await bench.order("acedata")
    await bench.settle()
    bench.clock.advance(80)
    bench.finish()
    await bench.pushes()
    return await bench.is_now(task, S.SUCCEEDED)


async def acedata_polled(bench: Bench) -> Task:
    """AceData without a callback URL, asked for an asynchronous job."""
    bench.account("acedata", callbacks=Callbacks.OFF)
    task = await bench.order("acedata")
    await bench.settle()
    bench.begin()
    await bench.stretch(100)
    bench.finish()
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def polled_to_its_end(bench: Bench, account: str, model: str | None = None, *, failed: bool = False) -> Task:
    task = await bench.order(account, model=model)
    await bench.settle()
    bench.begin()
    await bench.stretch(90)
    bench.finish(failed=failed)
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.FAILED if failed else S.SUCCEEDED)


async def ulazai(bench: Bench) -> Task:
    """UlazAI 3.0 never pushes; its credits are told with the end."""
    return await polled_to_its_end(bench, "ulazai", "kling-3.0")


async def ulazai_26(bench: Bench) -> Task:
    """UlazAI 2.6 wraps its answers in another form."""
    return await polled_to_its_end(bench, "ulazai", "kling-2.6")


async def apiinone(bench: Bench) -> Task:
    """API in One: undocumented replies, polled."""
    return await polled_to_its_end(bench, "apiinone")


async def failed(bench: Bench) -> Task:
    """The provider reports a failure, and the query confirms it."""
    task = await bench.order()
    await bench.settle()
    bench.begin()
    bench.finish(failed=True)
    await bench.heard()
    return await bench.is_now(task, S.FAILED)


async def acedata_failed(bench: Bench) -> Task:
    """AceData says success: false."""
    task = await bench.order("acedata")
    await bench.settle()
    bench.finish(failed=True)
    await bench.heard()
    return await bench.is_now(task, S.FAILED)


async def ulazai_failed(bench: Bench) -> Task:
    """UlazAI gives the credits of a failed job back."""
    return await polled_to_its_end(bench, "ulazai", "kling-3.0", failed=True)


async def ulazai_26_failed(bench: Bench) -> Task:
    """UlazAI 2.6 reports a failure."""
    return await polled_to_its_end(bench, "ulazai", "kling-2.6", failed=True)


async def apiinone_failed(bench: Bench) -> Task:
    """API in One reports a failure."""
    return await polled_to_its_end(bench, "apiinone", failed=True)


async def long_job(bench: Bench) -> Task:
    """A job of an hour: dozens of polls say nothing new, and leave nothing behind."""
    task = await bench.order(orders="no-push")
    await bench.settle()
    bench.begin()
    await bench.stretch(HOUR)
    bench.finish()
    await bench.stretch(10 * MINUTE)
    assert len(bench.only().queries) > 20
    return await bench.is_now(task, S.SUCCEEDED)


async def charged_otherwise(bench: Bench) -> Task:
    """The bill is not what was expected, and in another unit."""
    task = await bench.order()
    await bench.settle()
    await bench.hear(task, Claim.RUNNING, job=bench.only().id, charged="0.35", cost_unit="USD")
    bench.clock.advance(30)
    job = bench.only().id
    await bench.hear(task, Claim.SUCCEEDED, job=job, outputs=VIDEO, charged="0.40", cost_unit="USD")
    return await bench.is_now(task, S.SUCCEEDED)


async def progress(bench: Bench) -> Task:
    """A provider that tells how far it is; a number that falls back is not believed."""
    task = await bench.order()
    await bench.settle()
    for number in (10, 40, 30, 90):
        bench.clock.advance(10)
        await bench.hear(task, Claim.RUNNING, job=bench.only().id, progress=number, provider_status="processing")
    await bench.hear(task, Claim.SUCCEEDED, job=bench.only().id, outputs=VIDEO)
    return await bench.is_now(task, S.SUCCEEDED)


async def unknown_word(bench: Bench) -> Task:
    """A word we do not know is never an end; it is noted once."""
    task = await bench.order(orders="no-push, unknown-word")
    await bench.settle()
    bench.begin()
    await bench.stretch(4 * MINUTE)
    bench.finish()
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def unknown_to_the_deadline(bench: Bench) -> Task:
    """Only unknown words until the deadline: expired, softly."""
    task = await bench.order(orders="no-push, unknown-word", deadline_seconds=10 * MINUTE)
    await bench.settle()
    bench.begin()
    await bench.stretch(11 * MINUTE)
    return await bench.is_now(task, S.EXPIRED)


async def garbled_answers(bench: Bench) -> Task:
    """Queries that fail in every way say nothing of the job."""
    task = await bench.order(orders="no-push")
    await bench.settle()
    for fault in ("status=500", "garbage", "close", "status=429, retry-after=5", "status=401"):
        bench.script(queries=fault)
    await bench.stretch(10 * MINUTE)
    bench.finish()
    await bench.stretch(10 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def no_output(bench: Bench) -> Task:
    """C12: a success word without a file is waited for, ten queries in ten minutes, and then fails softly."""
    task = await bench.order(orders="no-push, no-output")
    await bench.settle()
    bench.finish()
    await bench.stretch(20 * MINUTE)
    return await bench.is_now(task, S.FAILED)


async def output_late(bench: Bench) -> Task:
    """The file follows the success word after some minutes."""
    task = await bench.order()
    await bench.settle()
    job = bench.only().id
    for _ in range(4):
        bench.clock.advance(MINUTE)
        await bench.hear(task, Claim.SUCCEEDED, job=job)
    await bench.push(task, Claim.SUCCEEDED, provider_task_id=job)
    await bench.hear(task, Claim.SUCCEEDED, job=job, outputs=VIDEO)
    return await bench.is_now(task, S.SUCCEEDED)


async def output_after_giving_up(bench: Bench) -> Task:
    """Failed for want of a file, and then it is there: late, within thirty days."""
    task = await no_output(bench)
    bench.clock.advance(3 * DAY)
    await bench.hear(task, Claim.SUCCEEDED, job=bench.only().id, outputs=VIDEO)
    return await bench.is_now(task, S.SUCCEEDED)


async def absent(bench: Bench) -> Task:
    """C13: three answers without the job, over ten minutes: expired, never failed."""
    task = await bench.order(orders="no-push")
    await bench.settle()
    bench.script(queries="empty", times=20)
    await bench.stretch(20 * MINUTE)
    return await bench.is_now(task, S.EXPIRED)


async def absent_far_apart(bench: Bench) -> Task:
    """Two such answers are not enough, however far apart; the third is."""
    task = await bench.order(orders="no-push")
    await bench.settle()
    for pause in (11 * MINUTE, MINUTE):
        await bench.hear(task, Claim.ABSENT)
        await bench.is_now(task, S.PROCESSING)
        bench.clock.advance(pause)
    await bench.hear(task, Claim.ABSENT)
    return await bench.is_now(task, S.EXPIRED)


async def absent_for_a_moment(bench: Bench) -> Task:
    """An answer without the job, and then it is there again."""
    task = await bench.order(orders="no-push")
    await bench.settle()
    bench.script(queries="empty", times=2)
    await bench.stretch(3 * MINUTE)
    bench.finish()
    await bench.stretch(10 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def expired(bench: Bench) -> Task:
    """T11: asked once more past the deadline, and still at work."""
    task = await bench.order(orders="no-push", deadline_seconds=10 * MINUTE)
    await bench.settle()
    bench.begin()
    await bench.stretch(11 * MINUTE)
    return await bench.is_now(task, S.EXPIRED)


async def expired_and_succeeded(bench: Bench) -> Task:
    """T12: the slow polls of a task we gave up find its success."""
    task = await expired(bench)
    await bench.stretch(5 * HOUR)
    bench.finish()
    await bench.stretch(2 * HOUR)
    return await bench.is_now(task, S.SUCCEEDED)


async def expired_and_failed(bench: Bench) -> Task:
    """T12: or its failure."""
    task = await expired(bench)
    bench.finish(failed=True)
    await bench.stretch(2 * HOUR)
    return await bench.is_now(task, S.FAILED)


async def too_late(bench: Bench) -> Task:
    """A verdict after more than thirty days is not taken any more."""
    task = await expired(bench)
    bench.clock.advance(31 * DAY)
    await bench.hear(task, Claim.SUCCEEDED, job=bench.only().id, outputs=VIDEO)
    return await bench.is_now(task, S.EXPIRED)


async def unreachable(bench: Bench) -> Task:
    """The provider cannot be asked past the deadline: fifteen minutes of trying end the task."""
    task = await bench.order(orders="no-push", deadline_seconds=5 * MINUTE)
    await bench.settle()
    bench.script(queries="status=500", times=200)
    await bench.stretch(30 * MINUTE)
    return await bench.is_now(task, S.EXPIRED)


async def unreachable_for_a_while(bench: Bench) -> Task:
    """Some failing minutes past the deadline, then an answer: nothing was lost."""
    task = await bench.order(orders="no-push", deadline_seconds=5 * MINUTE)
    await bench.settle()
    bench.finish()
    bench.script(queries="close", times=6)
    await bench.stretch(20 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def downtime(bench: Bench) -> Task:
    """Six hours off, long past the deadline: what is well does not expire."""
    task = await bench.order(orders="no-push", deadline_seconds=HOUR)
    await bench.settle()
    bench.finish()
    await bench.down(6 * HOUR)
    return await bench.is_now(task, S.SUCCEEDED)


async def never_submitted(bench: Bench) -> Task:
    """T14: the deadline passes while the account buys nothing."""
    bench.world.knobs.api_key = "another"
    await bench.order()
    await bench.settle()
    task = await bench.order(deadline_seconds=2 * MINUTE)
    await bench.stretch(3 * MINUTE)
    return await bench.is_now(task, S.EXPIRED)


async def account_gone(bench: Bench) -> Task:
    """The account is no longer configured: nobody can be asked, the sweep closes the task."""
    task = await bench.order(orders="no-push", deadline_seconds=10 * MINUTE)
    await bench.settle()
    bench.forget("cloudsway")
    bench.clock.advance(12 * MINUTE)
    await bench.swept()
    return await bench.is_now(task, S.EXPIRED)


async def canceled(bench: Bench) -> Task:
    """T13: not bought yet."""
    task = await bench.order()
    await bench.tell(task, Claim.CANCEL)
    return await bench.is_now(task, S.CANCELED)


async def canceled_too_late(bench: Bench) -> Task:
    """What is bought cannot be canceled."""
    task = await bench.order()
    await bench.settle()
    await bench.tell(task, Claim.CANCEL)
    bench.finish()
    await bench.heard()
    return await bench.is_now(task, S.SUCCEEDED)


async def success_then_failure(bench: Bench) -> Task:
    """C2: the first verdict stands, the contradiction is told once however often it is heard."""
    task = await pushed(bench)
    for _ in range(2):
        await bench.hear(task, Claim.FAILED, job=bench.only().id)
    return await bench.is_now(task, S.SUCCEEDED)


async def failure_then_success(bench: Bench) -> Task:
    """C2, the other way round."""
    task = await failed(bench)
    await bench.hear(task, Claim.SUCCEEDED, job=bench.only().id, outputs=VIDEO)
    return await bench.is_now(task, S.FAILED)


async def another_job(bench: Bench) -> Task:
    """An answer that speaks of another job than asked for decides nothing."""
    task = await bench.order(orders="no-push")
    await bench.settle()
    await bench.hear(task, Claim.SUCCEEDED, job="somebody-elses", outputs=VIDEO)
    bench.finish()
    await bench.stretch(3 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def overdue_reminder(bench: Bench) -> Task:
    """The sweep reminds of a deadline that nobody looked at; the query that follows decides."""
    task = await bench.order(orders="no-push", deadline_seconds=HOUR)
    await bench.settle()
    bench.finish()
    bench.clock.advance(2 * HOUR)
    await bench.swept()
    await bench.hear(task, Claim.OVERDUE, Source.DEADLINE)
    await bench.settle()
    return await bench.is_now(task, S.SUCCEEDED)


async def link_renewed(bench: Bench) -> Task:
    """Somebody follows our link after the provider's has died, and after it has died again."""
    task = await bench.linked()
    for _ in range(2):
        bench.clock.advance(HOUR)
        await bench.followed(task)
    return await bench.is_now(task, S.SUCCEEDED)


async def output_deleted(bench: Bench) -> Task:
    """The provider has deleted the output: one odd answer is no proof, three over a minute are."""
    task = await bench.linked("link-seconds=3600, purge-after=3600")
    bench.clock.advance(HOUR)
    for _ in range(3):
        await bench.followed(task)
        bench.clock.advance(30)
    return await bench.is_now(task, S.SUCCEEDED)
