"""Scenarios of purchases: refused, deferred, of unknown fate, made again, made elsewhere."""

from __future__ import annotations

from service.core.observation import Claim, Source
from service.pipeline.accounts import Callbacks
from storage.records import Task, TaskStatus
from tests.histories.bench import HOUR, MINUTE, VIDEO, Bench

S = TaskStatus


async def refused(bench: Bench, account: str = "cloudsway", model: str | None = None) -> Task:
    """T5: refused for its content; nothing was bought."""
    task = await bench.order(account, "refuse", model=model)
    await bench.settle()
    return await bench.is_now(task, S.FAILED)


async def acedata_refused(bench: Bench) -> Task:
    """T5 at AceData."""
    return await refused(bench, "acedata")


async def ulazai_refused(bench: Bench) -> Task:
    """T5 at UlazAI 3.0."""
    return await refused(bench, "ulazai", "kling-3.0")


async def ulazai_26_refused(bench: Bench) -> Task:
    """T5 at UlazAI 2.6."""
    return await refused(bench, "ulazai", "kling-2.6")


async def apiinone_refused(bench: Bench) -> Task:
    """T5 at API in One."""
    return await refused(bench, "apiinone")


async def too_fast(bench: Bench) -> Task:
    """T4: 429 is no refusal of the task; it waits as long as it is told to."""
    bench.script(creates="status=429, code=1302, retry-after=120")
    task = await bench.order(orders="no-push")
    await bench.settle()
    await bench.is_now(task, S.QUEUED)
    await bench.stretch(3 * MINUTE)
    await bench.is_now(task, S.PROCESSING)
    bench.finish()
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def concurrency_full(bench: Bench) -> Task:
    """T4, several times: the provider has no room for it yet."""
    bench.script(creates="status=429, code=1303", times=4)
    task = await bench.order()
    await bench.stretch(3 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def never_sent(bench: Bench) -> Task:
    """T4: nobody listened, so not a byte left; tried again until the address is mended."""
    bench.account(base_url="http://127.0.0.1:9")
    task = await bench.order()
    await bench.stretch(20)
    await bench.is_now(task, S.QUEUED)
    bench.account()
    bench.forget("cloudsway")
    bench.account()
    await bench.successor()
    await bench.stretch(2 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def credentials(bench: Bench) -> Task:
    """T15: the key is refused for a quarter of an hour."""
    bench.world.knobs.api_key = "another"
    task = await bench.order()
    await bench.stretch(20 * MINUTE)
    return await bench.is_now(task, S.FAILED)


async def credentials_mended(bench: Bench) -> Task:
    """The key is put right in time."""
    bench.world.knobs.api_key = "another"
    task = await bench.order()
    await bench.stretch(8 * MINUTE)
    bench.world.knobs.api_key = None
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def lost_reply(bench: Bench, fault: str = "lost-reply", account: str = "cloudsway") -> Task:
    """T6, T3: the reply is lost; the job is found by our id and adopted."""
    task = await bench.order(account, f"{fault}, no-push")
    await bench.settle()
    await bench.is_now(task, S.UNCONFIRMED)
    await bench.stretch(MINUTE)
    await bench.is_now(task, S.PROCESSING)
    bench.finish()
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def unreadable_reply(bench: Bench) -> Task:
    """The reply says 200 and nothing that can be read."""
    return await lost_reply(bench, "garbage")


async def error_after_the_fact(bench: Bench) -> Task:
    """The reply says 500, and the job was made."""
    return await lost_reply(bench, "status-after=500")


async def acedata_lost_reply(bench: Bench) -> Task:
    """AceData knows no id of ours: found by the callback URL that its record echoes."""
    return await lost_reply(bench, account="acedata")


async def acedata_error_names_it(bench: Bench) -> Task:
    """AceData's 500 names the job that it made."""
    task = await bench.order("acedata", "status-after=500, names-task, no-push")
    await bench.settle()
    return await bench.is_now(task, S.PROCESSING)


async def push_finds_it(bench: Bench) -> Task:
    """The push overtakes the look-up and leads to the lost purchase."""
    task = await bench.order(orders="lost-reply")
    await bench.settle()
    bench.begin()
    await bench.heard()
    return await bench.is_now(task, S.PROCESSING)


async def acedata_push_finds_it(bench: Bench) -> Task:
    """One message binds the task and ends it."""
    task = await bench.order("acedata", "lost-reply")
    await bench.settle()
    bench.finish()
    await bench.heard()
    return await bench.is_now(task, S.SUCCEEDED)


async def found_late(bench: Bench) -> Task:
    """The first look-ups find nothing, a later one does: never sent again meanwhile."""
    task = await bench.order(orders="lost-reply, no-push")
    bench.script(queries="empty", times=2)
    await bench.stretch(4 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def look_up_fails(bench: Bench) -> Task:
    """Look-ups that fail prove nothing and count for nothing."""
    task = await bench.order(orders="lost-reply, no-push")
    bench.script(queries="status=500", times=4)
    await bench.stretch(10 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def two_found(bench: Bench) -> Task:
    """C10: the look-up finds two jobs with our id; the older is bound, the other told."""
    task = await bench.order()
    submission = await bench.intend(task)
    await bench.hear(task, Claim.AMBIGUOUS, Source.SUBMIT, submission=submission)
    bench.clock.advance(40)
    await bench.hear(task, Claim.RUNNING, Source.LOOK_UP, job="411", external_id=task.id, also=("412",))
    return await bench.is_now(task, S.PROCESSING)


async def carries_another_id(bench: Bench) -> Task:
    """What the look-up found carries another task's id: told, not bound."""
    task = await bench.order()
    submission = await bench.intend(task)
    await bench.hear(task, Claim.AMBIGUOUS, Source.SUBMIT, submission=submission)
    bench.clock.advance(40)
    await bench.hear(task, Claim.RUNNING, Source.LOOK_UP, job="411", external_id="task_of_another")
    return await bench.is_now(task, S.UNCONFIRMED)


async def belongs_to_another(bench: Bench) -> Task:
    """C15: the reply names a job that another task is bound to."""
    project = await bench.project()
    other = await bench.order(orders="no-push", project=project)
    await bench.bound(other, "411")
    task = await bench.order(project=project)
    submission = await bench.intend(task)
    await bench.hear(task, Claim.ACCEPTED, Source.SUBMIT, job="411", submission=submission)
    return await bench.is_now(task, S.UNCONFIRMED)


async def sent_once_more(bench: Bench) -> Task:
    """T7: it never arrived; three empty look-ups, the last past the settle window, and it is made again with the same id."""
    bench.script(creates="close")
    task = await bench.order()
    await bench.stretch(10 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def sent_twice_in_vain(bench: Bench) -> Task:
    """T16: the second one is lost as well; never a third, the deadline ends it."""
    bench.script(creates="close", times=2)
    task = await bench.order(deadline_seconds=HOUR)
    await bench.stretch(HOUR + MINUTE)
    return await bench.is_now(task, S.EXPIRED)


async def refused_as_a_copy(bench: Bench) -> Task:
    """F8: the second one is refused because our id is taken: the first had arrived, and is adopted."""
    task = await bench.order(orders="lost-reply, no-push")
    bench.script(queries="empty", times=4)
    await bench.stretch(15 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def refused_after_the_fact(bench: Bench) -> Task:
    """The submission comes back refused after its job was bound: contradiction, told."""
    task = await bench.order()
    submission = await bench.intend(task)
    await bench.hear(task, Claim.RUNNING, Source.LOOK_UP, job="411", external_id=task.id)
    await bench.hear(task, Claim.REFUSED, Source.SUBMIT, submission=submission)
    return await bench.is_now(task, S.PROCESSING)


async def died_between(bench: Bench) -> Task:
    """The process died between intent and reply: its successor looks for the purchase."""
    task = await bench.order()
    await bench.intend(task)
    await bench.successor()
    await bench.is_now(task, S.UNCONFIRMED)
    await bench.stretch(10 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def died_and_nobody_came(bench: Bench) -> Task:
    """Left submitting, its account gone: the deadline makes it unconfirmed, and then ends it."""
    task = await bench.order(deadline_seconds=10 * MINUTE)
    await bench.intend(task)
    bench.forget("cloudsway")
    for _ in range(2):
        bench.clock.advance(15 * MINUTE)
        await bench.swept()
    return await bench.is_now(task, S.EXPIRED)


async def held(bench: Bench, account: str = "ulazai") -> Task:
    """T16: UlazAI cannot be asked after a lost job; held, and ended by the deadline."""
    task = await bench.order(account, "lost-reply", deadline_seconds=HOUR)
    await bench.stretch(HOUR + MINUTE)
    return await bench.is_now(task, S.EXPIRED)


async def apiinone_held(bench: Bench) -> Task:
    """T16 at API in One."""
    return await held(bench, "apiinone")


async def acedata_unfindable(bench: Bench) -> Task:
    """Without a callback URL AceData cannot be asked after a lost job either."""
    bench.account("acedata", callbacks=Callbacks.OFF)
    return await held(bench, "acedata")


async def acedata_held(bench: Bench) -> Task:
    """AceData is asked and finds nothing: held all the same, because it knows no id that would keep a second one out."""
    bench.script(creates="close")
    task = await bench.order("acedata", deadline_seconds=HOUR)
    await bench.stretch(HOUR + MINUTE)
    return await bench.is_now(task, S.EXPIRED)


async def found_after_the_end(bench: Bench) -> Task:
    """A purchase of unknown fate expired, and then its job is found: bound, watched, and its end is told late."""
    task = await sent_twice_in_vain(bench)
    await bench.hear(task, Claim.RUNNING, Source.LOOK_UP, job="411", external_id=task.id)
    bench.clock.advance(HOUR)
    await bench.hear(task, Claim.SUCCEEDED, job="411", outputs=VIDEO)
    return await bench.is_now(task, S.SUCCEEDED)


async def found_after_a_refusal(bench: Bench) -> Task:
    """Refused for good, and yet a job appears: never bound, told as one too many."""
    task = await refused(bench)
    await bench.hear(task, Claim.RUNNING, Source.LOOK_UP, job="411", external_id=task.id)
    return await bench.is_now(task, S.FAILED)


# Fail-over


async def fails_over(bench: Bench) -> Task:
    """T17: refused at the first, made at the second."""
    bench.account("ulazai")
    bench.script(creates="refuse")
    task = await bench.order(fallbacks=("ulazai",))
    await bench.settle()
    await bench.stretch(90)
    bench.finish()
    await bench.stretch(5 * MINUTE)
    return await bench.is_now(task, S.SUCCEEDED)


async def everybody_refuses(bench: Bench) -> Task:
    """T17 twice, then T5."""
    bench.account("second", provider="cloudsway")
    bench.script(creates="refuse", times=3)
    task = await bench.order(fallbacks=("ulazai", "second"))
    await bench.settle()
    return await bench.is_now(task, S.FAILED)


async def fails_over_for_a_key(bench: Bench) -> Task:
    """T17 out of T15: the first account's key is refused for a quarter of an hour."""
    bench.account("ulazai")
    bench.script(creates="status=401", times=4)
    task = await bench.order(fallbacks=("ulazai",))
    await bench.stretch(25 * MINUTE)
    return await bench.is_now(task, S.PROCESSING)


async def skips_who_is_gone(bench: Bench) -> Task:
    """The second is no longer configured; the third makes it."""
    bench.account("third", provider="cloudsway")
    bench.script(creates="refuse")
    task = await bench.order(fallbacks=("ulazai", "third"))
    bench.forget("ulazai")
    await bench.settle()
    return await bench.is_now(task, S.PROCESSING)


async def who_refused_made_it(bench: Bench) -> Task:
    """The first refused, the task went on, and the first made it all the same: one too many."""
    bench.account("ulazai")
    bench.script(creates="refuse")
    task = await bench.order(fallbacks=("ulazai",))
    await bench.settle()
    now = await bench.is_now(task, S.PROCESSING)
    seen = bench.seen(now, Claim.RUNNING, job="411", source=Source.LOOK_UP, external_id=task.id)
    seen.account = "cloudsway"  # type: ignore[misc]
    await bench.recorder.record(seen)
    return await bench.is_now(task, S.PROCESSING)


async def unknown_fate_stays(bench: Bench) -> Task:
    """C16: a purchase of unknown fate is never made elsewhere."""
    bench.account("ulazai")
    bench.script(creates="close", times=2)
    task = await bench.order(fallbacks=("ulazai",), deadline_seconds=HOUR)
    await bench.stretch(HOUR + MINUTE)
    return await bench.is_now(task, S.EXPIRED)
