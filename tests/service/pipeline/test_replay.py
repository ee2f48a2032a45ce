from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.core import fallback
from service.core.fallback import Candidate
from service.core.lifecycle import Outcome
from service.core.observation import Actor, Claim, Observation, Reading, Source
from service.pipeline.accounts import AccountDesk, Callbacks
from service.pipeline.ledger import Callback
from service.pipeline.replay import Checked, Difference, check, differences
from storage import history
from storage.records import Task, TaskStatus
from tests.depth import examples
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import VIDEO, bound_task, succeeded

KEY = b"ins_test"  # the rig's


async def found(rig: Rig, *, page: int = 100) -> list[Difference]:
    return [one async for checked in check(rig.database, key=KEY, page=page) for one in checked.differences]


async def fields(rig: Rig) -> list[str]:
    return [one.field for one in await found(rig)]


# The whole database


async def test_every_task_is_replayed_page_by_page(still: Rig) -> None:
    for _ in range(5):
        task, _ = await bound_task(still)
        await still.recorder.record(succeeded(still, task))
    pages: list[Checked] = [one async for one in check(still.database, key=KEY, page=2)]
    assert [(one.tasks, one.observations, list(one.differences)) for one in pages] == [
        (2, 6, []),
        (2, 6, []),
        (1, 3, []),
    ]


async def test_an_empty_database_agrees_with_itself(still: Rig) -> None:
    assert [one async for one in check(still.database)] == []


async def test_the_key_of_event_ids_is_the_installation_unless_told(still: Rig) -> None:
    task, _ = await bound_task(still)
    assert [one.field for checked in [one async for one in check(still.database)] for one in checked.differences] == [
        "event 1 id"
    ]
    assert await found(still) == [] and (await still.now(task)).sequence == 1


BODY_CHANGED = r"""
    UPDATE events SET body =
        /*sqlite:*/ CAST(replace(CAST(body AS TEXT), '"progress":100', '"progress":99') AS BLOB)
        /*postgres: convert_to(replace(convert_from(body, 'UTF8'), '"progress":100', '"progress":99'), 'UTF8') */
"""
TOUCHED = {
    "UPDATE tasks SET status = 'failed'": ["status"],
    "UPDATE tasks SET charge = 'none', sequence = 7": ["charge", "sequence"],
    "UPDATE tasks SET version = 1": ["version"],
    "UPDATE tasks SET account = 'another'": ["status", "history"],
    "UPDATE events SET sequence = 9 WHERE type = 'task.succeeded'": ["event 9 sequence"],
    "UPDATE events SET hard = 0": ["event 2 hard"],
    "DELETE FROM events WHERE type = 'task.submitted'": ["event 2 id", "event 2 type", "event 2 sequence"],
    "DELETE FROM events WHERE type = 'task.succeeded'": ["events"],
    "DELETE FROM timeline WHERE kind = 'bound'": ["timeline 2"],
    "UPDATE timeline SET kind = 'odd' WHERE kind = 'bound'": ["timeline 2", "timeline 2"],
    BODY_CHANGED: ["event 2 data.progress"],
    "UPDATE observations SET claim = 'x', content = replace(content, 'succeeded', 'failed') WHERE claim = 'succeeded'": ["status"],
}  # fmt: skip


@pytest.mark.parametrize("sql", TOUCHED)
async def test_what_a_hand_in_the_database_did_is_found(still: Rig, sql: str) -> None:
    task, _ = await bound_task(still)
    await still.recorder.record(succeeded(still, task))
    assert await found(still) == []
    still.touched = True
    await still.run(sql)
    differing = await fields(still)
    assert [one for one in differing if one in TOUCHED[sql]][: len(TOUCHED[sql])] == TOUCHED[sql]


async def test_a_difference_says_where_and_what(still: Rig) -> None:
    task, _ = await bound_task(still)
    still.touched = True
    await still.run("UPDATE tasks SET charge = 'confirmed'")
    [one] = await found(still)
    assert (one.task_id, one.field) == (task.id, "charge")
    assert (
        str(one)
        == f"{task.id}  charge: stored <Charge.CONFIRMED: 'confirmed'>, replayed <Charge.ESTIMATED: 'estimated'>"
    )


async def test_a_page_is_read_whole_however_many_events_its_tasks_have(still: Rig) -> None:
    task, _ = await bound_task(still)
    for number in range(30):
        await still.see(task, Claim.RUNNING, job=f"another-{number}", source=Source.LOOK_UP, external_id=task.id)
    assert len(await still.events(task)) == 31
    assert await found(still) == []


# What is kept


async def test_polls_that_say_nothing_new_leave_no_row(still: Rig) -> None:
    task, _ = await bound_task(still)
    for _ in range(100):
        still.clock.advance(30)
        await still.see(task, Claim.RUNNING, job=f"job-{task.id}", provider_status="processing")
    [(count,)] = await still.rows("SELECT count(*) FROM observations")
    assert count == 3, "the intent, its reply, and the first word that it runs"
    assert (await still.now(task)).version > 90
    await still.recorder.record(succeeded(still, task))
    assert await found(still) == []


