"""Two replicas hear of the same task at the same moment: the row decides who was first, and the other sees that."""

from __future__ import annotations

import asyncio

import pytest

from service.core import events
from service.core.events import EventType
from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.ledger import Recorded
from storage.database import Connection
from storage.records import Output, Task, TaskStatus
from tests.races.replicas import hand
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig

pytestmark = pytest.mark.slow

ROUNDS, AT_ONCE = 20, 50  # F16: a thousand races; five thousand were made by hand
VIDEO = (Output(url="https://cdn.example.net/a.mp4"),)


def intent(rig: Rig, task: Task, number: int = 1) -> Observation:
    return Observation(
        task_id=task.id,
        source=Source.SUBMIT,
        reading=Reading(claim=Claim.INTENT),
        at=rig.clock(),
        submission_id=f"sub_{task.id}_{number}_{rig.owner}",
        submission_deadline_at=rig.clock() + 30 * SECOND,
    )


def said(rig: Rig, task: Task, claim: Claim, job: str | None = None) -> Observation:
    """A person's word."""
    return rig.seen(task, claim, job=job, source=Source.OPERATOR)


async def both(one: Rig, first: Observation, two: Rig, second: Observation) -> tuple[Recorded, Recorded]:
    return await asyncio.gather(one.recorder.record(first), two.recorder.record(second))


async def in_doubt(rig: Rig, project: str) -> Task:
    task = await rig.task(project)
    submission = await rig.intend(task)
    await rig.see(task, Claim.AMBIGUOUS, submission=submission, source=Source.SUBMIT)
    rig.clock.advance(60)
    return task


