"""Every task ends, and none ends because we, and not the provider, were away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.core.events import EventType
from service.core.lifecycle import SECOND, Outcome
from service.core.observation import Claim, Observation, Source
from storage.records import Charge, FailureCode, Streak, Task, TaskStatus
from tests.service.core.builders import (
    DAY,
    DEADLINE,
    EXPIRED,
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
    SUBMIT_BY,
    SUBMITTING,
    UNCONFIRMED,
    Life,
    look_up,
    poll,
    push,
    reply,
    see,
)

AWAY = DEADLINE + 6 * HOUR


def overdue(at: int) -> Observation:
    return see(Claim.OVERDUE, Source.DEADLINE, at)


def assert_gave_up(life: Life) -> None:
    """Expired, and neither the provider nor we have the last word."""
    assert life.task.failure is not None
    assert (life.task.status, life.task.failure.code) == (TaskStatus.EXPIRED, FailureCode.DEADLINE)
    assert (life.task.charge, life.task.final, life.hard) == (Charge.POSSIBLE, False, [])
    assert life.told[-1] is EventType.TASK_EXPIRED


@pytest.mark.parametrize("away", [0, 6 * HOUR])
@pytest.mark.parametrize("claim", [Claim.RUNNING, Claim.WAITING, Claim.ABSENT])
def test_t11_a_well_formed_answer_without_an_end_past_the_deadline_expires(claim: Claim, away: int) -> None:
    life = Life(RUNNING)
    life.hear(poll(claim, DEADLINE + away))
    assert_gave_up(life)
    assert life.task.due_at == DEADLINE + away + HOUR


def test_t11_after_hours_of_downtime_a_success_is_a_success() -> None:
    life = Life(RUNNING)
    life.hear(poll(Claim.SUCCEEDED, AWAY, outputs=(OUTPUT,)))
    assert (life.task.status, life.task.late, life.task.final) == (TaskStatus.SUCCEEDED, False, True)


@pytest.mark.parametrize("task", [PROCESSING, RUNNING, UNCONFIRMED])
@pytest.mark.parametrize("claim", [Claim.UNREACHABLE, Claim.UNKNOWN])
def test_t11_after_hours_of_downtime_a_failed_query_expires_nothing_at_once(task: Task, claim: Claim) -> None:
    life = Life(task)
    life.hear(look_up(claim, AWAY))
    assert life.task.status is task.status
    assert life.task.due_at == AWAY + MINUTE


@pytest.mark.parametrize("task", [RUNNING, UNCONFIRMED])
def test_t11_fifteen_minutes_of_failing_queries_past_the_deadline_expire(task: Task) -> None:
    life, now, asked = Life(task), AWAY, 0
    while life.task.status is task.status:
        life.hear(look_up(Claim.UNREACHABLE, now))
        asked += 1
        now += MINUTE
    assert asked == 16
    assert now - MINUTE == AWAY + 15 * MINUTE
    assert_gave_up(life)


def test_t11_only_the_minutes_in_which_we_were_up_count() -> None:
    life = Life(RUNNING)
    for hours in range(15):
        life.hear(poll(Claim.UNREACHABLE, AWAY + hours * HOUR))
        assert life.task.status is TaskStatus.PROCESSING


def test_t11_failing_more_often_than_once_a_minute_does_not_expire_sooner() -> None:
    life, now = Life(RUNNING), DEADLINE
    while life.task.status is TaskStatus.PROCESSING:
        life.hear(poll(Claim.UNREACHABLE, now))
        now += 2 * SECOND
    assert now - 2 * SECOND == DEADLINE + 15 * MINUTE


def test_t11_failing_queries_before_the_deadline_do_not_count() -> None:
    life, now = Life(RUNNING), START + MINUTE
    while now < DEADLINE:
        life.hear(poll(Claim.UNREACHABLE, now))
        now += MINUTE
    assert (life.task.status, life.task.streak) == (TaskStatus.PROCESSING, None)


def test_t11_a_query_under_way_as_the_deadline_passed_is_not_the_one_past_it() -> None:
    life = Life(RUNNING)
    life.hear(poll(Claim.RUNNING, DEADLINE - 1), now=DEADLINE + SECOND)
    assert (life.task.status, life.task.due_at) == (TaskStatus.PROCESSING, DEADLINE)
    life.hear(poll(Claim.RUNNING, DEADLINE + SECOND))
    assert_gave_up(life)


@pytest.mark.parametrize("claim", [Claim.RUNNING, Claim.WAITING])
def test_t11_a_push_past_the_deadline_is_not_the_query_past_it(claim: Claim) -> None:
    life = Life(RUNNING)
    life.hear(push(claim, DEADLINE + MINUTE))
    assert life.task.status is TaskStatus.PROCESSING


def test_t11_the_deadline_itself_only_makes_a_bound_task_due() -> None:
    life = Life(replace(RUNNING, due_at=None))
    life.hear(overdue(AWAY))
    assert (life.task.status, life.task.due_at) == (TaskStatus.PROCESSING, AWAY)
    assert life.hear(overdue(AWAY)).outcome is Outcome.IGNORED


def test_t11_a_reminder_does_not_hasten_the_minute_between_failing_queries() -> None:
    life = Life(RUNNING)
    life.hear(poll(Claim.UNREACHABLE, AWAY))
    assert life.hear(overdue(AWAY + 30 * SECOND)).outcome is Outcome.IGNORED


@pytest.mark.parametrize("task", [RUNNING, UNCONFIRMED])
def test_t11_where_the_account_is_gone_the_deadline_alone_expires(task: Task) -> None:
    life = Life(task)
    life.hear(overdue(DEADLINE - 1), configured=False)
    assert life.outcomes == [Outcome.IGNORED]
    life.hear(overdue(DEADLINE), configured=False)
    assert_gave_up(life)


@pytest.mark.parametrize("task", [*SOFT_ENDS, *HARD_ENDS])
def test_a_deadline_is_nothing_to_an_end(task: Task) -> None:
    assert Life(task).hear(overdue(AWAY)).outcome is Outcome.IGNORED


def test_t6_a_submission_without_a_recorded_answer_is_unconfirmed_once_its_answer_cannot_come_any_more() -> None:
    task = replace(SUBMITTING, submission_deadline_at=DEADLINE - MINUTE)
    life = Life(task)
    assert life.hear(overdue(DEADLINE)).outcome is Outcome.IGNORED
    life.hear(overdue(DEADLINE + MINUTE))
    assert (life.task.status, life.told) == (TaskStatus.UNCONFIRMED, [EventType.TASK_UNCONFIRMED])
    assert life.task.due_at == DEADLINE


def test_t6_or_at_once_where_nobody_is_left_to_wait_for_it() -> None:
    life = Life(replace(SUBMITTING, submission_deadline_at=DEADLINE), look_up=False)
    life.hear(overdue(DEADLINE), configured=False)
    life.hear(overdue(DEADLINE), configured=False)
    assert life.told == [EventType.TASK_UNCONFIRMED, EventType.TASK_EXPIRED]


def test_t16_an_unconfirmed_task_that_cannot_be_looked_up_expires_at_its_deadline() -> None:
    life = Life(UNCONFIRMED, look_up=False)
    life.hear(overdue(DEADLINE))
    assert_gave_up(life)
    assert life.task.due_at is None


def test_t16_one_that_can_is_looked_up_once_more_so_that_downtime_loses_no_purchase() -> None:
    life = Life(UNCONFIRMED)
    assert life.hear(overdue(AWAY)).outcome is Outcome.IGNORED  # it is due, and its account's lane will ask
    life.hear(look_up(Claim.SUCCEEDED, AWAY, provider_task_id=JOB, outputs=(OUTPUT,)))
    assert life.told == [EventType.TASK_SUBMITTED, EventType.TASK_SUCCEEDED]


@pytest.mark.parametrize(
    "seen",
    [
        look_up(Claim.ABSENT, AWAY),
        look_up(Claim.UNKNOWN, AWAY, provider_status="odd"),
        look_up(Claim.RUNNING, AWAY, provider_task_id=JOB, external_id="task_2"),
    ],
)
def test_t16_and_expires_when_it_is_not_found(seen: Observation) -> None:
    life = Life(UNCONFIRMED)
    life.hear(seen)
    assert_gave_up(life)


@pytest.mark.parametrize("word", ["done", "SUCCESS", "x" * 64])
def test_c11_a_word_we_do_not_know_is_kept_and_never_an_end(word: str) -> None:
    life = Life(RUNNING)
    life.hear(poll(Claim.UNKNOWN, provider_status=word))
    assert (life.task.status, life.task.provider_status) == (TaskStatus.PROCESSING, word)
    assert [note.kind for note in life.notes] == ["unknown_vocabulary"]
    life.hear(poll(Claim.UNKNOWN, START + 2 * MINUTE, provider_status=word))
    assert len(life.notes) == 1
    assert life.drafts == []


def test_c11_an_answer_without_any_word_is_kept_and_asked_again() -> None:
    life = Life(RUNNING)
    life.hear(poll(Claim.UNKNOWN))
    assert [note.kind for note in life.notes] == ["unknown_vocabulary"]
    assert life.task.due_at is not None
    assert life.task.due_at > START + MINUTE


def test_c11_a_word_past_the_deadline_expires_softly_because_it_may_mean_success() -> None:
    life = Life(RUNNING)
    life.hear(poll(Claim.UNKNOWN, AWAY, provider_status="done"))
    assert_gave_up(life)
    assert life.task.provider_status == "done"


@pytest.mark.parametrize("seen", [look_up(Claim.UNKNOWN), look_up(Claim.UNREACHABLE), look_up(Claim.RUNNING)])
def test_a_look_up_that_settles_nothing_is_made_again_half_a_minute_later(seen: Observation) -> None:
    life = Life(replace(UNCONFIRMED, due_at=START + MINUTE))
    life.hear(seen)
    assert (life.task.status, life.task.due_at) == (TaskStatus.UNCONFIRMED, START + 90 * SECOND)


def absent(life: Life, *seconds: int) -> None:
    for second in seconds:
        life.hear(poll(Claim.ABSENT, START + second * SECOND))


def test_c13_a_job_absent_three_times_over_ten_minutes_is_gone_and_nobody_failed() -> None:
    life = Life(RUNNING)
    absent(life, 60, 360, 659)
    assert life.task.status is TaskStatus.PROCESSING
    absent(life, 660)
    assert_gave_up(life)


def test_c13_twice_is_not_enough_however_long_it_took() -> None:
    life = Life(RUNNING)
    absent(life, 60, 3600)
    assert life.task.status is TaskStatus.PROCESSING


@pytest.mark.parametrize(
    "between",
    [poll(Claim.RUNNING, START + 400 * SECOND), poll(Claim.UNKNOWN, START + 400 * SECOND, provider_status="?")],
)
def test_c13_an_answer_about_the_job_starts_the_count_anew(between: Observation) -> None:
    life = Life(RUNNING)
    absent(life, 60, 360)
    life.hear(between)
    absent(life, 660, 700)
    assert (life.task.status, life.task.streak_count) == (TaskStatus.PROCESSING, 2)


@pytest.mark.parametrize("claim", [Claim.RUNNING, Claim.WAITING, Claim.ABSENT, Claim.UNREACHABLE, Claim.UNKNOWN])
@pytest.mark.parametrize("task", [EXPIRED, NO_OUTPUT])
def test_after_we_gave_up_a_bound_task_is_asked_hourly_for_a_week(task: Task, claim: Claim) -> None:
    life, now, asked = Life(task), DEADLINE + HOUR, 0
    while life.task.due_at is not None:
        life.hear(poll(claim, now))
        asked += 1
        now += HOUR
    assert asked == 7 * 24
    assert (life.task.status, life.drafts, life.task.updated_at) == (task.status, [], task.updated_at)


@pytest.mark.parametrize("source", [Source.CALLBACK, Source.SUBMIT, Source.OPERATOR])
def test_what_is_no_answer_to_a_query_puts_none_off(source: Source) -> None:
    for task in (RUNNING, EXPIRED, UNCONFIRMED):
        for claim in (Claim.UNKNOWN, Claim.ABSENT, Claim.UNREACHABLE):
            assert Life(task).hear(see(claim, source)).outcome is Outcome.IGNORED


def test_a_success_word_and_failing_queries_in_turn_end_as_well() -> None:
    """Each would start the other's count anew, and the task would never end."""
    life, now = Life(RUNNING), DEADLINE
    while life.task.status is TaskStatus.PROCESSING:
        life.hear(poll(Claim.SUCCEEDED, now))
        if life.task.status is TaskStatus.PROCESSING:
            life.hear(poll(Claim.UNREACHABLE, now + MINUTE))
        now += 2 * MINUTE
        assert now < DEADLINE + HOUR
    assert not life.task.final


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (QUEUED, Charge.NONE),
        (UNCONFIRMED, Charge.POSSIBLE),
        (RUNNING, Charge.POSSIBLE),
        (replace(RUNNING, charge=Charge.CONFIRMED, cost_charged="5"), Charge.CONFIRMED),
    ],
)
def test_what_an_expired_task_may_have_cost(task: Task, expected: Charge) -> None:
    life = Life(task)
    life.hear(overdue(AWAY), configured=False)
    assert (life.task.status, life.task.charge) == (TaskStatus.EXPIRED, expected)