async def test_counted_answers_are_kept_though_the_timeline_tells_the_first_alone(still: Rig) -> None:
    task, _ = await bound_task(still)
    for _ in range(3):
        await still.see(task, Claim.ABSENT)
        still.clock.advance(330)
    assert (await still.now(task)).status is TaskStatus.EXPIRED
    versions = await still.rows("SELECT version FROM observations WHERE claim = 'absent' ORDER BY id")
    assert versions == [(3,), (4,), (5,)]
    assert [entry.kind for entry in await still.timeline(task)].count("not_found") == 1


async def test_the_order_of_a_history_is_that_of_the_folds_within_one_millisecond_too(still: Rig) -> None:
    """Ids of one millisecond sort by chance."""
    task = await still.task(await still.project())
    submission = await still.intend(task)
    job = {"job": "18"}
    words = [Claim.WAITING, Claim.RUNNING, *[Claim.ABSENT] * 20, Claim.RUNNING]
    await still.recorder.record_all(
        [
            still.seen(task, Claim.ACCEPTED, source=Source.SUBMIT, submission=submission, **job),
            *(still.seen(task, word, **(job if word is not Claim.ABSENT else {})) for word in words),  # type: ignore[arg-type]
        ]
    )
    rows = await still.rows("SELECT claim FROM observations WHERE version IS NOT NULL ORDER BY version")
    assert [claim for (claim,) in rows] == ["intent", "accepted", "running", *["absent"] * 20, "running"]
    assert await found(still) == []


async def test_a_task_that_went_on_is_made_again_as_it_was_asked_for(still: Rig) -> None:
    still.account("ulazai")
    other = Candidate(account="ulazai", provider="ulazai", model="kling-3.0", input='{"a":1}', cost_unit="credit")
    task = await still.task(
        await still.project(),
        fallbacks=fallback.dump([other]),
        cost_unit="unit",
        cost_estimated="4",
        unit_price="1 USD",
    )
    submission = await still.intend(task)
    await still.see(task, Claim.REFUSED, submission=submission, source=Source.SUBMIT)
    assert (await still.now(task)).input == '{"a":1}'
    assert await found(still) == []


# Pushes that were stored before


async def test_a_push_stored_before_decides_nothing_when_the_account_has_come_to_trust(still: Rig) -> None:
    """It is folded first and known to be a repetition only by its insert: what follows it in the batch is folded anew."""
    task, submission = await bound_task(still)
    job = f"job-{task.id}"
    old = still.callback(submission, Claim.FAILED, provider_task_id=job, body=b"old")
    assert (await still.recorder.record(old)).outcome is Outcome.SCHEDULED
    still.account(callbacks=Callbacks.TRUST)
    new = still.callback(submission, Claim.RUNNING, provider_task_id=job, body=b"new", provider_status="processing")
    last = still.callback(submission, Claim.SUCCEEDED, provider_task_id=job, body=b"last", outputs=VIDEO)
    told = await still.recorder.record_all([old, new, old, last])
    assert [one.outcome for one in told] == [Outcome.IGNORED, Outcome.CHANGED, Outcome.IGNORED, Outcome.CHANGED]
    assert (await still.now(task)).status is TaskStatus.SUCCEEDED
    rows = await still.rows(
        "SELECT claim, version FROM observations WHERE source = 'callback' ORDER BY coalesce(version, 0)"
    )
    assert rows == [("failed", None), ("running", 3), ("succeeded", 4)]
    assert await still.events(task) == ["task.submitted", "task.processing", "task.succeeded"]
    assert await found(still) == []


async def test_a_bell_that_rang_before_does_not_ring_again(still: Rig) -> None:
    task, submission = await bound_task(still)
    push = still.callback(submission, Claim.SUCCEEDED, provider_task_id=f"job-{task.id}", outputs=VIDEO)
    await still.recorder.record(push)
    assert still.batches[-1].arrivals != {}
    assert (await still.recorder.record(push)).outcome is Outcome.IGNORED
    assert still.batches[-1].arrivals == {}
    assert await still.bells() == 1


# Anything at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that happens: one batch of messages, after a while, with the accounts configured as said."""

    after: float
    mode: Callbacks
    configured: bool
    messages: Sequence[dict[str, Any]]


