"""A job belongs to one task, its end is told once, and what contradicts is recorded and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.core.events import EventType
from service.core.lifecycle import SECOND, Outcome
from service.core.observation import Claim, Observation, Source
from storage.records import Charge, Failure, FailureCode, Output, Streak, Task, TaskStatus
from tests.service.core.builders import (
    ABANDONED,
    CANCELED,
    DAY,
    DEADLINE,
    EXPIRED,
    EXPIRED_UNBOUND,
    FAILED,
    HARD_ENDS,
    HOUR,
    JOB,
    MINUTE,
    NO_OUTPUT,
    OUTPUT,
    PROCESSING,
    QUEUED,
    RUNNING,
    SOFT_ENDS,
    START,
    SUBMITTING,
    SUCCEEDED,
    UNCONFIRMED,
    Life,
    changed_fields,
    look_up,
    poll,
    push,
    reply,
    see,
)

WHY = Failure(code=FailureCode.CONTENT_REJECTED, message="no", provider_message="blocked")
LATE = DEADLINE + HOUR


@pytest.mark.parametrize(
    ("task", "seen"),
    [
        (SUBMITTING, reply(Claim.ACCEPTED, provider_task_id=JOB)),
        (SUBMITTING, push(Claim.WAITING)),
        (UNCONFIRMED, reply(Claim.ACCEPTED, provider_task_id=JOB)),
        (UNCONFIRMED, look_up(Claim.WAITING, provider_task_id=JOB, external_id=QUEUED.id)),
        (UNCONFIRMED, push(Claim.WAITING)),
    ],
)
def test_t3_whoever_names_the_job_binds_it(task: Task, seen: Observation) -> None:
    life = Life(task)
    life.hear(seen)
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.PROCESSING, JOB)
    assert (life.task.phase, life.task.charge) == ("queued_at_provider", Charge.ESTIMATED)
    assert (life.task.submitted_at, life.told) == (seen.at, [EventType.TASK_SUBMITTED])
    assert life.task.due_at == seen.at + 95 * SECOND  # its push is overdue: one and a half times 60 s, and 5 s


def test_t3_forgets_the_waits_of_the_search() -> None:
    life = Life(replace(UNCONFIRMED, streak=Streak.ABSENT, streak_count=2, streak_since=START, streak_last_at=START))
    life.hear(reply(Claim.ACCEPTED, provider_task_id=JOB))
    assert (life.task.streak, life.task.streak_count) == (None, 0)


def test_t3_past_the_deadline_asks_at_once_and_expires_nothing_unasked() -> None:
    life = Life(UNCONFIRMED)
    life.hear(push(Claim.RUNNING, LATE))
    assert (life.task.status, life.task.due_at) == (TaskStatus.PROCESSING, DEADLINE)


def test_what_the_provider_says_at_the_door_it_costs_is_certain() -> None:
    life = Life(SUBMITTING)
    life.hear(reply(Claim.ACCEPTED, provider_task_id=JOB, charged="5.5", cost_unit="credit"))
    assert (life.task.charge, life.task.cost_charged, life.task.cost_unit) == (Charge.CONFIRMED, "5.5", "credit")
    life.hear(poll(Claim.SUCCEEDED, outputs=(OUTPUT,)))
    assert (life.task.charge, life.task.cost_charged) == (Charge.CONFIRMED, "5.5")


@pytest.mark.parametrize("task", [PROCESSING, RUNNING])
@pytest.mark.parametrize("seen", [poll(Claim.SUCCEEDED, outputs=(OUTPUT,)), push(Claim.SUCCEEDED, outputs=(OUTPUT,))])
def test_t9_a_success_with_an_output_is_final(task: Task, seen: Observation) -> None:
    life = Life(task)
    life.hear(seen)
    assert (life.task.status, life.task.outputs, life.task.progress) == (TaskStatus.SUCCEEDED, (OUTPUT,), 100)
    assert (life.task.final, life.task.late, life.task.charge) == (True, False, Charge.ESTIMATED)
    assert life.told == [EventType.TASK_SUCCEEDED]


@pytest.mark.parametrize("task", [PROCESSING, RUNNING])
def test_t10_the_providers_failure_is_final(task: Task) -> None:
    life = Life(task)
    life.hear(poll(Claim.FAILED, failure=WHY, provider_status="failed"))
    assert (life.task.status, life.task.failure, life.task.provider_status) == (TaskStatus.FAILED, WHY, "failed")
    assert (life.task.final, life.told, life.hard[0].discriminator) == (True, [EventType.TASK_FAILED], "")


@pytest.mark.parametrize(
    ("claim", "reading", "expected"),
    [
        (Claim.SUCCEEDED, {}, Charge.ESTIMATED),
        (Claim.SUCCEEDED, {"charged": "5.5"}, Charge.CONFIRMED),
        (Claim.SUCCEEDED, {"charged": "0"}, Charge.NONE),
        (Claim.FAILED, {}, Charge.POSSIBLE),
        (Claim.FAILED, {"charged": "5.5"}, Charge.CONFIRMED),
        (Claim.FAILED, {"charged": "0.00"}, Charge.NONE),
        (Claim.FAILED, {"refunded": True}, Charge.REFUNDED),
        (Claim.FAILED, {"refunded": True, "charged": "5.5"}, Charge.REFUNDED),
        *(
            (Claim.FAILED, {"charged": text}, Charge.POSSIBLE)
            for text in ("NaN", "sNaN", "-1", "1e9", "Infinity", "", "x")
        ),
    ],
)
def test_what_an_end_costs(claim: Claim, reading: dict[str, Any], expected: Charge) -> None:
    life = Life(RUNNING)
    life.hear(poll(claim, outputs=(OUTPUT,) if claim is Claim.SUCCEEDED else (), **reading))
    assert life.task.charge is expected


@pytest.mark.parametrize("task", SOFT_ENDS)
@pytest.mark.parametrize("claim", [Claim.SUCCEEDED, Claim.FAILED])
@pytest.mark.parametrize("source", [Source.POLL, Source.LOOK_UP, Source.CALLBACK, Source.OPERATOR, Source.SUBMIT])
def test_t12_every_end_that_is_not_final_takes_a_late_verdict(task: Task, claim: Claim, source: Source) -> None:
    life = Life(task)
    outputs = (OUTPUT,) if claim is Claim.SUCCEEDED else ()
    life.hear(see(claim, source, LATE, provider_task_id=JOB, external_id=QUEUED.id, outputs=outputs, failure=None))
    assert life.task.status is TaskStatus(claim.value)
    assert (life.task.late, life.task.final, life.task.final_at) == (True, True, LATE)
    assert (life.task.provider_task_id, life.task.sequence) == (JOB, task.sequence + 1)
    assert len(life.hard) == 1


def test_t12_a_second_failed_event_has_an_id_of_its_own() -> None:
    life = Life(NO_OUTPUT)
    life.hear(poll(Claim.FAILED, LATE))
    assert [(draft.type, draft.discriminator) for draft in life.drafts] == [(EventType.TASK_FAILED, "late")]


def test_t12_a_late_job_that_still_runs_is_bound_and_watched() -> None:
    life = Life(EXPIRED_UNBOUND)
    life.hear(push(Claim.RUNNING, LATE))
    assert (life.task.status, life.task.provider_task_id, life.drafts) == (TaskStatus.EXPIRED, JOB, [])
    assert (life.task.due_at, life.task.charge) == (LATE + HOUR, Charge.POSSIBLE)
    life.hear(poll(Claim.SUCCEEDED, LATE + HOUR, outputs=(OUTPUT,)))
    assert (life.task.status, life.task.late) == (TaskStatus.SUCCEEDED, True)


@pytest.mark.parametrize("task", SOFT_ENDS)
def test_t12_after_thirty_days_nothing_is_late_any_more_but_too_late(task: Task) -> None:
    seen = push(Claim.SUCCEEDED, DEADLINE + 30 * DAY + 1, outputs=(OUTPUT,))
    assert Life(task).hear(seen).outcome is Outcome.IGNORED


def test_bind_and_verdict_in_one_message_are_one_step_and_two_events() -> None:
    life = Life(SUBMITTING)
    step = life.hear(push(Claim.SUCCEEDED, outputs=(OUTPUT,)))
    assert (life.told, life.task.version) == ([EventType.TASK_SUBMITTED, EventType.TASK_SUCCEEDED], 2)
    first, second = step.drafts
    assert first.task is not None
    assert (first.task.status, first.task.sequence, first.task.outputs) == (TaskStatus.PROCESSING, 1, ())
    assert second.task == step.task
    assert [note.kind for note in step.notes] == ["bound", "succeeded"]


def test_c2_the_first_verdict_stays_and_the_second_is_a_conflict() -> None:
    for task, claim in ((SUCCEEDED, Claim.FAILED), (FAILED, Claim.SUCCEEDED)):
        life = Life(task)
        life.hear(poll(claim, LATE, provider_task_id=JOB, outputs=(OUTPUT,)))
        assert (life.task.status, life.conflicts) == (task.status, [f"verdict:{claim}"])
        assert changed_fields(task, life.task) == {"version", "sequence"}


@pytest.mark.parametrize(("task", "claim"), [(SUCCEEDED, Claim.SUCCEEDED), (FAILED, Claim.FAILED)])
def test_c2_the_same_verdict_again_is_nothing(task: Task, claim: Claim) -> None:
    again = poll(claim, LATE, provider_task_id=JOB, outputs=(Output(url="https://cdn.example.com/signed-anew.mp4"),))
    assert Life(task).hear(again).outcome is Outcome.IGNORED


def test_c3_a_push_never_moves_the_task_past_what_the_query_says() -> None:
    """The query lags or the push is forged: asked again after 2, 5, 15 and 30 s, and then at the usual pace."""
    life, now, waits = Life(RUNNING), START + MINUTE, []
    life.hear(poll(Claim.RUNNING, now, prompted_by=Claim.SUCCEEDED))
    for _ in range(4):
        assert life.task.due_at is not None
        waits.append((life.task.due_at - now) // SECOND)
        now = life.task.due_at
        life.hear(poll(Claim.RUNNING, now))
    assert waits == [2, 5, 15, 30]
    assert (life.task.status, life.task.streak) == (TaskStatus.PROCESSING, None)
    assert life.task.due_at == START + MINUTE + 52 * SECOND + 28 * SECOND  # a quarter of the 112 s so far
    assert [note.kind for note in life.notes] == ["push_not_confirmed"]


def test_c3_the_soon_is_never_past_the_deadline() -> None:
    life = Life(replace(RUNNING, submitted_at=DEADLINE - MINUTE))
    life.hear(poll(Claim.RUNNING, DEADLINE - SECOND, prompted_by=Claim.FAILED))
    assert life.task.due_at == DEADLINE


@pytest.mark.parametrize("claim", [Claim.WAITING, Claim.ACCEPTED])
@pytest.mark.parametrize("source", [Source.POLL, Source.CALLBACK])
def test_c4_a_word_that_lies_behind_is_ignored(claim: Claim, source: Source) -> None:
    life = Life(replace(RUNNING, progress=40))
    life.hear(see(claim, source, provider_task_id=JOB, provider_status="submitted", progress=1))
    assert (life.task.phase, life.task.provider_status, life.task.progress) == ("running", "processing", 40)
    assert life.drafts == []


def test_c4_progress_never_falls() -> None:
    life = Life(RUNNING)
    for stated, shown in ((40, 40), (20, 40), (None, 40), (60, 60)):
        life.hear(poll(Claim.RUNNING, progress=stated))
        assert life.task.progress == shown


@pytest.mark.parametrize("task", HARD_ENDS)
@pytest.mark.parametrize("claim", [Claim.ACCEPTED, Claim.WAITING, Claim.RUNNING])
def test_c4_so_is_any_word_after_a_final_end(task: Task, claim: Claim) -> None:
    assert Life(task).hear(poll(claim, provider_task_id=task.provider_task_id)).outcome is Outcome.IGNORED


def test_progress_is_news_and_a_mere_poll_is_not() -> None:
    life = Life(RUNNING)
    assert life.hear(poll(Claim.RUNNING, progress=10)).outcome is Outcome.CHANGED
    assert life.task.updated_at == START + MINUTE
    assert life.hear(poll(Claim.RUNNING, START + 2 * MINUTE, progress=10)).outcome is Outcome.SCHEDULED
    assert life.task.updated_at == START + MINUTE


def test_running_is_told_once() -> None:
    life = Life(PROCESSING)
    for at in range(3):
        life.hear(push(Claim.RUNNING, START + at * MINUTE))
        life.hear(poll(Claim.WAITING, START + at * MINUTE))
    assert life.told == [EventType.TASK_PROCESSING]


def test_c6_a_push_before_the_reply_binds_and_the_reply_finds_nothing_to_do() -> None:
    life = Life(SUBMITTING)
    life.hear(push(Claim.RUNNING))
    assert life.hear(reply(Claim.ACCEPTED, provider_task_id=JOB)).outcome is Outcome.IGNORED
    assert life.told == [EventType.TASK_SUBMITTED, EventType.TASK_PROCESSING]


def test_c6_a_job_that_carries_another_tasks_id_is_not_ours() -> None:
    for seen in (
        push(Claim.RUNNING, external_id="task_2"),
        look_up(Claim.RUNNING, provider_task_id=JOB, external_id="x"),
    ):
        life = Life(UNCONFIRMED)
        life.hear(seen)
        assert (life.task.status, life.task.provider_task_id) == (TaskStatus.UNCONFIRMED, None)
        assert life.conflicts == [f"mismatch:{JOB}"]


def test_c9_a_push_about_another_job_rings_for_our_own() -> None:
    life = Life(RUNNING)
    life.hear(push(Claim.SUCCEEDED, provider_task_id="job-2", external_id=None, outputs=(OUTPUT,)), now=START + 2)
    assert (life.task.status, life.task.provider_task_id, life.task.due_at) == (TaskStatus.PROCESSING, JOB, START + 2)
    assert life.conflicts == ["mismatch:job-2"]


def test_c9_a_query_answered_about_another_job_is_asked_again_and_ends_at_the_deadline() -> None:
    life = Life(RUNNING)
    life.hear(poll(Claim.SUCCEEDED, provider_task_id="job-2", outputs=(OUTPUT,)))
    assert life.task.due_at is not None
    assert life.task.due_at > START + MINUTE
    life.hear(poll(Claim.SUCCEEDED, DEADLINE, provider_task_id="job-2", outputs=(OUTPUT,)))
    assert (life.task.status, life.conflicts) == (TaskStatus.EXPIRED, ["mismatch:job-2"] * 2)


@pytest.mark.parametrize(
    "seen",
    [
        reply(Claim.ACCEPTED, provider_task_id="job-2"),
        look_up(Claim.RUNNING, provider_task_id="job-2"),
        push(Claim.SUCCEEDED, provider_task_id="job-2", outputs=(OUTPUT,)),
    ],
)
@pytest.mark.parametrize("task", [RUNNING, SUCCEEDED, EXPIRED])
def test_c10_a_second_job_under_our_id_is_surplus_and_never_relayed(task: Task, seen: Observation) -> None:
    life = Life(task)
    life.hear(seen)
    assert (life.task.status, life.task.provider_task_id) == (task.status, JOB)
    assert life.task.outputs == task.outputs
    assert life.conflicts == ["surplus:job-2"]


def test_c10_two_jobs_in_one_look_up_bind_the_named_one_and_tell_of_the_others() -> None:
    life = Life(UNCONFIRMED)
    life.hear(look_up(Claim.RUNNING, provider_task_id=JOB, external_id=QUEUED.id, also=("job-2", "job-3")))
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.PROCESSING, JOB)
    assert life.conflicts == ["surplus:job-2", "surplus:job-3"]
    assert life.task.version == UNCONFIRMED.version + 1


@pytest.mark.parametrize("task", [task for task in HARD_ENDS if task.provider_task_id is None])
def test_c10_a_job_of_a_task_that_ended_without_one_is_surplus(task: Task) -> None:
    life = Life(task)
    life.hear(push(Claim.SUCCEEDED, LATE, outputs=(OUTPUT,)))
    assert life.conflicts == [f"surplus:{JOB}"]
    assert changed_fields(task, life.task) == {"version", "sequence", "surplus"}


def no_output(life: Life, now: int, count: int) -> int:
    for _ in range(count):
        life.hear(poll(Claim.SUCCEEDED, now))
        now = life.task.due_at or now
    return now


def test_c12_a_success_without_an_output_waits_for_ten_more_queries_and_ten_minutes() -> None:
    life = Life(RUNNING)
    now = no_output(life, START + MINUTE, 10)
    assert (life.task.status, now) == (TaskStatus.PROCESSING, START + 11 * MINUTE)
    no_output(life, now, 1)
    assert life.task.failure is not None
    assert (life.task.status, life.task.failure.code) == (TaskStatus.FAILED, FailureCode.NO_OUTPUT)
    assert (life.task.charge, life.task.final, life.hard) == (Charge.POSSIBLE, False, [])
    assert (life.told, life.task.due_at) == ([EventType.TASK_FAILED], now + HOUR)


def test_c12_queries_that_come_faster_shorten_nothing() -> None:
    life = Life(RUNNING)
    for at in range(100):
        life.hear(poll(Claim.SUCCEEDED, START + at * SECOND))
    assert life.task.status is TaskStatus.PROCESSING


def test_c12_ten_minutes_alone_are_not_ten_queries() -> None:
    life = Life(RUNNING)
    for at in range(10):
        life.hear(poll(Claim.SUCCEEDED, START + at * 10 * MINUTE))
    assert life.task.status is TaskStatus.PROCESSING


def test_c12_pushes_do_not_count_as_queries() -> None:
    life = Life(RUNNING)
    for at in range(30):
        life.hear(push(Claim.SUCCEEDED, START + at * MINUTE))
    assert (life.task.status, life.task.streak_count) == (TaskStatus.PROCESSING, 1)


def test_c12_the_output_may_follow_the_word() -> None:
    life = Life(RUNNING)
    now = no_output(life, START + MINUTE, 5)
    life.hear(poll(Claim.SUCCEEDED, now, outputs=(OUTPUT,)))
    assert (life.task.status, life.told) == (TaskStatus.SUCCEEDED, [EventType.TASK_SUCCEEDED])


def test_c12_the_next_query_is_never_past_the_deadline_but_the_wait_may_be() -> None:
    life = Life(RUNNING)
    life.hear(poll(Claim.SUCCEEDED, DEADLINE - SECOND))
    assert life.task.due_at == DEADLINE
    life.hear(poll(Claim.SUCCEEDED, DEADLINE))
    assert (life.task.status, life.task.due_at) == (TaskStatus.PROCESSING, DEADLINE + MINUTE)


def test_c15_a_job_of_another_task_is_never_bound_and_the_purchase_is_in_doubt() -> None:
    life = Life(SUBMITTING)
    step = life.hear(reply(Claim.ACCEPTED, provider_task_id=JOB), taken=True)
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.UNCONFIRMED, None)
    assert (life.conflicts, step.outcome) == ([f"binding:{JOB}"], Outcome.CONFLICT)
    assert life.told == [EventType.TASK_CONFLICT, EventType.TASK_UNCONFIRMED]


@pytest.mark.parametrize("task", [UNCONFIRMED, RUNNING])
def test_c15_a_query_that_names_one_is_asked_again_and_ends_at_the_deadline(task: Task) -> None:
    life = Life(task)
    seen = look_up(Claim.RUNNING, provider_task_id="job-2", external_id=QUEUED.id)
    life.hear(seen, taken=True)
    assert (life.task.status, life.task.provider_task_id) == (task.status, task.provider_task_id)
    assert life.task.due_at is not None
    assert life.task.due_at > START + MINUTE
    life.hear(replace(seen, at=DEADLINE), taken=True)
    assert life.task.status is TaskStatus.EXPIRED


@pytest.mark.parametrize("task", [QUEUED, SUBMITTING, ABANDONED, CANCELED, SUCCEEDED])
def test_c15_a_push_that_names_one_changes_nothing(task: Task) -> None:
    life = Life(task)
    life.hear(push(Claim.SUCCEEDED, provider_task_id="job-2", outputs=(OUTPUT,)), taken=True)
    assert life.conflicts == ["binding:job-2"]
    assert changed_fields(task, life.task) == {"version", "sequence"}


def test_a_contradiction_heard_twice_is_one_fact() -> None:
    life = Life(SUCCEEDED)
    for claim in (Claim.RUNNING, Claim.SUCCEEDED, Claim.RUNNING):
        life.hear(push(claim, provider_task_id="job-2"))
    assert set(life.conflicts) == {"surplus:job-2"}
