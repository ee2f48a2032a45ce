from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Source
from service.pipeline import record as recording
from service.pipeline.accounts import Callbacks
from service.pipeline.record import Batch, Callback
from service.pipeline.recorder import Recorder
from storage.database import Connection, Database, T, Unit
from storage.errors import Stale, StorageError
from storage.records import EndpointStatus, LaneKind, Output, SubmissionStatus, Task, TaskStatus
from tests.service.pipeline.parties import SECOND, Wrapped
from tests.service.pipeline.rig import Rig, open_rig

VIDEO = (Output(url="https://video.example/v.mp4"),)


async def bound_task(rig: Rig, **more: object) -> tuple[Task, str]:
    """A task at its provider, and its submission."""
    task = await rig.task(await rig.project(), **more)  # type: ignore[arg-type]
    return task, await rig.bound(task, f"job-{task.id}")


def succeeded(rig: Rig, task: Task, **more: object) -> object:
    return rig.seen(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO, **more)  # type: ignore[arg-type]


# Batches


async def test_one_transaction_takes_many_tasks_and_several_observations_of_each(still: Rig) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project, events="task.*")
    made = [await still.task(project) for _ in range(20)]
    for task in made:
        await still.bound(task)
    before = len(still.batches)
    seen = []
    for claim in (Claim.RUNNING, Claim.SUCCEEDED):
        seen += [still.seen(task, claim, job=f"job-{task.id}", outputs=VIDEO) for task in made]
    recorded = await still.recorder.record_all(seen)
    assert len(still.batches) == before + 1
    assert {one.outcome for one in recorded} == {Outcome.CHANGED}
    for task in made:
        assert (await still.now(task)).status is TaskStatus.SUCCEEDED
        assert await still.events(task) == ["task.submitted", "task.processing", "task.succeeded"]
    assert len(await still.deliveries(endpoint)) == 60


async def test_a_failure_in_the_last_statement_leaves_nothing_behind(still: Rig) -> None:
    task, _ = await bound_task(still)
    await still.endpoint(task.project_id)
    tables = ("tasks", "timeline", "events", "deliveries", "observations")
    before = {table: await still.rows(f"SELECT * FROM {table}") for table in tables}  # noqa: S608
    await still.run(
        "CREATE TRIGGER boom BEFORE INSERT ON lanes WHEN new.kind = 'endpoint' BEGIN SELECT RAISE(ABORT, 'boom'); END"
    )
    with pytest.raises(StorageError, match="boom"):
        await still.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)
    assert {table: await still.rows(f"SELECT * FROM {table}") for table in tables} == before  # noqa: S608
    await still.run("DROP TRIGGER boom")
    await still.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO)
    assert (await still.events(task))[-1] == "task.succeeded"
    assert len(await still.timeline(task)) == (await still.now(task)).version


async def test_a_poison_observation_fails_alone(still: Rig) -> None:
    made = [(await bound_task(still))[0] for _ in range(9)]
    poison = made[4]
    await still.run(
        f"CREATE TRIGGER poison BEFORE INSERT ON timeline WHEN new.task_id = '{poison.id}' "
        "BEGIN SELECT RAISE(ABORT, 'poison'); END"
    )
    results = await asyncio.gather(
        *(still.see(task, Claim.SUCCEEDED, job=f"job-{task.id}", outputs=VIDEO) for task in made),
        return_exceptions=True,
    )
    assert [isinstance(one, StorageError) for one in results] == [task is poison for task in made]
    assert {(await still.now(task)).status for task in made if task is not poison} == {TaskStatus.SUCCEEDED}
    assert (await still.now(poison)).status is TaskStatus.PROCESSING


async def test_two_tasks_that_claim_one_job_in_the_same_moment_do_not_both_get_it(still: Rig) -> None:
    project = await still.project()
    one, other = await still.task(project), await still.task(project)
    seen = [
        still.seen(task, Claim.ACCEPTED, job="18", submission=await still.intend(task), source=Source.SUBMIT)
        for task in (one, other)
    ]
    first, second = await still.recorder.record_all(seen)
    assert (first.outcome, second.outcome) == (Outcome.CHANGED, Outcome.CONFLICT)
    assert (await still.now(one)).provider_task_id == "18"
    assert (await still.now(other)).provider_task_id is None