async def test_a_push_at_one_and_a_poll_at_another_make_one_end_with_one_id(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    for _ in range(ROUNDS):
        tasks = [await one.task(project) for _ in range(AT_ONCE)]
        bought = await asyncio.gather(*(one.bound(task) for task in tasks))
        polls = [one.seen(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO) for task in tasks]
        pushes = [
            two.callback(
                submission,
                Claim.SUCCEEDED,
                body=task.id.encode(),
                provider_task_id=f"job-{task.id}",
                external_id=task.id,
                outputs=VIDEO,
            )
            for task, submission in zip(tasks, bought, strict=True)
        ]
        heard = await asyncio.gather(
            *(one.recorder.record(poll) for poll in polls), *(two.recorder.record(push) for push in reversed(pushes))
        )
        ended = sum(became.outcome is Outcome.CHANGED for became in heard)
        assert ended == AT_ONCE
    rows = await one.rows("SELECT id, task_id FROM events WHERE hard = 1")
    assert len(rows) == ROUNDS * AT_ONCE
    assert all(id == events.event_id(b"ins_test", str(task), EventType.TASK_SUCCEEDED, "") for id, task in rows)
    assert await one.rows("SELECT 1 FROM events WHERE type = 'task.conflict'") == []


async def test_what_is_canceled_is_never_bought(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    for _ in range(40):
        task = await one.task(project)
        wish, buying = await both(one, said(one, task, Claim.CANCEL), two, intent(two, task))
        assert {wish.outcome, buying.outcome} == {Outcome.CHANGED, Outcome.IGNORED}
        found = await one.now(task)
        assert found.status is (TaskStatus.CANCELED if wish.outcome is Outcome.CHANGED else TaskStatus.SUBMITTING)
        assert len(await one.submissions(task)) == (buying.outcome is Outcome.CHANGED)


async def test_two_people_who_settle_a_doubt_at_once_buy_at_most_once_more(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    for n in range(40):
        task = await in_doubt(one, project)
        adopt, _ = await both(one, said(one, task, Claim.ADOPT, f"job-{n}"), two, said(two, task, Claim.RESUBMIT))
        buying = await both(one, intent(one, task, 2), two, intent(two, task, 2))
        bought = sum(became.outcome is Outcome.CHANGED for became in buying)
        assert (adopt.outcome, bought) == (Outcome.CHANGED, 0), "a job that is known is never bought once more"


async def test_one_permission_buys_one_job_whoever_is_asked_for_it(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    for _ in range(40):
        task = await in_doubt(one, project)
        words = await both(one, said(one, task, Claim.RESUBMIT), two, said(two, task, Claim.RESUBMIT))
        assert sorted(word.outcome for word in words) == [Outcome.IGNORED, Outcome.SCHEDULED]
        buying = await both(one, intent(one, task, 2), two, intent(two, task, 2))
        assert sum(became.outcome is Outcome.CHANGED for became in buying) == 1


async def test_a_job_that_two_tasks_are_told_of_at_once_is_bound_to_one_and_the_other_is_told_so(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    project = await one.project()
    first, second = await in_doubt(one, project), await in_doubt(one, project)
    async with hand(address) as third:
        # Both have looked who owns the job, and nobody did.
        await third.run("LOCK TABLE observations, timeline IN EXCLUSIVE MODE")
        found = asyncio.gather(
            *(
                rig.recorder.record(
                    rig.seen(task, Claim.RUNNING, job="job-1", source=Source.LOOK_UP, external_id=task.id)
                )
                for rig, task in ((one, first), (two, second))
            )
        )
        await third.stopped(2)
    became = await found
    assert sorted(told.outcome for told in became) == [Outcome.CHANGED, Outcome.CONFLICT]
    bound = [(await one.now(task)).provider_task_id for task in (first, second)]
    assert sorted(map(str, bound)) == ["None", "job-1"]


async def test_a_deadline_and_a_verdict_in_the_same_moment_end_it_once_for_good(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    for _ in range(40):
        task = await one.task(project, deadline_seconds=60)
        await one.bound(task)
        one.clock.advance(61)
        still_running = one.seen(task, Claim.RUNNING, job=f"job-{task.id}")
        await both(one, still_running, two, two.seen(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO))
        found = await one.now(task)
        assert (found.status, found.final) == (TaskStatus.SUCCEEDED, True), "also after a soft end"
        told = [kind for kind in await one.events(task) if kind in ("task.expired", "task.succeeded")]
        assert told in (["task.succeeded"], ["task.expired", "task.succeeded"])


@pytest.mark.parametrize("claim", [Claim.RUNNING, Claim.UNKNOWN])
async def test_the_same_push_at_two_doors_in_the_same_moment_is_one_observation(
    replicas: tuple[Rig, Rig], claim: Claim
) -> None:
    one, two = replicas
    project = await one.project()
    for _ in range(40):
        task = await one.task(project)
        submission = await one.bound(task)
        push = one.callback(submission, claim, body=b"same", provider_task_id=f"job-{task.id}")
        heard = await asyncio.gather(one.recorder.record(push), two.recorder.record(push))
        assert sum(became.outcome is not Outcome.IGNORED for became in heard) == 1
        rows = await one.rows("SELECT version FROM observations WHERE task_id = :id AND digest IS NOT NULL", id=task.id)
        assert len(rows) == 1


async def test_a_push_while_its_task_is_taken_away_is_kept_as_one_of_a_task_nobody_knows(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    task = await one.task(await one.project())
    submission = await one.bound(task)
    await one.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)
    async with hand(address) as third:
        for table in ("observations", "timeline", "submissions", "events"):
            await third.run(f"DELETE FROM {table} WHERE task_id = $1", task.id)  # noqa: S608 (names of ours)
        await third.run("DELETE FROM tasks WHERE id = $1", task.id)
        late = asyncio.create_task(two.recorder.record(two.callback(submission, Claim.SUCCEEDED, body=b"late")))
        await third.stopped()
    assert (await late).task is None
    assert await one.rows("SELECT submission_id FROM callbacks") == [(submission,)]


async def test_what_is_told_later_of_a_task_stands_later_in_the_feed(replicas: tuple[Rig, Rig]) -> None:
    """Places follow the numbers of transactions, and one may have its number long before it comes to the task."""
    one, two = replicas
    task = await one.task(await one.project())
    await one.bound(task)
    held, numbered, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold(tx: Connection) -> None:
        await held.wait()

    async def take_a_number(tx: Connection) -> None:
        await tx.fetch("SELECT pg_current_xact_id()")
        numbered.set()
        await go.wait()

    before = asyncio.create_task(one.database.write(hold))
    await asyncio.sleep(0)
    beside = asyncio.create_task(one.database.write(take_a_number))
    end = asyncio.create_task(one.recorder.record(one.seen(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)))
    for _ in range(5):
        await asyncio.sleep(0)  # both stand in line, so they share a transaction
    held.set()
    await numbered.wait()
    await two.recorder.record(two.seen(task, Claim.RUNNING, job=f"job-{task.id}"))
    go.set()
    await asyncio.gather(before, beside, end)
    told = await one.database.read(
        lambda tx: tx.fetch("SELECT sequence FROM events WHERE task_id = :id ORDER BY position", {"id": task.id})
    )
    assert len(told) >= 2 and told == sorted(told)
