"""What commits say of jobs becomes what is known of the next one: over several tasks, and over a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from service.core.durations import stated
from service.core.observation import Claim, Source
from service.pipeline import durations
from service.pipeline.accounts import Callbacks
from service.pipeline.durations import Durations, kind_of
from service.pipeline.recorder import Recorder
from storage.database import Database, Unit
from storage.durations import Kind
from storage.errors import Unavailable
from storage.records import Task, TaskStatus
from tests.service.pipeline.parties import SECOND, Rules
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import VIDEO

WHOLE = Kind("ulazai", "kling-3.0")
FIVE = Kind("ulazai", "kling-3.0", 5, "std")


def learning(rig: Rig) -> Durations:
    """The rig with a memory for durations, as the service has it. Called again it is a process that has just started."""
    made = Durations(rig.database, Rules(rig.accounts), clock=rig.clock)
    rig.recorder = Recorder(
        rig.database, replace(rig.desk(), curve=made.curve), arrived=lambda _: None, heard=made.heard
    )
    return made


async def live(rig: Rig, project: str, seconds: float, account: str = "ulazai") -> tuple[int, float, float]:
    """One job of that length: how often it was asked after, when first, and how late its end was known."""
    task = await rig.task(project, account=account, prompt=f"A boat, at {rig.clock()}.")
    await rig.settle()
    began = rig.clock()
    await rig.stretch(seconds)
    rig.world.finish(rig.job(task).id)
    ended = rig.clock()
    while (await rig.now(task)).status is TaskStatus.PROCESSING:
        await rig.stretch(0.5)
    queries = rig.job(task).queries
    return len(queries), queries[0].at - began / SECOND, (rig.clock() - ended) / SECOND


async def bought(rig: Rig, account: str = "cloudsway") -> tuple[Task, str]:
    """A task at its provider, without a provider, and its submission."""
    task = await rig.task(await rig.project(), account=account)
    return task, await rig.bound(task)


def known(made: Durations, account: str = "cloudsway") -> tuple[tuple[int, int], ...]:
    """What was learned of an account's one model, in seconds and rounded."""
    whole = next(window for kind, window in made._windows.items() if kind.account == account and not kind.seconds)
    return tuple((round(after / 10), round(by / 10)) for after, by in whole.spans)


@pytest.mark.slow
async def test_a_provider_that_is_slower_than_stated_is_soon_asked_later_and_less(rig: Rig) -> None:
    rig.account("ulazai", callbacks=Callbacks.OFF)
    made, project = learning(rig), await rig.project()
    first, *_ = [await live(rig, project, 200)]
    for seconds in (190, 205, 195, 210, 200, 198):
        await live(rig, project, seconds)
        await made.run_once()
    last = await live(rig, project, 200)
    assert first[1] < 40
    assert 120 < last[1] < 205
    assert last[0] <= first[0] / 2
    assert last[2] < 12


async def test_a_provider_that_is_faster_than_stated_is_soon_asked_sooner(rig: Rig) -> None:
    rig.account("ulazai", callbacks=Callbacks.OFF)
    made, project = learning(rig), await rig.project()
    first = await live(rig, project, 8)
    for seconds in (8, 9, 7, 8, 8, 9):
        await live(rig, project, seconds)
        await made.run_once()
    last = await live(rig, project, 8)
    assert last[1] < first[1] / 1.8
    assert last[2] < first[2] / 2


@pytest.mark.slow
async def test_what_was_learned_outlives_a_restart(rig: Rig) -> None:
    rig.account("ulazai", callbacks=Callbacks.OFF)
    made, project = learning(rig), await rig.project()
    for seconds in (200, 190, 205, 210):
        await live(rig, project, seconds)
    await made.store()
    before = made.told("ulazai")
    again = learning(rig)
    assert again.told("ulazai") == []
    await again.run_once()
    assert again.told("ulazai") == before
    assert [(told.kind, told.jobs) for told in before] == [(WHOLE, 4), (FIVE, 4)]
    # The lane is worked on with the same recorder; what counts is what a new task would be given.
    task = await rig.task(project, account="ulazai")
    assert again.curve(task).quantile(0.5) == made.curve(task).quantile(0.5) > 150