async def test_who_waits_for_a_batch_hears_of_it_even_when_the_lanes_cannot_be_told(still: Rig) -> None:
    task = await still.task(await still.project())

    def broken(batch: Batch) -> None:
        raise ValueError("a lane is broken")

    recorder = Recorder(still.database, still.desk(), arrived=broken)
    async with asyncio.timeout(5):
        told = await recorder.record(still.seen(task, Claim.CANCEL, source=Source.OPERATOR))
    assert told.outcome is Outcome.CHANGED


class FirstIsStale(Wrapped):
    """A database whose first writes find, at their very end, that another writer was faster."""

    def __init__(self, inner: Database, times: int = 1) -> None:
        super().__init__(inner)
        self.times = times

    async def write(self, unit: Unit[T], /) -> T:
        async def stale(tx: Connection) -> T:
            await unit(tx)
            raise Stale("a test was first")

        self.times -= 1
        return await super().write(stale if self.times >= 0 else unit)


async def test_a_batch_that_lost_a_race_is_folded_anew(still: Rig) -> None:
    task, _ = await bound_task(still)
    recorder = Recorder(FirstIsStale(still.database, 3), still.desk(), arrived=lambda batch: None)
    recorded = await recorder.record(succeeded(still, task))  # type: ignore[arg-type]
    assert recorded.outcome is Outcome.CHANGED
    assert await still.events(task) == ["task.submitted", "task.succeeded"]
    assert [entry.kind for entry in await still.timeline(task)].count("succeeded") == 1


async def test_a_batch_that_always_loses_is_given_up_and_says_so(still: Rig) -> None:
    task, _ = await bound_task(still)
    recorder = Recorder(FirstIsStale(still.database, 1000), still.desk(), arrived=lambda batch: None)
    with pytest.raises(StorageError, match="kept changing"):
        await recorder.record(succeeded(still, task))  # type: ignore[arg-type]


async def test_two_processes_that_race_on_one_task_tell_one_end(still: Rig) -> None:
    other = await open_rig(still.path, still.clock, None)
    other.account()
    try:
        for _ in range(15):
            task, _ = await bound_task(still)
            await asyncio.gather(
                *(
                    one.see(task, claim, job=f"job-{task.id}", outputs=VIDEO if claim is Claim.SUCCEEDED else ())
                    for one, claim in ((still, Claim.SUCCEEDED), (other, Claim.FAILED), (other, Claim.SUCCEEDED))
                )
            )
            ends = [kind for kind in await still.events(task) if kind in ("task.succeeded", "task.failed")]
            assert len(ends) == 1
            sequences = await still.rows(
                "SELECT sequence FROM events WHERE task_id = :id ORDER BY position", id=task.id
            )
            assert sequences == sorted(set(sequences))
    finally:
        await other.close()


# Pushes