JOBS = [None, "411", "412", "of-another"]
readings = st.fixed_dictionaries(
    {"claim": st.sampled_from(Claim), "provider_task_id": st.sampled_from(JOBS)},
    optional={
        "external_id": st.sampled_from(["own", "task_of_another"]),
        "provider_status": st.sampled_from(["processing", "odd"]),
        "progress": st.integers(0, 100),
        "outputs": st.just(VIDEO),
        "charged": st.sampled_from(["2", "0", "x"]),
        "cost_unit": st.sampled_from(["USD", "unit"]),
        "account_refused": st.booleans(),
        "refunded": st.booleans(),
        "retry_after_seconds": st.sampled_from([0.5, 90.0]),
        "also": st.just(("413",)),
        "detail": st.just("said so"),
    },
)
likely = st.sampled_from(
    [
        {"claim": Claim.ACCEPTED, "provider_task_id": "411"},
        {"claim": Claim.RUNNING, "provider_task_id": "411"},
        {"claim": Claim.SUCCEEDED, "provider_task_id": "411", "outputs": VIDEO},
        {"claim": Claim.ABSENT, "provider_task_id": None},
        {"claim": Claim.AMBIGUOUS, "provider_task_id": None},
        {"claim": Claim.REFUSED, "provider_task_id": None},
    ]
)
messages = st.fixed_dictionaries(
    {
        "reading": readings | likely,
        "source": st.sampled_from([*Source, "intent", "push", "push"]),
        "account": st.sampled_from([None, None, "cloudsway", "ulazai"]),
        "asked_before": st.sampled_from([0.0, 0.0, 700.0]),
        "prompted_by": st.sampled_from([None, Claim.SUCCEEDED]),
        "of_latest": st.booleans(),
        "by": st.sampled_from([None, Actor(key_id="key_1", name="me")]),
    }
)
acts = st.builds(
    Act,
    after=st.sampled_from([0.0, 0.001, 20.0, 200.0, 700.0, 4000.0, 40 * 86_400.0]),
    mode=st.sampled_from([Callbacks.VERIFY, Callbacks.TRUST, Callbacks.TRUST]),
    configured=st.sampled_from([True, True, True, False]),
    messages=st.lists(messages, min_size=1, max_size=5),
)


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(lived=st.lists(acts, min_size=1, max_size=8), goes_on=st.booleans())
async def test_whatever_is_heard_in_whatever_order_the_history_gives_the_row(
    still: Rig, lived: list[Act], goes_on: bool
) -> None:
    ulazai = still.account("ulazai")
    task = await begun(still, goes_on)
    for act in lived:
        configure(still, act, ulazai)
        still.clock.advance(act.after)
        await still.recorder.record_all([await heard(still, task, one) for one in act.messages])
    assert await of_one(still, task) == []


async def begun(rig: Rig, goes_on: bool) -> Task:
    rig.account()
    other = Candidate(account="ulazai", provider="ulazai", model="kling-3.0", input="{}", cost_unit="credit")
    made = fallback.dump([other]) if goes_on else "[]"
    project = await rig.project()
    task = await rig.task(project, fallbacks=made, cost_unit="unit", cost_estimated="4", deadline_seconds=3600)
    another = await rig.task(project)
    await rig.bound(another, f"of-another-{task.id}")
    await rig.intend(task)
    return task


def configure(rig: Rig, act: Act, ulazai: AccountDesk) -> None:
    rig.account(callbacks=act.mode)
    rig.accounts["ulazai"] = replace(ulazai, callbacks=act.mode)
    if not act.configured:
        del rig.accounts["cloudsway"]


async def heard(rig: Rig, task: Task, said: dict[str, Any]) -> Observation | Callback:
    """The message for this task: jobs belong to it alone, or to its neighbour."""
    reading = {**said["reading"]}
    if reading.get("external_id") == "own":
        reading["external_id"] = task.id
    if reading["provider_task_id"] is not None:
        reading["provider_task_id"] += f"-{task.id}"
    made = await rig.submissions(task)
    latest = made[-1]
    if said["source"] == "push":
        body = orjson.dumps([{name: value for name, value in reading.items() if name != "outputs"}])
        return rig.callback(made[0 if not said["of_latest"] else -1].id, reading.pop("claim"), body=body, **reading)
    if said["source"] == "intent":
        return Observation(
            task_id=task.id,
            source=Source.SUBMIT,
            reading=Reading(claim=Claim.INTENT),
            at=rig.clock(),
            submission_id=rig.mint("sub"),
            submission_deadline_at=rig.clock() + 30 * SECOND,
            account=said["account"],
        )
    replies = said["source"] is Source.SUBMIT and reading["claim"] is not Claim.INTENT
    return Observation(
        task_id=task.id,
        source=said["source"],
        reading=Reading(**reading),
        at=rig.clock() - round(said["asked_before"] * SECOND),
        submission_id=latest.id if replies else None,
        submission_deadline_at=latest.deadline_at if said["of_latest"] and replies else None,
        account=said["account"],
        prompted_by=said["prompted_by"],
        by=said["by"],
    )


async def of_one(rig: Rig, task: Task) -> list[str]:
    lives = await rig.database.read(lambda tx: history.page(tx, after=task.id[:-1], batch=100))
    [life] = [one for one in lives if one.task.id == task.id]
    return [str(one) for one in differences(life, KEY)]