async def test_a_poll_teaches_a_span_from_the_last_question_in_vain(still: Rig) -> None:
    made = learning(still)
    task, _ = await bought(still)
    still.clock.advance(30)
    await still.see(task, Claim.RUNNING, job=f"job-{task.id}")
    still.clock.advance(10)
    await still.see(task, Claim.UNREACHABLE)  # nobody answered: says nothing
    still.clock.advance(10)
    await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    await made.run_once()
    assert known(made) == ((30, 50),)


async def test_a_push_that_is_verified_teaches_when_it_came(still: Rig) -> None:
    made = learning(still)
    task, submission = await bought(still)
    still.clock.advance(60)
    await still.recorder.record(still.callback(submission, Claim.FAILED, provider_task_id=f"job-{task.id}"))
    still.clock.advance(9)
    await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    await made.run_once()
    assert known(made) == ((60, 60),)


async def test_a_push_that_was_wrong_teaches_nothing(still: Rig) -> None:
    made = learning(still)
    task, submission = await bought(still)
    still.clock.advance(5)
    await still.recorder.record(still.callback(submission, Claim.SUCCEEDED, provider_task_id=f"job-{task.id}"))
    still.clock.advance(1)
    await still.see(task, Claim.RUNNING, job=f"job-{task.id}")
    still.clock.advance(60)
    await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    await made.run_once()
    assert known(made) == ((6, 66),)


async def test_a_push_that_decides_teaches_when_it_came(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    made = learning(still)
    task, submission = await bought(still)
    still.clock.advance(45)
    await still.recorder.record(still.callback(submission, Claim.FAILED, provider_task_id=f"job-{task.id}"))
    await made.run_once()
    assert known(made) == ((45, 45),)


async def test_a_link_that_is_renewed_long_after_the_end_teaches_nothing(still: Rig) -> None:
    made = learning(still)
    task, _ = await bought(still)
    still.clock.advance(60)
    await still.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)
    await made.run_once()
    taught = [(window.count, window.spans) for window in made._windows.values()]
    still.clock.advance(30 * 86_400)
    shown = still.seen(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)
    renewed = await still.recorder.record(replace(shown, prompted_by=Claim.WANTED, account="cloudsway"))
    await made.run_once()
    assert renewed.outcome == "changed"
    assert [(window.count, window.spans) for window in made._windows.values()] == taught != []


async def test_what_nobody_timed_teaches_nothing(still: Rig) -> None:
    """A job found long after it was bought, one that ended in the message that named it, and one that never ended."""
    made = learning(still)
    found, *_ = [await still.task(await still.project())]
    await still.intend(found)
    still.clock.advance(600)
    await still.see(found, Claim.RUNNING, job="found", source=Source.LOOK_UP, external_id=found.id)
    still.clock.advance(5)
    await still.see(found, Claim.FAILED, job="found")
    at_once = await still.task(await still.project())
    await still.intend(at_once)
    await still.see(at_once, Claim.FAILED, job="at once", source=Source.LOOK_UP, external_id=at_once.id)
    hanging, _ = await bought(still)
    still.clock.advance(8000)
    await still.see(hanging, Claim.RUNNING, job=f"job-{hanging.id}")
    assert (await still.now(hanging)).status is TaskStatus.EXPIRED
    assert (await still.now(found)).status is (await still.now(at_once)).status is TaskStatus.FAILED
    await made.run_once()
    assert made.told("cloudsway") == []