async def test_the_same_push_twice_is_one_observation_and_one_event(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task, submission = await bound_task(still)
    push = still.callback(
        submission, Claim.SUCCEEDED, provider_task_id=f"job-{task.id}", outputs=VIDEO, body=b'{"status":"succeeded"}'
    )
    first, second = await still.recorder.record_all([push, push])
    third = await still.recorder.record(push)
    assert [one.outcome for one in (first, second, third)] == [Outcome.CHANGED, Outcome.IGNORED, Outcome.IGNORED]
    [(count,)] = await still.rows("SELECT count(*) FROM observations WHERE source = 'callback'")
    assert count == 1
    assert (await still.events(task)).count("task.succeeded") == 1


async def test_in_verify_mode_a_push_is_kept_and_only_rings(still: Rig) -> None:
    task, submission = await bound_task(still)
    still.clock.advance(1)
    body = b'{"status": "succeeded", "id": "x"}'
    told = await still.recorder.record(
        still.callback(submission, Claim.SUCCEEDED, provider_task_id=f"job-{task.id}", outputs=VIDEO, body=body)
    )
    assert told.outcome is Outcome.SCHEDULED
    assert (await still.now(task)).status is TaskStatus.PROCESSING
    assert await still.rows("SELECT raw, verified_at FROM observations WHERE source = 'callback'") == [(body, None)]
    assert still.batches[-1].arrivals == {(LaneKind.ACCOUNT, "cloudsway"): still.clock()}
    lane = await still.lane(LaneKind.ACCOUNT, "cloudsway")
    assert lane.next_due_at is not None and lane.next_due_at <= still.clock()


async def test_a_trusted_push_of_an_unknown_job_must_name_our_own_id(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task = await still.task(await still.project())
    submission = await still.intend(task)
    for external_id in (None, "task_of_somebody_else"):
        told = await still.recorder.record(
            still.callback(
                submission,
                Claim.SUCCEEDED,
                provider_task_id="18",
                external_id=external_id,
                outputs=VIDEO,
                body=repr(external_id).encode(),
            )
        )
        assert told.outcome is Outcome.SCHEDULED
    assert (await still.now(task)).status is TaskStatus.SUBMITTING
    told = await still.recorder.record(
        still.callback(submission, Claim.SUCCEEDED, provider_task_id="18", external_id=task.id, outputs=VIDEO)
    )
    assert told.outcome is Outcome.CHANGED
    done = await still.now(task)
    assert (done.status, done.provider_task_id) == (TaskStatus.SUCCEEDED, "18")


async def test_a_trusted_push_about_another_job_than_ours_only_rings(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task, submission = await bound_task(still)
    told = await still.recorder.record(
        still.callback(submission, Claim.SUCCEEDED, provider_task_id="stranger", outputs=VIDEO)
    )
    assert told.outcome is Outcome.SCHEDULED
    assert await still.bells() == 1
    assert (await still.now(task)).status is TaskStatus.PROCESSING


@pytest.mark.parametrize(("signed", "outcome"), [(False, Outcome.SCHEDULED), (True, Outcome.CHANGED)])
async def test_where_the_provider_signs_an_unsigned_push_only_rings(still: Rig, signed: bool, outcome: Outcome) -> None:
    still.account(callbacks=Callbacks.TRUST, webhook_secret="whsec_c2VjcmV0c2VjcmV0c2VjcmV0")
    task, submission = await bound_task(still)
    push = still.callback(submission, Claim.SUCCEEDED, provider_task_id=f"job-{task.id}", outputs=VIDEO, signed=signed)
    assert (await still.recorder.record(push)).outcome is outcome


@pytest.mark.parametrize("mode", list(Callbacks))
async def test_a_push_that_cannot_be_read_rings_whatever_the_mode(still: Rig, mode: Callbacks) -> None:
    still.account(callbacks=mode)
    _, submission = await bound_task(still)
    told = await still.recorder.record(still.callback(submission, Claim.UNKNOWN, body=b"\xff\x00<html>"))
    assert told.outcome is Outcome.SCHEDULED
    assert await still.bells() == 1


async def test_a_push_about_an_ended_task_rings_nobody(still: Rig) -> None:
    task, submission = await bound_task(still)
    await still.recorder.record(succeeded(still, task))  # type: ignore[arg-type]
    told = await still.recorder.record(still.callback(submission, Claim.FAILED, provider_task_id=f"job-{task.id}"))
    assert told.outcome is Outcome.IGNORED
    assert await still.bells() == 0
    assert still.batches[-1].arrivals == {}
    [(kept,)] = await still.rows("SELECT count(*) FROM observations WHERE source = 'callback'")
    assert kept == 1


async def test_a_push_nobody_knows_is_kept_once_and_not_without_end(
    still: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "ORPHANS_KEPT", 3)
    for number in (0, 0, 1, 2, 3, 4):
        told = await still.recorder.record(still.callback("sub_restored", Claim.SUCCEEDED, body=str(number).encode()))
        assert (told.outcome, told.task) == (Outcome.IGNORED, None)
    assert await still.rows("SELECT raw FROM callbacks ORDER BY received_at, raw") == [(b"0",), (b"1",), (b"2",)]


async def test_what_is_kept_of_a_push_is_bounded(still: Rig) -> None:
    _, submission = await bound_task(still)
    await still.recorder.record(still.callback(submission, Claim.UNKNOWN, body=b"x" * 200_000))
    await still.recorder.record(still.callback("sub_gone", Claim.UNKNOWN, body=b"x" * 200_000))
    assert await still.rows("SELECT length(raw) FROM observations WHERE source = 'callback'") == [(16_384,)]
    assert await still.rows("SELECT length(raw) FROM callbacks") == [(16_384,)]


# Submissions


async def test_late_evidence_settles_its_submission_though_the_task_is_elsewhere(still: Rig) -> None:
    task = await still.task(await still.project())
    submission = await still.intend(task)
    await still.see(
        task, Claim.AMBIGUOUS, submission=None, source=Source.SUBMIT
    )  # the process ended; another recovered
    await still.see(task, Claim.RUNNING, job="18", source=Source.LOOK_UP)
    await still.see(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT)
    [kept] = await still.submissions(task)
    assert (kept.status, kept.provider_task_id) == (SubmissionStatus.ACCEPTED, "18")
    assert (await still.now(task)).status is TaskStatus.PROCESSING


async def test_an_intent_for_a_task_that_is_being_bought_makes_no_second_submission(still: Rig) -> None:
    task = await still.task(await still.project())
    await still.intend(task)
    await still.intend(task)
    assert len(await still.submissions(task)) == 1


async def test_a_second_job_for_one_task_is_told_and_never_bound(still: Rig) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project, events="task.conflict")
    task = await still.task(project)
    submission = await still.bound(task, "18")
    for _ in range(3):
        told = await still.see(task, Claim.ACCEPTED, job="19", submission=submission, source=Source.SUBMIT)
        assert told.outcome is Outcome.CONFLICT
    assert (await still.now(task)).provider_task_id == "18"
    assert (await still.events(task)).count("task.conflict") == 1, "the same contradiction is told once"
    assert len(await still.deliveries(endpoint)) == 1


async def test_the_same_contradiction_twice_in_one_batch_is_told_once_and_splits_nothing(still: Rig) -> None:
    task, submission = await bound_task(still)
    before = len(still.batches)
    seen = still.seen(task, Claim.ACCEPTED, job="19", submission=submission, source=Source.SUBMIT)
    recorded = await still.recorder.record_all([seen, seen])
    assert [one.outcome for one in recorded] == [Outcome.CONFLICT] * 2
    assert len(still.batches) == before + 1
    assert (await still.events(task)).count("task.conflict") == 1


# Events


async def test_events_go_to_those_who_want_them_and_to_nobody_else(still: Rig) -> None:
    project, stranger = await still.project(), await still.project()
    ends = await still.endpoint(project)
    everything = await still.endpoint(project, events="task.*")
    failures = await still.endpoint(project, events="task.failed")
    paused = await still.endpoint(project, status=EndpointStatus.PAUSED)
    disabled = await still.endpoint(project, status=EndpointStatus.DISABLED)
    foreign = await still.endpoint(stranger, events="*")
    hidden = await still.endpoint(project, url="https://hook.example", hidden=True)
    webhook = (hidden, "https://hook.example/mine?k=1", "task.succeeded,task.submitted")
    task = await still.task(project, webhook=webhook)
    unhooked = await still.task(project)
    for one in (task, unhooked):
        await still.bound(one, f"job-{one.id}")
        await still.see(one, Claim.SUCCEEDED, job=f"job-{one.id}", outputs=VIDEO)

    async def owed(endpoint: str) -> list[tuple[object, ...]]:
        return await still.rows(
            "SELECT d.event_type, d.url FROM deliveries d JOIN events e ON e.id = d.event_id"
            " WHERE d.endpoint_id = :id AND d.task_id = :task ORDER BY e.position",
            id=endpoint,
            task=task.id,
        )

    assert await owed(ends) == [("task.succeeded", None)]
    assert await owed(everything) == [("task.submitted", None), ("task.succeeded", None)]
    assert await owed(failures) == []
    assert await owed(paused) == [("task.succeeded", None)], "a paused endpoint is owed its events"
    assert await owed(disabled) == await owed(foreign) == []
    assert await owed(hidden) == [("task.submitted", webhook[1]), ("task.succeeded", webhook[1])]
    assert len(await still.deliveries(hidden)) == 2, "only the task that named it"


async def test_deliveries_of_a_commit_are_due_in_the_order_of_their_events(still: Rig) -> None:
    project = await still.project()
    endpoint = await still.endpoint(project, events="task.*")
    task = await still.task(project)
    submission = await still.intend(task)
    seen = [
        still.seen(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT),
        still.seen(task, Claim.RUNNING, job="18"),
        still.seen(task, Claim.SUCCEEDED, job="18", outputs=VIDEO),
    ]
    await still.recorder.record_all(seen)
    rows = await still.rows(
        "SELECT e.sequence, d.due_at FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.endpoint_id = :id"
        " ORDER BY d.due_at",
        id=endpoint,
    )
    assert [sequence for sequence, _ in rows] == [1, 2, 3]
    assert len({at for _, at in rows}) == 3
    assert [fresh.due.event_type for fresh in still.batches[-1].fresh] == [
        "task.submitted",
        "task.processing",
        "task.succeeded",
    ]


async def test_a_wide_fan_out_does_not_push_an_endpoints_delivery_behind_the_next_commit(still: Rig) -> None:
    project = await still.project()
    everybody = [await still.endpoint(project) for _ in range(20)]
    task = await still.task(project)
    await still.bound(task, "18")
    await still.see(task, Claim.SUCCEEDED, job="18", outputs=VIDEO)
    rows = await still.rows("SELECT endpoint_id, due_at FROM deliveries")
    assert {endpoint for endpoint, _ in rows} == set(everybody)
    assert {at for _, at in rows} == {still.clock()}


async def test_an_event_shows_the_task_as_the_step_left_it_and_keeps_its_bytes(still: Rig) -> None:
    project = await still.project()
    await still.endpoint(project)
    task = await still.task(project)
    await still.bound(task, "18")
    await still.see(task, Claim.SUCCEEDED, job="18", outputs=VIDEO)
    [(body,)] = await still.rows("SELECT body FROM events WHERE type = 'task.succeeded'")
    assert still.batches[-1].fresh[0].due.body == body
    told = orjson.loads(body)["data"]
    done = await still.now(task)
    assert (told["status"], told["sequence"], told["outputs"][0]["url"]) == (
        "succeeded",
        done.sequence,
        VIDEO[0].url,
    )
    assert told["output_url"] == f"https://relay.example/o/{task.id}"


async def test_every_step_stands_in_the_timeline_with_the_events_it_told(still: Rig) -> None:
    task, _ = await bound_task(still)
    await still.recorder.record(succeeded(still, task))  # type: ignore[arg-type]
    kinds = [entry.kind for entry in await still.timeline(task)]
    assert kinds == ["intent", "bound", "succeeded"]
    last = (await still.timeline(task))[-1]
    assert orjson.loads(last.detail)["events"] == ["task.succeeded"]
    assert last.source == Source.POLL


# Who has work when


async def test_a_change_tells_the_accounts_lane_when_to_look(still: Rig) -> None:
    task, _ = await bound_task(still)
    now = await still.now(task)
    assert now.due_at is not None and now.due_at > still.clock() + 60 * SECOND
    assert still.batches[-1].arrivals[LaneKind.ACCOUNT, "cloudsway"] == now.due_at


async def test_a_query_answers_the_bells_that_rang_before_it_was_asked(still: Rig) -> None:
    task, submission = await bound_task(still)
    await still.recorder.record(still.callback(submission, Claim.RUNNING, body=b"1"))
    asked_at = still.clock()
    still.clock.advance(1)
    await still.recorder.record(still.callback(submission, Claim.SUCCEEDED, body=b"2"))
    answer = replace(still.seen(task, Claim.RUNNING, job=f"job-{task.id}"), at=asked_at)
    await still.recorder.record(answer)
    assert await still.bells() == 1, "the second push came after the question"
    await still.see(task, Claim.UNREACHABLE)
    assert await still.bells() == 1, "a question that was not answered answers nobody"
    await still.see(task, Claim.RUNNING, job=f"job-{task.id}")
    assert await still.bells() == 0


async def test_a_push_and_the_reply_it_overtook_end_in_one_binding(still: Rig) -> None:
    still.account(callbacks=Callbacks.TRUST)
    task = await still.task(await still.project())
    submission = await still.intend(task)
    push: Callback = still.callback(
        submission, Claim.SUCCEEDED, provider_task_id="18", external_id=task.id, outputs=VIDEO
    )
    reply = still.seen(task, Claim.ACCEPTED, job="18", submission=submission, source=Source.SUBMIT)
    await still.recorder.record_all([push, reply])
    assert await still.events(task) == ["task.submitted", "task.succeeded"]
    [kept] = await still.submissions(task)
    assert kept.status is SubmissionStatus.ACCEPTED
