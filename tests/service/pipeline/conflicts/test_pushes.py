"""C1 to C7, C9 and C11: what pushes, polls and replies say of one job, against each other, twice, too early or too late."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from service.core.lifecycle import Outcome
from service.core.observation import Claim, Reading, Source
from service.pipeline import pushes
from service.pipeline.accounts import Callbacks
from service.pipeline.callback import take
from service.providers.registry import PROVIDERS
from service.sandbox.script import Step
from storage import callbacks, outbox
from storage.callbacks import Orphan
from storage.errors import Duplicate
from storage.records import Event, LaneKind, Output, SubmissionStatus, Task, TaskStatus
from tests.service.pipeline.conflicts.scene import (
    FORGED,
    asked,
    before_the_reply_is_recorded,
    bought,
    conflicts,
    desk,
    die,
    ended_once,
    hand_over,
    in_every_mode,
    kinds,
    owed,
    posted,
    pushed,
)
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig, open_rig

VIDEO = (Output(url="https://video.example/v.mp4"),)
CLOUDSWAY = (LaneKind.ACCOUNT, "cloudsway")
SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"
# Where a push decides nothing: by setting, or because it lacks the signature that the account demands.
ONLY_RINGS = [(Callbacks.VERIFY, None), (Callbacks.OFF, None), (Callbacks.TRUST, SECRET)]


def truth(rig: Rig, task: Task) -> dict[str, Any]:
    """A true success as the provider pushes it: what its query shows at this moment."""
    return {"outputs": [{"type": "video", "url": output_of(rig, task)}]}


def output_of(rig: Rig, task: Task) -> str:
    job = rig.job(task)
    return f"{job.asked['output_base']}/{job.id}.mp4?ksTime={int(job.updated_at) + 30 * 24 * 3600:x}"


@in_every_mode
async def test_c01_a_poll_and_a_push_that_race_in_two_processes_tell_one_end(rig: Rig, mode: Callbacks) -> None:
    other = await open_rig(rig.path, rig.clock, rig.network, owner="other")
    other.account(callbacks=mode)
    try:
        for _ in range(5):
            task = await bought(rig, mode)
            rig.world.finish(rig.job(task).id)
            said = truth(rig, task)
            job, outputs = rig.job(task).id, (Output(url=output_of(rig, task)),)
            await asyncio.gather(
                pushed(rig, task, "succeeded", **said),
                other.see(task, Claim.SUCCEEDED, job=job, outputs=outputs),
                pushed(other, task, "succeeded", **said, message="once more"),
                rig.see(task, Claim.RUNNING, job=job),
            )
            await rig.settle()
            ended = await ended_once(rig, task, TaskStatus.SUCCEEDED)
            assert (await kinds(rig, task)).count("succeeded") == 1
            assert ended.outputs[0].url == outputs[0].url
    finally:
        await other.close()


async def test_c01_the_database_itself_refuses_a_second_hard_end_and_a_sequence_used_twice(rig: Rig) -> None:
    task = await bought(rig, Callbacks.VERIFY)
    await rig.see(task, Claim.SUCCEEDED, job=rig.job(task).id, outputs=VIDEO)
    sequence = (await rig.now(task)).sequence

    def event(id: str, sequence: int, hard: bool) -> Event:
        return Event(
            id=id,
            project_id=task.project_id,
            task_id=task.id,
            provider=task.provider,
            model=task.model,
            type="task.failed",
            sequence=sequence,
            created_at=rig.clock(),
            body=b"{}",
            hard=hard,
        )

    for forbidden in (event("evt_1", sequence + 1, True), event("evt_2", sequence, False)):
        with pytest.raises(Duplicate):
            await rig.database.write(lambda tx, made=forbidden: outbox.publish(tx, [made], []))  # type: ignore[misc]


@pytest.mark.parametrize("failed", [False, True])
@in_every_mode
async def test_c02_the_first_verified_verdict_wins_and_a_contradiction_is_told_once(
    rig: Rig, mode: Callbacks, failed: bool
) -> None:
    task = await bought(rig, mode)
    job = rig.job(task).id
    rig.world.finish(job, failed=failed)
    await rig.stretch(120)
    first = TaskStatus.FAILED if failed else TaskStatus.SUCCEEDED
    ended = await ended_once(rig, task, first)
    contrary = Claim.SUCCEEDED if failed else Claim.FAILED
    for _ in range(3):  # polls that were under way, in one process or several
        await rig.see(task, contrary, job=job, outputs=VIDEO if failed else ())
        rig.clock.advance(1)
    await rig.settle()
    now = await ended_once(rig, task, first)
    assert replace(now, version=0, sequence=0) == replace(ended, version=0, sequence=0)
    assert (await rig.events(task)).count("task.conflict") == 1
    everything, ends = await owed(rig, task)
    assert (everything.count("task.conflict"), ends.count("task.conflict")) == (1, 0)
    assert len(rig.received("task.conflict")) == 1
    assert set(await conflicts(rig, task)) == {"verdict"}


@in_every_mode
async def test_c02_a_push_that_contradicts_counts_only_where_pushes_decide(rig: Rig, mode: Callbacks) -> None:
    task = await bought(rig, mode)
    rig.world.finish(rig.job(task).id)
    await rig.stretch(120)
    queries = len(asked(rig, "query"))
    for message in ("one", "two"):
        await pushed(rig, task, "failed", message=message)
    await rig.stretch(10)
    await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert (await rig.events(task)).count("task.conflict") == (mode is Callbacks.TRUST)
    assert len(asked(rig, "query")) == queries, "nobody asks after a task whose end is final"


@pytest.mark.parametrize(("mode", "secret"), ONLY_RINGS)
async def test_c03_the_query_decides_and_a_lagging_one_is_asked_again_after_2_5_15_and_30_seconds(
    rig: Rig, mode: Callbacks, secret: str | None
) -> None:
    task = await bought(rig, mode)
    rig.account(callbacks=mode, webhook_secret=secret)
    rig.world.begin(rig.job(task).id)
    rung = rig.clock() / SECOND
    await pushed(rig, task, "succeeded")
    await rig.stretch(53)
    waits = [round(query.at - rung) for query in rig.job(task).queries]
    assert waits == [0, 2, 7, 22, 52]
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    assert (await kinds(rig, task)).count("push_not_confirmed") == 1
    rig.world.finish(rig.job(task).id)
    await rig.stretch(300)
    ended = await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert [output.url for output in ended.outputs] == [output_of(rig, task)] != [FORGED]


@pytest.mark.parametrize(("mode", "secret"), ONLY_RINGS)
async def test_c03_a_query_that_catches_up_ends_the_task_at_once(rig: Rig, mode: Callbacks, secret: str | None) -> None:
    task = await bought(rig, mode)
    rig.account(callbacks=mode, webhook_secret=secret)
    await pushed(rig, task, "failed")
    await rig.stretch(8)
    rig.world.finish(rig.job(task).id)  # the push had lied about how
    await rig.stretch(15)
    await ended_once(rig, task, TaskStatus.SUCCEEDED)


@in_every_mode
async def test_c04_a_word_that_lies_behind_changes_nothing(rig: Rig, mode: Callbacks) -> None:
    task = await bought(rig, mode)
    job = rig.job(task).id
    rig.world.begin(job)
    await pushed(rig, task, "processing")
    await rig.stretch(3)
    running = await rig.now(task)
    assert running.phase == "running"
    await pushed(rig, task, "submitted", update_time=2_000_000_000_000)  # however new it says it is
    await rig.see(task, Claim.WAITING, job=job, provider_status="submitted")
    now = await rig.now(task)
    assert (now.phase, now.provider_status, now.sequence) == ("running", "processing", running.sequence)
    rig.world.finish(job)
    await pushed(rig, task, "succeeded", **truth(rig, task))
    await rig.stretch(3)
    ended = await ended_once(rig, task, TaskStatus.SUCCEEDED)
    for word in ("processing", "submitted"):
        await pushed(rig, task, word, message="late")
    await rig.stretch(3)
    assert await rig.now(task) == ended
    assert await rig.events(task) == ["task.submitted", "task.processing", "task.succeeded"]


@in_every_mode
async def test_c05_a_push_a_hundred_times_is_one_observation_one_query_and_one_event(rig: Rig, mode: Callbacks) -> None:
    task = await bought(rig, mode)
    rig.world.finish(rig.job(task).id)
    said = truth(rig, task)
    again = await asyncio.gather(*(pushed(rig, task, "succeeded", **said) for _ in range(50)))
    assert [one.outcome for one in again].count(Outcome.IGNORED) == 49
    await rig.settle()
    for _ in range(50):  # and after its end, and after a restart
        assert (await pushed(rig, task, "succeeded", **said)).outcome is Outcome.IGNORED
        rig.clock.advance(0.1)
    die(rig)
    await hand_over(rig)
    await rig.settle()
    [(kept,)] = await rig.rows("SELECT count(*) FROM observations WHERE source = 'callback'")
    assert (kept, len(asked(rig, "query"))) == (1, 0 if mode is Callbacks.TRUST else 1)
    await ended_once(rig, task, TaskStatus.SUCCEEDED)


@in_every_mode
async def test_c06_a_push_before_the_reply_is_no_second_truth(rig: Rig, mode: Callbacks) -> None:
    async def overtake() -> None:
        job = rig.job(task)
        rig.world.begin(job.id)
        await pushed(rig, task, "processing", id=job.id)

    before_the_reply_is_recorded(rig, overtake)
    task = await _queued(rig, mode)
    await rig.settle()
    assert (await rig.now(task)).provider_task_id == rig.job(task).id
    assert await rig.events(task) == ["task.submitted", "task.processing"]
    [made] = await rig.submissions(task)
    assert (made.status, made.provider_task_id) == (SubmissionStatus.ACCEPTED, rig.job(task).id)
    assert await rig.bells() == 0
    assert [query.by for query in rig.job(task).queries] == ([] if mode is Callbacks.TRUST else ["id"])


async def _queued(rig: Rig, mode: Callbacks, directives: str = "no-push") -> Task:
    rig.account(callbacks=mode)
    project = await rig.project()
    await rig.endpoint(project, events="task.*")
    await rig.endpoint(project)
    return await rig.task(project, prompt=f"A boat. [sandbox: {directives}]")


@in_every_mode
async def test_c06_the_whole_life_may_be_pushed_before_the_reply(rig: Rig, mode: Callbacks) -> None:
    async def overtake() -> None:
        job = rig.job(task)
        rig.world.finish(job.id)
        for word in ("succeeded", "submitted", "processing"):
            await pushed(rig, task, word, id=job.id, **(truth(rig, task) if word == "succeeded" else {}))

    before_the_reply_is_recorded(rig, overtake)
    task = await _queued(rig, mode)
    await rig.settle()
    ended = await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert ended.outputs[0].url == output_of(rig, task)
    assert await rig.events(task) == ["task.submitted", "task.succeeded"]
    assert len(asked(rig, "create")) == 1


async def test_c06_a_reply_that_names_another_job_than_the_push_had_bound_is_told_and_binds_nothing(rig: Rig) -> None:
    async def overtake() -> Reading:
        await pushed(rig, task, "processing", id=rig.job(task).id)
        return Reading(claim=Claim.ACCEPTED, provider_task_id="777")

    before_the_reply_is_recorded(rig, overtake)
    task = await _queued(rig, Callbacks.TRUST)
    await rig.settle()
    assert (await rig.now(task)).provider_task_id == rig.job(task).id
    assert await conflicts(rig, task) == ["surplus"]
    assert len(rig.received("task.conflict")) == 1
    [made] = await rig.submissions(task)
    assert made.provider_task_id == "777", "what was replied is kept, whatever became of it"


@in_every_mode
async def test_c06_a_process_that_dies_between_the_push_and_the_reply_buys_nothing_twice(
    rig: Rig, mode: Callbacks
) -> None:
    heard, gone = asyncio.Event(), asyncio.Event()

    async def overtake() -> None:
        await pushed(rig, task, "processing", id=rig.job(task).id)
        heard.set()
        await gone.wait()

    before_the_reply_is_recorded(rig, overtake)
    task = await _queued(rig, mode)
    turning = asyncio.create_task(rig.settle())
    async with asyncio.timeout(60):
        await heard.wait()
    turning.cancel()
    dying = rig.workers[CLOUDSWAY]
    die(rig)
    await hand_over(rig)
    await rig.stretch(60)
    found = await rig.now(task)
    assert (found.status, found.provider_task_id) == (TaskStatus.PROCESSING, rig.job(task).id)
    gone.set()  # and should it have been alive after all, its late reply finds nothing to do
    await dying.stop()
    await rig.settle()
    assert replace(await rig.now(task), due_at=found.due_at, version=found.version) == found
    rig.world.finish(rig.job(task).id)
    await rig.stretch(200)
    await ended_once(rig, task, TaskStatus.SUCCEEDED)
    assert len(asked(rig, "create")) == 1


@pytest.mark.parametrize("echo", [None, "task_of_somebody_else", ""])
@in_every_mode
async def test_c06_a_push_that_does_not_echo_our_id_binds_nothing(rig: Rig, mode: Callbacks, echo: str | None) -> None:
    async def overtake() -> Reading:
        await pushed(rig, task, "succeeded", id="911", external_id=echo)
        return Reading(claim=Claim.AMBIGUOUS, detail="the reply was lost")

    before_the_reply_is_recorded(rig, overtake)
    task = await _queued(rig, mode)
    await rig.stretch(60)
    found = await rig.now(task)
    assert (found.status, found.provider_task_id) == (TaskStatus.PROCESSING, rig.job(task).id)


async def test_c07_a_push_for_a_task_nobody_knows_is_kept_once_counted_and_shown(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    contract = PROVIDERS["cloudsway"]
    with caplog.at_level(logging.ERROR, "taskrelay.record"):
        for body in (b'{"id":"1"}', b'{"id":"1"}', b"\xff\x00"):
            told = await take(contract, "sub_restored", {}, body, desk(rig))
            assert (told.outcome, told.task) == (Outcome.IGNORED, None)
            rig.clock.advance(1)
    assert rig.recorder.orphans == {"cloudsway": 2}
    assert [record.args[1] for record in caplog.records if record.args] == ["sub_restored"] * 2  # type: ignore[index]
    kept = await rig.database.read(lambda tx: callbacks.orphans(tx, batch=10))
    assert [(one.provider, one.submission_id, one.raw) for one in kept] == [
        ("cloudsway", "sub_restored", b"\xff\x00"),
        ("cloudsway", "sub_restored", b'{"id":"1"}'),
    ]
    assert await rig.rows("SELECT count(*) FROM observations") == [(0,)]


async def test_c07_no_more_than_ten_thousand_are_kept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert pushes.ORPHANS_KEPT == 10_000
    monkeypatch.setattr(pushes, "ORPHANS_KEPT", 3)
    with caplog.at_level(logging.ERROR, "taskrelay.record"):
        for number in range(50):
            await take(PROVIDERS["cloudsway"], f"sub_{number}", {}, b"{}", desk(rig))
    assert await rig.database.read(callbacks.count_orphans) == 3
    assert rig.recorder.orphans == {"cloudsway": 50}
    assert len(caplog.records) == 4, "one line each, and one that says that there is no more room"


@in_every_mode
async def test_c07_a_push_that_was_an_orphan_counts_once_its_task_is_back(rig: Rig, mode: Callbacks) -> None:
    """A database restored without the task, and then with it: the provider sends its push again, and it is no duplicate."""
    task = await bought(rig, mode)
    rig.world.finish(rig.job(task).id)
    said = truth(rig, task)
    unknown = "sub_elsewhere"  # its name says nothing of a task that is there
    contract = PROVIDERS["cloudsway"]
    body = b'{"id":"%s","status":"succeeded"}' % rig.job(task).id.encode()
    assert (await take(contract, unknown, {}, body, desk(rig))).task is None
    await rig.run("UPDATE submissions SET id = :id", id=unknown)
    assert (await take(contract, unknown, {}, body, desk(rig))).task is not None
    await pushed(rig, task, "succeeded", **said)
    await rig.settle()
    await ended_once(rig, task, TaskStatus.SUCCEEDED)
    [orphan] = await rig.database.read(lambda tx: callbacks.orphans(tx, batch=10))
    assert isinstance(orphan, Orphan)


@in_every_mode
async def test_c09_a_push_about_another_job_only_rings_for_the_tokens_own_task(rig: Rig, mode: Callbacks) -> None:
    task = await bought(rig, mode)
    stranger = await bought(rig, mode)
    before = await rig.now(task)
    for job in (rig.job(stranger).id, "911", "x" * 200, 12):
        assert (await pushed(rig, task, "succeeded", id=job)).outcome is Outcome.SCHEDULED
    await rig.settle()
    now = await rig.now(task)
    assert (now.status, now.provider_task_id, now.outputs) == (TaskStatus.PROCESSING, before.provider_task_id, ())
    assert await rig.events(task) == ["task.submitted"]
    assert len(rig.job(task).queries) == 1, "it was asked after its own job, once for all of them"
    assert (await rig.now(stranger)).status is TaskStatus.PROCESSING
    assert not rig.job(stranger).queries
    assert await rig.bells() == 0


@in_every_mode
async def test_c11_a_word_nobody_knows_is_kept_counted_and_never_an_end(rig: Rig, mode: Callbacks) -> None:
    task = await bought(rig, mode, "no-push, unknown-word")
    rig.world.begin(rig.job(task).id)
    strange = (b"", b"null", b"[]", b'{"status":[]}', b"\xff\xfe", b'{"id":"%s"}' % rig.job(task).id.encode())
    for body in strange:
        await posted(rig, task, body)
    for word in ("reviewing", "FAILURE", "", 7, None, {"a": 1}):
        await pushed(rig, task, word)  # type: ignore[arg-type]
    await rig.stretch(200)
    now = await rig.now(task)
    assert (now.status, now.provider_status) == (TaskStatus.PROCESSING, "reviewing")
    assert "unknown_vocabulary" in await kinds(rig, task)
    assert rig.recorder.unknown_vocabulary["cloudsway"] >= 1
    raw = {body for (body,) in await rig.rows("SELECT raw FROM observations WHERE source = 'callback'")}
    assert raw >= set(strange)
    rig.world.finish(rig.job(task).id)
    await rig.stretch(400)
    await ended_once(rig, task, TaskStatus.SUCCEEDED)


@in_every_mode
async def test_c11_an_answer_in_words_nobody_knows_ends_at_the_deadline_and_never_fails(
    rig: Rig, mode: Callbacks
) -> None:
    task = await bought(rig, mode, "no-push, unknown-word", deadline_seconds=900)
    rig.world.begin(rig.job(task).id)
    rig.world.script.queries.append(Step(directive="garbage", times=3))
    await rig.stretch(899)
    assert (await rig.now(task)).status is TaskStatus.PROCESSING
    await rig.stretch(120)
    ended = await ended_once(rig, task, TaskStatus.EXPIRED)
    assert not ended.final
    row = [kind for (kind,) in await rig.rows("SELECT source FROM observations WHERE claim = 'unknown'")]
    assert Source.POLL.value in row