async def test_kinds_are_told_apart_and_an_unknown_one_begins_with_the_whole(still: Rig) -> None:
    still.account("ulazai", callbacks=Callbacks.OFF)
    made, project = learning(still), await still.project()
    for _ in range(20):
        for mode, seconds in (("std", 60), ("pro", 140)):
            task = await still.task(project, account="ulazai", input=f'{{"duration": 5, "mode": "{mode}"}}')
            await still.bound(task)
            still.clock.advance(seconds - 5)
            await still.see(task, Claim.RUNNING, job=f"job-{task.id}")
            still.clock.advance(5)
            await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    await made.run_once()

    def middle(text: str) -> float:
        return made.curve(replace(task, input=text)).quantile(0.5)

    assert 53 < middle('{"duration": 5, "mode": "std"}') < 63
    assert 130 < middle('{"duration": 5, "mode": "pro"}') < 145
    assert middle('{"duration": 10, "mode": "pro"}') == made._curves[WHOLE].quantile(0.5)
    assert made.curve(replace(task, account="another")) is stated(120)


@pytest.mark.parametrize(
    ("text", "seconds", "level"),
    [
        ("{}", 0, ""),
        ('{"duration": 10, "resolution": "1080p"}', 10, "1080p"),
        ('{"duration": 5, "mode": "pro", "quality": "pro"}', 5, "pro"),
        ('{"duration": "5", "mode": null}', 0, ""),
    ],
)
async def test_a_kind_is_what_was_ordered(still: Rig, text: str, seconds: int, level: str) -> None:
    task = await still.task(await still.project(), input=text)
    assert kind_of(task) == Kind("cloudsway", "kling-3.0-turbo", seconds, level)


async def test_what_another_replica_learned_is_seen_within_a_minute_and_both_add_up(still: Rig) -> None:
    one, other = (Durations(still.database, Rules(still.accounts), clock=still.clock) for _ in range(2))
    await other.run_once()
    for made in (one, other):
        task, _ = await bought(still)
        still.recorder = Recorder(still.database, still.desk(), arrived=lambda _: None, heard=made.heard)
        still.clock.advance(60)
        await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    await one.run_once()
    await other.run_once()
    assert len(known(other)) == 2
    for _ in range(durations.LOOK_EVERY):
        await one.run_once()
    assert known(one) == known(other)


async def test_memory_is_bounded(still: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "FOLLOWED", 2)
    monkeypatch.setattr(durations, "KINDS", 2)
    made = learning(still)
    tasks = [(await bought(still))[0] for _ in range(4)]
    still.clock.advance(30)
    for task in tasks:
        await still.see(task, Claim.RUNNING, job=f"job-{task.id}")
    assert set(made._alive) == {task.id for task in tasks[2:]}
    still.clock.advance(30)
    for task in tasks:
        await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    assert not made._alive
    await made.run_once()
    assert sorted(known(made)) == [(0, 60), (0, 60), (30, 60), (30, 60)]
    assert len(made._windows) <= 2


async def test_a_database_that_is_away_costs_examples_and_nothing_else(still: Rig) -> None:
    class Away:
        def __getattr__(self, name: str) -> Callable[[Unit[object]], object]:
            async def refuse(unit: Unit[object]) -> object:
                raise Unavailable("away")

            return refuse

    made = learning(still)
    database: Database = made._database
    task, _ = await bought(still)
    still.clock.advance(60)
    await still.see(task, Claim.FAILED, job=f"job-{task.id}")
    made._database = Away()  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        await made.store()
    made._database = database
    await made.run_once()
    assert made.told("cloudsway") == []
    assert made.curve(task) is stated(60.0)


async def test_a_row_that_was_spoilt_counts_as_none(still: Rig) -> None:
    await still.run(
        "INSERT INTO durations VALUES ('cloudsway', 'kling-3.0-turbo', 0, '', 'garbage', 1), ('gone', 'm', 0, '', '1 5', 1)"
    )
    made = learning(still)
    await made.run_once()
    assert made.told("cloudsway") == made.told("gone") == []
