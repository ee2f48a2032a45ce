"""A person's order and a refused key stop purchases and nothing else, and whoever asked for it is told once."""

from __future__ import annotations

import orjson

from service.core.care import care_of, holds_of, pauses
from service.pipeline import account_events
from service.pipeline.ledger import Ledger
from service.sandbox.script import Step
from storage.database import Connection
from storage.records import LaneKind, TaskStatus
from tests.service.core.schemas import faults
from tests.service.pipeline.rig import Rig

CLOUDSWAY = (LaneKind.ACCOUNT, "cloudsway")
QUIET = "A boat. [sandbox: no-push]"


async def order(rig: Rig, word: str) -> bool:
    done = getattr(account_events, word)

    async def unit(tx: Connection, ledger: Ledger) -> bool:
        changed: bool = await done(tx, ledger, rig.accounts["cloudsway"])
        return changed

    changed = await rig.recorder.write(unit)
    rig.ring(*CLOUDSWAY)
    return changed


async def told(rig: Rig) -> list[dict[str, object]]:
    """Bodies of events that are of no task, in the order of the feed; each fits its schema."""
    rows = await rig.rows("SELECT body FROM events WHERE task_id IS NULL ORDER BY position")
    assert [fault for (body,) in rows for fault in faults(bytes(body))] == []  # type: ignore[call-overload]
    return [orjson.loads(body) for (body,) in rows]  # type: ignore[arg-type]


async def test_a_paused_account_buys_nothing_while_its_jobs_go_on_and_buys_again_when_resumed(rig: Rig) -> None:
    project = await rig.project()
    running = await rig.task(project, prompt=QUIET)
    await rig.settle()
    assert await order(rig, "pause")
    assert not await order(rig, "pause"), "the second time changes nothing"
    waiting = await rig.task(project, prompt=QUIET)
    rig.world.finish(rig.job(running).id)
    await rig.stretch(300)
    assert (await rig.now(waiting)).status is TaskStatus.QUEUED
    assert (await rig.now(running)).status is TaskStatus.SUCCEEDED
    assert rig.requests("create") == 1
    assert await order(rig, "resume")
    assert not await order(rig, "resume")
    await rig.settle()
    assert (await rig.now(waiting)).status is TaskStatus.PROCESSING


async def test_a_pause_outlives_the_owner_of_the_lane_and_what_it_stores(rig: Rig) -> None:
    assert await order(rig, "pause")
    rig.world.script.queries.append(Step(directive="status=503, retry-after=60", times=1))
    project = await rig.project()
    bound = await rig.task(project, prompt=QUIET)
    await rig.bound(bound, "18")
    task = await rig.task(project)
    await rig.stretch(200)
    assert rig.requests("query") >= 1
    rig.workers.clear()
    await rig.run("UPDATE lanes SET owner = NULL, until = 0, next_due_at = 0")
    await rig.stretch(120)
    assert (await rig.now(task)).status is TaskStatus.QUEUED
    assert care_of(await rig.lane(*CLOUDSWAY)).paused_at is not None


async def test_the_deadline_of_a_task_passes_at_a_paused_account(rig: Rig) -> None:
    await order(rig, "pause")
    task = await rig.task(await rig.project(), deadline_seconds=600)
    await rig.stretch(700)
    assert (await rig.now(task)).status is TaskStatus.EXPIRED
    assert rig.requests("create") == 0


async def test_those_who_named_account_events_are_told_and_nobody_else(rig: Rig) -> None:
    asked, stranger = await rig.project(), await rig.project()
    named = await rig.endpoint(asked, events="account.*")
    beside = await rig.endpoint(asked, events="*")
    ends = await rig.endpoint(asked)
    foreign = await rig.endpoint(stranger, events="*")
    await order(rig, "pause")
    await order(rig, "resume")
    events = await told(rig)
    assert [event["type"] for event in events] == ["account.paused", "account.resumed"]
    paused, resumed = (event["data"] for event in events)
    assert isinstance(paused, dict) and isinstance(resumed, dict)
    assert (paused["name"], paused["status"], paused["cause"]) == ("cloudsway", "paused", "person")
    assert (resumed["status"], resumed["paused"]) == ("active", [])
    await rig.settle()
    counts = [len(await rig.deliveries(one)) for one in (named, beside, ends, foreign)]
    assert counts == [2, 2, 0, 0]


