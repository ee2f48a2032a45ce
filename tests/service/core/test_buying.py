"""Nothing is bought twice on a guess, and nothing that was bought is called refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.core.buying import Resend, why_resend
from service.core.events import EventType
from service.core.lifecycle import SECOND, Outcome, may_resend
from service.core.observation import Claim, Observation, Source
from storage.records import Charge, Failure, FailureCode, OnAmbiguous, Streak, Task, TaskStatus
from tests.service.core.builders import (
    ALL,
    DEADLINE,
    HOUR,
    JOB,
    MINUTE,
    PERMITTED,
    PROCESSING,
    QUEUED,
    SETTLE,
    START,
    SUBMIT_BY,
    SUBMITTING,
    UNCONFIRMED,
    Life,
    intent,
    look_up,
    push,
    reply,
    rules,
    see,
)

SETTLED = SUBMIT_BY + SETTLE
KEY_REFUSED = Failure(code=FailureCode.CREDENTIALS_REFUSED, message="the key is refused", retryable=True)
NO_SUCH_JOB = replace(  # three empty look-ups, the last one asked for as the settle window closed
    UNCONFIRMED,
    streak=Streak.ABSENT,
    streak_count=3,
    streak_since=SUBMIT_BY + 5 * SECOND,
    streak_last_at=SETTLED,
    due_at=SETTLED,
)


def test_t2_an_intent_takes_a_queued_task_to_submitting() -> None:
    life = Life()
    step = life.hear(intent())
    assert step.outcome is Outcome.CHANGED
    assert life.task.status is TaskStatus.SUBMITTING
    assert (life.task.submissions, life.task.submission_deadline_at, life.task.resends) == (1, SUBMIT_BY, 0)
    assert (life.task.due_at, life.task.charge, life.told) == (None, Charge.NONE, [])


def test_t2_an_intent_without_its_deadline_buys_nothing() -> None:
    assert Life().hear(reply(Claim.INTENT)).outcome is Outcome.IGNORED
    assert Life(NO_SUCH_JOB).hear(reply(Claim.INTENT, at=SETTLED)).outcome is Outcome.IGNORED


@pytest.mark.parametrize("late", [0, 1, HOUR])
def test_t2_an_intent_at_the_deadline_expires_the_task_instead(late: int) -> None:
    life = Life()
    life.hear(intent(DEADLINE + late, by=DEADLINE + HOUR))
    assert life.task.status is TaskStatus.EXPIRED
    assert life.task.submissions == 0


@pytest.mark.parametrize("task", [task for task in ALL if task.status is not TaskStatus.QUEUED and task != PERMITTED])
def test_t2_nothing_but_a_queued_task_is_bought_without_more(task: Task) -> None:
    assert Life(task).hear(intent(START + HOUR, by=START + 2 * HOUR)).outcome is Outcome.IGNORED


def test_t4_a_submission_refused_for_now_goes_back_to_the_queue_and_backs_off() -> None:
    life, now, waits = Life(), START, []
    for _ in range(8):
        life.hear(intent(now, by=now + 30 * SECOND))
        life.hear(reply(Claim.DEFERRED, now))
        assert life.task.status is TaskStatus.QUEUED
        assert life.task.due_at is not None
        waits.append((life.task.due_at - now) // SECOND)
        now = life.task.due_at
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert (life.task.charge, life.task.submissions, life.told) == (Charge.NONE, 8, [])


def test_t4_ten_thousand_deferrals_are_still_only_a_minute_apart() -> None:
    life = Life(replace(SUBMITTING, streak=Streak.DEFERRED, streak_count=10_000, streak_since=START))
    life.hear(reply(Claim.DEFERRED, START))
    assert life.task.due_at == START + MINUTE


def test_t4_jitter_only_adds() -> None:
    life = Life(SUBMITTING)
    life.hear(reply(Claim.DEFERRED, START), jitter=1.0)
    assert life.task.due_at == START + 2_500_000


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [(90.0, 90), (1.0, 2), (0.0, 2), (-5.0, 2), (float("nan"), 2), (float("inf"), 3600), (1e300, 3600), (3500, 3500)],
)
def test_t4_a_wish_to_be_left_alone_is_heard_for_an_hour_at_most(wish: float, seconds: int) -> None:
    life = Life(SUBMITTING)
    life.hear(reply(Claim.DEFERRED, retry_after_seconds=wish))
    assert life.task.due_at == START + SECOND + seconds * SECOND


def test_t4_a_wish_to_be_left_alone_never_outlasts_the_deadline() -> None:
    life = Life(replace(SUBMITTING, deadline_at=START + 60 * SECOND))
    life.hear(reply(Claim.DEFERRED, retry_after_seconds=90.0))
    assert life.task.due_at == START + 60 * SECOND


def test_t5_a_refusal_for_good_ends_the_task_and_costs_nothing() -> None:
    life = Life(SUBMITTING)
    failure = Failure(code=FailureCode.CONTENT_REJECTED, message="no")
    life.hear(reply(Claim.REFUSED, failure=failure))
    assert (life.task.status, life.task.failure, life.task.charge) == (TaskStatus.FAILED, failure, Charge.NONE)
    assert (life.task.final, life.told, life.hard[0].discriminator) == (True, [EventType.TASK_FAILED], "")


def test_t5_a_refusal_without_a_reason_still_has_a_code() -> None:
    life = Life(SUBMITTING)
    life.hear(reply(Claim.REFUSED))
    assert life.task.failure is not None
    assert life.task.failure.code is FailureCode.PROVIDER_ERROR


def test_t6_a_submission_of_unknown_fate_is_unconfirmed_and_looked_for_five_seconds_after_its_deadline() -> None:
    life = Life(SUBMITTING)
    life.hear(reply(Claim.AMBIGUOUS))
    assert (life.task.status, life.task.charge) == (TaskStatus.UNCONFIRMED, Charge.POSSIBLE)
    assert life.task.due_at == SUBMIT_BY + 5 * SECOND
    assert life.told == [EventType.TASK_UNCONFIRMED]


def test_t6_without_look_up_it_is_held_until_its_deadline() -> None:
    life = Life(SUBMITTING, look_up=False)
    life.hear(reply(Claim.AMBIGUOUS))
    assert life.task.due_at == DEADLINE


@pytest.mark.parametrize(
    "claim",
    [
        Claim.UNKNOWN,
        Claim.ABSENT,
        Claim.UNREACHABLE,
        Claim.ACCEPTED,
        Claim.WAITING,
        Claim.RUNNING,
        Claim.SUCCEEDED,
        Claim.FAILED,
    ],
)
def test_t6_a_reply_that_neither_names_a_job_nor_refuses_one_is_ambiguous(claim: Claim) -> None:
    life = Life(SUBMITTING)
    life.hear(reply(claim))
    assert (life.task.status, life.told) == (TaskStatus.UNCONFIRMED, [EventType.TASK_UNCONFIRMED])


def test_t6_is_told_once_however_often_the_fate_is_unknown() -> None:
    life = Life()
    life.hear(intent())
    life.hear(reply(Claim.AMBIGUOUS))
    for at in (SUBMIT_BY + 5 * SECOND, SUBMIT_BY + 30 * SECOND, SETTLED):
        life.hear(look_up(Claim.ABSENT, at))
    life.hear(intent(SETTLED, by=SETTLED + 30 * SECOND))
    life.hear(reply(Claim.AMBIGUOUS, SETTLED + SECOND))
    assert (life.task.status, life.task.submissions, life.task.resends) == (TaskStatus.UNCONFIRMED, 2, 1)
    assert life.told == [EventType.TASK_UNCONFIRMED]


def test_t7_three_empty_look_ups_the_last_after_the_settle_window_allow_one_more_submission() -> None:
    life = Life(UNCONFIRMED)
    life.hear(look_up(Claim.ABSENT, SUBMIT_BY + 5 * SECOND))
    assert life.task.due_at == SUBMIT_BY + 30 * SECOND
    life.hear(look_up(Claim.ABSENT, SUBMIT_BY + 30 * SECOND))
    assert life.task.due_at == SETTLED
    assert life.hear(intent(SETTLED)).outcome is Outcome.IGNORED  # two are not enough
    life.hear(look_up(Claim.ABSENT, SETTLED))
    assert life.task.due_at == SETTLED
    life.hear(intent(SETTLED, by=SETTLED + 30 * SECOND))
    assert (life.task.status, life.task.submissions, life.task.resends) == (TaskStatus.SUBMITTING, 2, 1)
    assert life.task.charge is Charge.POSSIBLE
    assert life.task.due_at is None


@pytest.mark.parametrize(
    ("less", "known"),
    [
        ({"streak_count": 2}, {}),
        ({"streak_last_at": SETTLED - 1}, {}),
        ({"streak": Streak.UNREACHABLE}, {}),
        ({"streak": None}, {}),
        ({"resends": 1}, {}),
        ({"submission_deadline_at": None}, {}),
        ({"streak_last_at": None}, {}),
        ({"status": TaskStatus.PROCESSING}, {}),
        ({"status": TaskStatus.QUEUED}, {}),
        ({"status": TaskStatus.EXPIRED}, {}),
        ({}, {"look_up": False}),
        ({}, {"resend": False}),
        ({}, {"now": DEADLINE}),
        ({}, {"settle_seconds": 120.1}),
    ],
)
def test_t7_whatever_is_missing_forbids_it(less: dict[str, Any], known: dict[str, Any]) -> None:
    assert may_resend(NO_SUCH_JOB, rules(SETTLED))
    assert not may_resend(replace(NO_SUCH_JOB, **less), rules(**({"now": SETTLED} | known)))


def test_t7_an_answer_asked_for_within_the_settle_window_does_not_count_as_one_after_it() -> None:
    life = Life(replace(NO_SUCH_JOB, streak_count=2, streak_last_at=SUBMIT_BY + 30 * SECOND))
    life.hear(look_up(Claim.ABSENT, SETTLED - 1), now=SETTLED + MINUTE)
    assert not may_resend(life.task, rules(SETTLED + MINUTE))


def test_t7_a_failed_look_up_counts_as_nothing_and_undoes_nothing() -> None:
    life = Life(replace(NO_SUCH_JOB, streak_count=2, streak_last_at=SUBMIT_BY + 30 * SECOND))
    life.hear(look_up(Claim.UNREACHABLE, SETTLED))
    assert not may_resend(life.task, rules(SETTLED))
    assert life.task.due_at == SETTLED + 30 * SECOND
    life.hear(look_up(Claim.ABSENT, SETTLED + 30 * SECOND))
    assert may_resend(life.task, rules(SETTLED + 30 * SECOND))


@pytest.mark.parametrize("source", [Source.POLL, Source.CALLBACK, Source.OPERATOR])
def test_t7_only_a_look_up_finds_nothing(source: Source) -> None:
    task = replace(NO_SUCH_JOB, streak_count=2)
    assert Life(task).hear(see(Claim.ABSENT, source, SETTLED)).outcome is Outcome.IGNORED


def test_t7_it_is_sent_once_more_and_never_again() -> None:
    life = Life(NO_SUCH_JOB)
    life.hear(intent(SETTLED, by=SETTLED + 30 * SECOND))
    life.hear(reply(Claim.AMBIGUOUS, SETTLED + SECOND))
    now = SETTLED + 35 * SECOND
    while now < DEADLINE:
        life.hear(look_up(Claim.ABSENT, now))
        assert life.hear(intent(now, by=now + 30 * SECOND)).outcome is Outcome.IGNORED
        assert life.task.due_at is not None
        assert now < life.task.due_at <= now + 300 * SECOND
        now = life.task.due_at
    assert life.task.submissions == 2


@pytest.mark.parametrize("known", [{"look_up": False}, {"look_up": True}, {"resend": False}])
def test_t7_a_permission_sends_once_more_where_nothing_can_be_looked_up_too(known: dict[str, Any]) -> None:
    task = replace(PERMITTED, resends=1)
    assert why_resend(task, rules(SUBMIT_BY, **known)) is Resend.PERMISSION
    assert why_resend(replace(task, permitted_at=None), rules(SUBMIT_BY, **known)) is None


def test_t7_a_permission_is_used_up_by_the_next_intent() -> None:
    life = Life(PERMITTED, look_up=False)
    life.hear(intent(SUBMIT_BY, by=SUBMIT_BY + 30 * SECOND))
    assert (life.task.status, life.task.submissions, life.task.resends) == (TaskStatus.SUBMITTING, 2, 1)
    life.hear(reply(Claim.AMBIGUOUS, SUBMIT_BY + SECOND))
    for later in (SUBMIT_BY + MINUTE, SUBMIT_BY + HOUR):
        assert life.hear(intent(later, by=later + 30 * SECOND)).outcome is Outcome.IGNORED


def test_t7_not_even_a_permission_buys_while_the_last_submission_may_still_leave() -> None:
    assert not may_resend(PERMITTED, rules(SUBMIT_BY - 1))
    assert may_resend(PERMITTED, rules(SUBMIT_BY))
    assert not may_resend(replace(PERMITTED, submission_deadline_at=None), rules(SUBMIT_BY))


def test_t7_nor_past_the_deadline() -> None:
    life = Life(PERMITTED)
    assert life.hear(intent(DEADLINE, by=DEADLINE + MINUTE)).outcome is Outcome.IGNORED


POLICY = replace(UNCONFIRMED, on_ambiguous=OnAmbiguous.RESUBMIT)


def test_t7_a_policy_sends_once_more_once_the_first_submission_has_settled() -> None:
    life = Life(replace(SUBMITTING, on_ambiguous=OnAmbiguous.RESUBMIT), look_up=False)
    life.hear(reply(Claim.AMBIGUOUS))
    assert life.task.due_at == SETTLED
    assert life.hear(intent(SETTLED - 1, by=SETTLED)).outcome is Outcome.IGNORED
    life.hear(intent(SETTLED, by=SETTLED + 30 * SECOND))
    assert (life.task.status, life.task.resends) == (TaskStatus.SUBMITTING, 1)
    assert life.notes[-1].detail == {"submission": 2, "resend": "policy"}


def test_t7_a_policy_is_good_for_one_submission_in_a_tasks_life() -> None:
    life = Life(POLICY, look_up=False)
    life.hear(intent(SETTLED, by=SETTLED + 30 * SECOND))
    life.hear(reply(Claim.AMBIGUOUS, SETTLED + SECOND))
    assert life.task.due_at == DEADLINE
    assert life.hear(intent(DEADLINE - SECOND, by=DEADLINE)).outcome is Outcome.IGNORED


def test_t7_where_it_can_be_looked_for_a_policy_waits_until_the_look_ups_have_told_all() -> None:
    """AceData: found by the callback URL it echoes, and nothing of ours that would make a second submission the same."""
    known = {"look_up": True, "resend": False}
    assert why_resend(POLICY, rules(SETTLED + HOUR, **known)) is None
    proven = replace(NO_SUCH_JOB, on_ambiguous=OnAmbiguous.RESUBMIT)
    assert why_resend(proven, rules(SETTLED, **known)) is Resend.POLICY
    assert why_resend(proven, rules(SETTLED)) is Resend.ABSENT
    assert why_resend(replace(proven, resends=1), rules(SETTLED, **known)) is None


def test_t7_hold_is_the_default() -> None:
    assert QUEUED.on_ambiguous is OnAmbiguous.HOLD
    assert why_resend(UNCONFIRMED, rules(DEADLINE - 1, look_up=False)) is None


def test_t7_the_timeline_has_why_it_was_sent_once_more() -> None:
    for task, why in ((NO_SUCH_JOB, "absent"), (replace(PERMITTED, due_at=SETTLED), "permission")):
        life = Life(task)
        life.hear(intent(SETTLED, by=SETTLED + 30 * SECOND))
        assert life.notes[-1].detail == {"submission": 2, "resend": why}
    life = Life()
    life.hear(intent())
    assert life.notes[-1].detail == {"submission": 1}


@pytest.mark.parametrize("heard", [look_up(Claim.ABSENT), look_up(Claim.UNREACHABLE), look_up(Claim.UNKNOWN)])
def test_t7_a_look_up_that_was_under_way_does_not_put_a_permission_off(heard: Observation) -> None:
    life = Life(PERMITTED)
    life.hear(heard)
    assert life.task.permitted_at is not None
    assert life.task.due_at == heard.at


@pytest.mark.parametrize("claim", [Claim.REFUSED, Claim.DEFERRED])
@pytest.mark.parametrize("account_refused", [False, True])
def test_after_a_resend_a_refusal_never_proves_that_nothing_was_bought(claim: Claim, account_refused: bool) -> None:
    life = Life(replace(SUBMITTING, resends=1, submissions=2, charge=Charge.POSSIBLE))
    life.hear(reply(claim, account_refused=account_refused))
    assert (life.task.status, life.task.charge, life.told) == (TaskStatus.UNCONFIRMED, Charge.POSSIBLE, [])
    assert life.notes[-1].kind == "ambiguous"


@pytest.mark.parametrize("claim", [Claim.REFUSED, Claim.DEFERRED, Claim.AMBIGUOUS])
def test_a_reply_to_an_earlier_submission_says_nothing_of_the_one_under_way(claim: Claim) -> None:
    """Otherwise a deferral recorded twice would put a task back in the queue whose purchase is on its way."""
    second = replace(SUBMITTING, submissions=2, submission_deadline_at=SUBMIT_BY + MINUTE)
    assert Life(second).hear(reply(claim, submission_deadline_at=SUBMIT_BY)).outcome is Outcome.IGNORED
    assert Life(second).hear(reply(claim, submission_deadline_at=SUBMIT_BY + MINUTE)).outcome is Outcome.CHANGED


@pytest.mark.parametrize("claim", [Claim.REFUSED, Claim.DEFERRED])
@pytest.mark.parametrize("task", [PROCESSING, UNCONFIRMED])
def test_c14_a_refusal_that_comes_after_the_decision_is_recorded_and_decides_nothing(task: Task, claim: Claim) -> None:
    life = Life(task)
    assert life.hear(reply(claim)).outcome is Outcome.CONFLICT
    assert life.task.status is task.status
    assert life.conflicts == [f"submission:{claim}"]


@pytest.mark.parametrize("claim", [Claim.REFUSED, Claim.DEFERRED, Claim.AMBIGUOUS])
@pytest.mark.parametrize("source", [Source.POLL, Source.LOOK_UP, Source.CALLBACK, Source.OPERATOR])
def test_only_the_reply_to_a_purchase_can_say_that_it_was_not_made(claim: Claim, source: Source) -> None:
    for task in (SUBMITTING, UNCONFIRMED, PROCESSING):
        life = Life(task)
        life.hear(see(claim, source))
        assert life.task.status is task.status
        assert not life.drafts


def test_t13_a_queued_task_can_be_canceled() -> None:
    life = Life()
    life.hear(see(Claim.CANCEL, Source.OPERATOR))
    assert (life.task.status, life.task.charge, life.task.final) == (TaskStatus.CANCELED, Charge.NONE, True)
    assert (life.told, len(life.hard)) == ([EventType.TASK_CANCELED], 1)


@pytest.mark.parametrize("task", [task for task in ALL if task.status is not TaskStatus.QUEUED])
def test_t13_nothing_else_can(task: Task) -> None:
    assert Life(task).hear(see(Claim.CANCEL, Source.OPERATOR)).outcome is Outcome.IGNORED


def test_t14_what_was_never_submitted_expires_for_good_and_for_free() -> None:
    life = Life()
    assert life.hear(see(Claim.OVERDUE, Source.DEADLINE, DEADLINE - 1)).outcome is Outcome.IGNORED
    life.hear(see(Claim.OVERDUE, Source.DEADLINE, DEADLINE))
    assert life.task.failure is not None
    assert (life.task.status, life.task.failure.code) == (TaskStatus.EXPIRED, FailureCode.NOT_SUBMITTED)
    assert (life.task.charge, life.task.final, life.told) == (Charge.NONE, True, [EventType.TASK_EXPIRED])
    assert life.hard


def refuse_the_account(life: Life, now: int) -> None:
    life.hear(intent(now, by=now + 30 * SECOND))
    life.hear(reply(Claim.DEFERRED, now, account_refused=True, failure=KEY_REFUSED))


def test_t15_an_account_refused_for_fifteen_minutes_fails_the_task_without_charge() -> None:
    life, now, tries = Life(), START, 0
    while life.task.status is TaskStatus.QUEUED:
        refuse_the_account(life, now)
        tries += 1
        now = life.task.due_at or now
    assert (tries, now) == (4, START + 15 * MINUTE)
    assert (life.task.status, life.task.failure, life.task.charge) == (TaskStatus.FAILED, KEY_REFUSED, Charge.NONE)
    assert (life.task.final, life.told) == (True, [EventType.TASK_FAILED])


def test_t15_a_single_refusal_after_a_long_silence_is_not_fifteen_minutes_of_refusal() -> None:
    life = Life()
    refuse_the_account(life, START + HOUR)
    assert life.task.status is TaskStatus.QUEUED


def test_t15_a_task_never_tried_fails_with_those_that_were() -> None:
    for at, status in ((START + 15 * MINUTE - 1, TaskStatus.QUEUED), (START + 15 * MINUTE, TaskStatus.FAILED)):
        life = Life()
        life.hear(reply(Claim.DEFERRED, at, failure=KEY_REFUSED, account_refused=True, refused_since=START))
        assert life.task.status is status
    assert (life.task.failure, life.task.final, life.task.charge) == (KEY_REFUSED, True, Charge.NONE)


def test_t15_a_refusal_older_than_the_task_counts_from_its_making() -> None:
    for at, status in ((START + 15 * MINUTE - 1, TaskStatus.QUEUED), (START + 15 * MINUTE, TaskStatus.FAILED)):
        life = Life()
        life.hear(reply(Claim.DEFERRED, at, account_refused=True, refused_since=START - HOUR))
        assert life.task.status is status


def test_t15_a_task_that_was_tried_late_is_due_when_the_wait_of_all_is_over() -> None:
    life = Life()
    life.hear(intent(START + 14 * MINUTE, by=START + 15 * MINUTE))
    life.hear(
        replace(
            reply(Claim.DEFERRED, START + 14 * MINUTE, account_refused=True, refused_since=START), submission_id="sub_1"
        )
    )
    assert (life.task.status, life.task.due_at) == (TaskStatus.QUEUED, START + 15 * MINUTE)


def test_t15_what_is_told_of_others_refusals_says_nothing_of_a_purchase_under_way() -> None:
    life = Life(SUBMITTING)
    life.hear(reply(Claim.DEFERRED, START + HOUR, account_refused=True, refused_since=START - HOUR))
    assert (life.task, life.outcomes) == (SUBMITTING, [Outcome.IGNORED])


def test_t15_any_other_answer_starts_the_wait_anew() -> None:
    life = Life()
    refuse_the_account(life, START)
    life.hear(intent(START + 5 * MINUTE, by=START + 6 * MINUTE))
    life.hear(reply(Claim.DEFERRED, START + 5 * MINUTE))
    refuse_the_account(life, START + 16 * MINUTE)
    assert (life.task.status, life.task.streak_count) == (TaskStatus.QUEUED, 1)


def test_t15_a_task_that_only_waits_for_its_refused_account_fails_as_well() -> None:
    life = Life()
    for minutes in (0, 5, 10, 15):
        assert life.task.status is TaskStatus.QUEUED
        life.hear(reply(Claim.DEFERRED, START + minutes * MINUTE, account_refused=True, failure=KEY_REFUSED))
    assert (life.task.status, life.task.failure, life.task.submissions) == (TaskStatus.FAILED, KEY_REFUSED, 0)


def test_a_deferral_heard_twice_moves_a_queued_task_no_further() -> None:
    life = Life(SUBMITTING)
    life.hear(reply(Claim.DEFERRED))
    assert life.hear(reply(Claim.DEFERRED)).outcome is Outcome.IGNORED


def test_a_job_that_shows_up_after_a_deferral_is_adopted_and_not_bought_again() -> None:
    """The provider said it made nothing, and made it: an id that was learned is evidence, the queue is a plan."""
    life = Life(SUBMITTING)
    life.hear(reply(Claim.DEFERRED))
    life.hear(push(Claim.RUNNING))
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.PROCESSING, JOB)
    assert life.hear(intent(START + MINUTE)).outcome is Outcome.IGNORED


def test_a_job_of_a_task_that_was_never_submitted_is_a_conflict() -> None:
    life = Life(QUEUED)
    assert life.hear(push(Claim.RUNNING)).outcome is Outcome.CONFLICT
    assert (life.task.status, life.conflicts) == (TaskStatus.QUEUED, [f"surplus:{JOB}"])
