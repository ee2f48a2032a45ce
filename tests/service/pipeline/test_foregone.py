"""What is told without asking anybody, and only when it is true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.core.observation import Claim, Observation, Reading, Source
from service.core.schedule import Bucket
from service.pipeline import foregone
from service.pipeline.due import Round
from service.pipeline.health import Health
from storage.records import Failure, FailureCode, Lane, LaneKind, Task, TaskStatus
from tests.service.pipeline.parties import SECOND, Clock
from tests.storage.builders import task

CREDIT = Failure(code=FailureCode.INSUFFICIENT_CREDIT, message="the credit is used up", retryable=True)
MINUTE = 60 * SECOND
LANE = Lane(kind=LaneKind.ACCOUNT, key="a", epoch=1)


def account(clock: Clock, *answers: tuple[Reading, bool]) -> Health:
    health = Health(LANE, Bucket(9.0, now=clock()), clock=clock)
    for reading, bought in answers:
        health.learn(reading, bought=bought, sent_at=clock())
    return health


def refused(clock: Clock) -> Health:
    """Refused for a quarter of an hour, the last time just now."""
    answer = Reading(claim=Claim.DEFERRED, failure=CREDIT, account_refused=True), True
    health = account(clock, answer)
    clock.advance(900)
    health.learn(answer[0], bought=True, sent_at=clock())
    return health


def down(clock: Clock) -> Health:
    return account(clock, *[(Reading(claim=Claim.UNREACHABLE), False)] * 10)


def made(clock: Clock, status: TaskStatus, *, deadline: int = MINUTE, age: int = 60 * MINUTE) -> Task:
    now = clock()
    return replace(task(status=status), created_at=now - age, due_at=now - 1, deadline_at=now + deadline)


def told(clock: Clock, health: Health, *found: Task, look_up: bool = True) -> list[Observation]:
    by = {status: [one for one in found if one.status is status] for status in TaskStatus}
    rows = Round(
        queued=by[TaskStatus.QUEUED], unconfirmed=by[TaskStatus.UNCONFIRMED], overdue=by[TaskStatus.PROCESSING]
    )
    return list(foregone.tell(rows, health, LANE, look_up=look_up, now=clock()))


def said(seen: list[Observation]) -> list[tuple[Source, Claim]]:
    return [(one.source, one.claim) for one in seen]


@pytest.mark.parametrize("status", [TaskStatus.QUEUED, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING])
def test_where_all_is_well_nothing_is_told(clock: Clock, status: TaskStatus) -> None:
    assert told(clock, account(clock), made(clock, status)) == []


def test_a_queued_task_past_its_deadline_is_told_so(clock: Clock) -> None:
    assert said(told(clock, account(clock), made(clock, TaskStatus.QUEUED, deadline=0))) == [
        (Source.DEADLINE, Claim.OVERDUE)
    ]


def test_a_lost_purchase_that_nobody_can_look_for_waits_for_its_deadline(clock: Clock) -> None:
    for deadline, expected in ((1, []), (0, [(Source.DEADLINE, Claim.OVERDUE)])):
        unsure = made(clock, TaskStatus.UNCONFIRMED, deadline=deadline)
        assert said(told(clock, account(clock), unsure, look_up=False)) == expected


def test_queued_tasks_hear_of_a_refusal_that_has_lasted_and_of_its_reason(clock: Clock) -> None:
    health = refused(clock)
    [one] = told(clock, health, made(clock, TaskStatus.QUEUED))
    assert (one.source, one.claim, one.submission_id) == (Source.SUBMIT, Claim.DEFERRED, None)
    assert (one.reading.failure, one.reading.account_refused) == (CREDIT, True)
    assert one.reading.refused_since == clock() - 900 * SECOND


def test_a_task_that_came_later_hears_of_it_later(clock: Clock) -> None:
    health = refused(clock)
    assert told(clock, health, made(clock, TaskStatus.QUEUED, age=15 * MINUTE - 1)) == []
    assert len(told(clock, health, made(clock, TaskStatus.QUEUED, age=15 * MINUTE))) == 1


def test_a_refusal_that_is_to_be_tried_again_is_not_told(clock: Clock) -> None:
    health = refused(clock)
    clock.advance(300)
    assert told(clock, health, made(clock, TaskStatus.QUEUED)) == []


@pytest.mark.parametrize(
    ("status", "source"), [(TaskStatus.PROCESSING, Source.POLL), (TaskStatus.UNCONFIRMED, Source.LOOK_UP)]
)
def test_past_its_deadline_a_task_hears_that_its_provider_cannot_be_asked(
    clock: Clock, status: TaskStatus, source: Source
) -> None:
    health = down(clock)
    assert told(clock, health, made(clock, status, deadline=1)) == []
    [one] = told(clock, health, made(clock, status, deadline=0))
    assert (one.source, one.claim, one.account) == (source, Claim.UNREACHABLE, "a")
    assert one.reading.detail is not None and "breaker open" in one.reading.detail


def test_a_task_that_can_be_asked_after_is_asked_and_not_told(clock: Clock) -> None:
    assert told(clock, account(clock), made(clock, TaskStatus.PROCESSING, deadline=0)) == []


def test_what_a_dead_owner_left_on_its_way_may_have_been_bought(clock: Clock) -> None:
    [one] = foregone.adrift([("task_1", "sub_1")], LANE, now=clock())
    assert (one.task_id, one.submission_id, one.source, one.claim) == (
        "task_1",
        "sub_1",
        Source.SUBMIT,
        Claim.AMBIGUOUS,
    )


def test_nobody_is_told_twice_in_one_round(clock: Clock) -> None:
    late = made(clock, TaskStatus.QUEUED, deadline=0)
    rows = Round(queued=[late], overdue=[late])
    assert len(list(foregone.tell(rows, account(clock), LANE, look_up=True, now=clock()))) == 1