async def test_a_refused_key_is_told_once_however_often_it_is_refused_and_its_end_as_well(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project, events="account.paused,account.resumed")
    rig.world.knobs.api_key = "another"
    made = [await rig.task(project, prompt=QUIET) for _ in range(20)]
    await rig.stretch(700)
    [event] = await told(rig)
    data = event["data"]
    assert isinstance(data, dict)
    assert (event["type"], data["cause"]) == ("account.paused", "credentials")
    [pause] = data["paused"]
    assert pause["code"] == "credentials_refused" and pause["reason"]
    rig.world.knobs.api_key = None
    await rig.stretch(310)
    assert [event["type"] for event in await told(rig)] == ["account.paused", "account.resumed"]
    assert {(await rig.now(task)).status for task in made} == {TaskStatus.PROCESSING}


async def test_a_person_who_has_mended_the_key_need_not_wait_for_the_next_trial(rig: Rig) -> None:
    rig.account(rate=2.0)  # one at a time, so that one is refused and the others wait
    project = await rig.project()
    rig.world.knobs.api_key = "another"
    made = [await rig.task(project, prompt=QUIET) for _ in range(4)]
    await rig.stretch(20)
    [refused] = [task for task in made if (await rig.now(task)).streak is not None]
    waiting = [task for task in made if task != refused]
    assert pauses(await rig.lane(*CLOUDSWAY))
    rig.world.knobs.api_key = None
    assert await order(rig, "resume")
    await rig.stretch(5)
    assert {(await rig.now(task)).status for task in waiting} == {TaskStatus.PROCESSING}
    assert not pauses(await rig.lane(*CLOUDSWAY))
    await rig.stretch(300)
    assert (await rig.now(refused)).status is TaskStatus.PROCESSING, "it was tried, and waits for its own time"


async def test_a_key_that_is_still_refused_after_a_resume_is_tried_once_and_told_again(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project, events="account.*")
    rig.world.knobs.api_key = "another"
    for _ in range(5):
        await rig.task(project, prompt=QUIET)
    await rig.stretch(20)
    tried = rig.requests("create")
    await order(rig, "resume")
    await rig.stretch(20)
    assert rig.requests("create") == tried + 1
    assert [event["type"] for event in await told(rig)] == ["account.paused", "account.resumed", "account.paused"]


async def test_the_last_error_is_kept_and_holds_no_key(rig: Rig) -> None:
    key = rig.accounts["cloudsway"].channel.api_key
    rig.world.script.creates.append(Step(directive="status=401", times=1))
    await rig.task(await rig.project(), prompt=QUIET)
    await rig.stretch(10)
    trouble = holds_of(await rig.lane(*CLOUDSWAY)).trouble
    assert trouble is not None and trouble.code == "credentials_refused"
    assert key not in trouble.message
    await rig.stretch(310)
    holds = holds_of(await rig.lane(*CLOUDSWAY))
    assert holds.free and holds.trouble == trouble, "it is over, and still known"


async def test_an_owner_whose_lane_is_somebody_elses_stores_and_tells_nothing(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project, events="account.*")
    await rig.task(project, prompt=QUIET)
    await rig.settle()
    await rig.run(
        "UPDATE lanes SET owner = 'other', epoch = epoch + 1, until = 9000000000000000 WHERE kind = 'account'"
    )
    rig.world.script.queries.append(Step(directive="status=401", times=1))
    await rig.stretch(300)
    assert rig.requests("query") >= 1, "what a provider says is evidence, whoever asked"
    assert (await rig.lane(*CLOUDSWAY)).holds is None
    assert await told(rig) == []


async def test_two_replicas_that_miss_the_same_pushes_tell_it_once(still: Rig) -> None:
    await still.endpoint(await still.project(), events="account.callbacks_missing")

    async def unit(tx: Connection, ledger: Ledger) -> bool:
        return await account_events.note_silence(tx, ledger, still.accounts["cloudsway"], silent=True, ends=5)

    found = []
    for _ in range(2):
        found.append(await still.recorder.write(unit))
        still.clock.advance(1)
    assert found == [True, False]
    [event] = await told(still)
    assert event["type"] == "account.callbacks_missing"