@pytest.mark.parametrize("over", [{"streak": Streak.ABSENT, "streak_count": 1, "streak_since": SUBMIT_BY}, {}])
def test_a_look_up_of_a_task_under_way_means_nothing_yet(over: dict[str, Any]) -> None:
    for task in (QUEUED, SUBMITTING):
        assert Life(replace(task, **over)).hear(look_up(Claim.ABSENT)).outcome is Outcome.IGNORED


def test_a_late_reply_still_binds_what_was_unconfirmed() -> None:
    life = Life(UNCONFIRMED)
    life.hear(look_up(Claim.ABSENT, SUBMIT_BY + 5 * SECOND))
    life.hear(reply(Claim.ACCEPTED, SUBMIT_BY + 10 * SECOND, provider_task_id=JOB))
    assert (life.task.status, life.task.streak) == (TaskStatus.PROCESSING, None)


def test_late_verdicts_are_heard_for_thirty_days_and_no_longer() -> None:
    for at, expected in ((DEADLINE + 30 * DAY, TaskStatus.SUCCEEDED), (DEADLINE + 30 * DAY + 1, TaskStatus.EXPIRED)):
        life = Life(EXPIRED)
        life.hear(push(Claim.SUCCEEDED, at, outputs=(OUTPUT,)))
        assert life.task.status is expected
