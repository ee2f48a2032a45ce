"""A person may name the job of a lost purchase, and a slip of the pen costs nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.core.events import EventType
from service.core.lifecycle import SECOND, Outcome
from service.core.observation import Claim, Observation, Source
from storage.records import Charge, Surplus, Task, TaskStatus
from tests.service.core.builders import (
    ABANDONED,
    ADOPTED,
    ALL,
    ANNA,
    DAY,
    DEADLINE,
    EXPIRED_UNBOUND,
    HOUR,
    JOB,
    MINUTE,
    OUTPUT,
    PERMITTED,
    QUEUED,
    START,
    SUBMIT_BY,
    UNCONFIRMED,
    Life,
    look_up,
    order,
    poll,
    push,
    reply,
    see,
)

NOW = START + HOUR
ADOPTABLE = (UNCONFIRMED, PERMITTED, EXPIRED_UNBOUND, ABANDONED)
LATE = DEADLINE + DAY


def adopt(at: int = NOW, job: str = JOB) -> Observation:
    return order(Claim.ADOPT, at, job)


@pytest.mark.parametrize("task", [UNCONFIRMED, PERMITTED])
def test_t3_a_persons_word_binds_the_job_and_makes_us_ask_at_once(task: Task) -> None:
    life = Life(task)
    life.hear(adopt())
    assert (life.task.status, life.task.provider_task_id, life.task.due_at) == (TaskStatus.PROCESSING, JOB, NOW)
    assert (life.task.permitted_at, life.task.submitted_at, life.task.charge) == (None, None, Charge.POSSIBLE)


def test_t3_the_timeline_has_who_said_so_and_subscribers_hear_nothing_yet() -> None:
    life = Life(UNCONFIRMED)
    life.hear(adopt())
    [note] = life.notes
    assert (note.kind, note.detail) == ("adopted", {"provider_task_id": JOB, "by": ANNA.name, "key": ANNA.key_id})
    assert life.drafts == []


@pytest.mark.parametrize("task", [EXPIRED_UNBOUND, ABANDONED])
def test_t3_after_a_soft_end_the_job_is_asked_after_and_the_end_stays(task: Task) -> None:
    life = Life(task)
    life.hear(adopt(LATE))
    assert (life.task.status, life.task.provider_task_id, life.task.due_at) == (task.status, JOB, LATE)
    life.hear(poll(Claim.SUCCEEDED, LATE, outputs=(OUTPUT,)))
    assert (life.task.status, life.task.late, life.told) == (TaskStatus.SUCCEEDED, True, [EventType.TASK_SUCCEEDED])


def test_t3_a_job_that_still_runs_after_a_soft_end_is_watched_for_the_rest_of_its_week() -> None:
    life = Life(EXPIRED_UNBOUND)
    life.hear(adopt(LATE))
    life.hear(poll(Claim.RUNNING, LATE))
    assert (life.task.status, life.task.adopted_at, life.task.due_at) == (TaskStatus.EXPIRED, None, LATE + HOUR)


@pytest.mark.parametrize("task", [task for task in ALL if task not in ADOPTABLE])
def test_nothing_else_can_be_adopted(task: Task) -> None:
    assert Life(task).hear(adopt(job="job-2")).outcome is Outcome.IGNORED


@pytest.mark.parametrize(
    ("task", "seen", "more"),
    [
        (UNCONFIRMED, adopt(), {"taken": True}),
        (UNCONFIRMED, adopt(), {"configured": False}),
        (UNCONFIRMED, order(Claim.ADOPT), {}),
        (EXPIRED_UNBOUND, adopt(DEADLINE + 30 * DAY + 1), {}),
        (UNCONFIRMED, see(Claim.ADOPT, Source.CALLBACK, NOW, provider_task_id=JOB), {}),
        (UNCONFIRMED, see(Claim.ADOPT, Source.SUBMIT, NOW, provider_task_id=JOB), {}),
    ],
    ids=["it is another task's", "nobody can be asked", "no id", "30 days after", "a push says so", "a reply says so"],
)
def test_whatever_is_missing_binds_nothing(task: Task, seen: Observation, more: dict[str, Any]) -> None:
    life = Life(task)
    life.hear(seen, **more)
    assert (life.task.provider_task_id, life.drafts) == (None, [])


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        (poll(Claim.WAITING, NOW), []),
        (poll(Claim.RUNNING, NOW), [EventType.TASK_PROCESSING]),
        (poll(Claim.SUCCEEDED, NOW, outputs=(OUTPUT,)), [EventType.TASK_SUCCEEDED]),
        (poll(Claim.FAILED, NOW), [EventType.TASK_FAILED]),
        (push(Claim.RUNNING, NOW), [EventType.TASK_PROCESSING]),
        (reply(Claim.ACCEPTED, NOW, provider_task_id=JOB), []),
    ],
)
def test_it_is_told_as_submitted_once_the_provider_shows_it(heard: Observation, told: list[EventType]) -> None:
    life = Life(UNCONFIRMED)
    life.hear(adopt())
    life.hear(heard)
    assert (life.task.adopted_at, life.task.submitted_at) == (None, NOW)
    assert life.told == [EventType.TASK_SUBMITTED, *told]
    assert life.task.charge is not Charge.NONE
    assert life.task.phase != "adopted"


def test_t18_a_job_that_the_provider_does_not_know_is_taken_off_again_and_told() -> None:
    life = Life(UNCONFIRMED, look_up=False)
    life.hear(adopt())
    step = life.hear(poll(Claim.ABSENT, NOW))
    assert (life.task.status, life.task.provider_task_id, life.task.due_at) == (TaskStatus.UNCONFIRMED, None, DEADLINE)
    assert (life.task.charge, life.task.adopted_at) == (Charge.POSSIBLE, None)
    assert (step.outcome, life.conflicts) == (Outcome.CONFLICT, [f"adoption:{JOB}"])
    assert life.notes[-1].detail == {"provider_task_id": JOB, "why": "the provider knows no such job"}


def test_t18_the_right_one_may_be_named_then() -> None:
    life = Life(UNCONFIRMED)
    life.hear(adopt(job="jop-1"))
    life.hear(poll(Claim.ABSENT, NOW))
    life.hear(adopt(NOW + MINUTE))
    life.hear(poll(Claim.SUCCEEDED, NOW + MINUTE, outputs=(OUTPUT,)))
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.SUCCEEDED, JOB)
    assert life.told[-2:] == [EventType.TASK_SUBMITTED, EventType.TASK_SUCCEEDED]


@pytest.mark.parametrize("task", [EXPIRED_UNBOUND, ABANDONED])
def test_t18_after_a_soft_end_it_stands_where_it_stood(task: Task) -> None:
    life = Life(task)
    life.hear(adopt(LATE))
    life.hear(poll(Claim.ABSENT, LATE))
    assert (life.task.status, life.task.provider_task_id, life.task.due_at) == (task.status, None, None)


def test_t18_past_the_deadline_it_expires_as_it_would_have() -> None:
    life = Life(UNCONFIRMED)
    life.hear(adopt(DEADLINE - SECOND))
    life.hear(poll(Claim.ABSENT, DEADLINE))
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.EXPIRED, None)
    assert life.told == [EventType.TASK_CONFLICT, EventType.TASK_EXPIRED]


def test_t18_a_job_that_carries_another_tasks_id_is_taken_off() -> None:
    life = Life(ADOPTED)
    life.hear(poll(Claim.SUCCEEDED, NOW, external_id="task_2", outputs=(OUTPUT,)))
    assert (life.task.status, life.task.provider_task_id, life.task.outputs) == (TaskStatus.UNCONFIRMED, None, ())


@pytest.mark.parametrize(
    "heard",
    [
        look_up(Claim.ABSENT, NOW),
        poll(Claim.ABSENT, START),
        poll(Claim.UNREACHABLE, NOW),
        poll(Claim.UNKNOWN, NOW, provider_status="odd"),
    ],
    ids=["looked for by our id", "asked before", "not answered", "in an unknown word"],
)
def test_t18_only_a_clear_no_about_this_very_job_counts(heard: Observation) -> None:
    life = Life(ADOPTED)
    life.hear(heard)
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.PROCESSING, JOB)


def test_while_it_is_not_shown_it_is_asked_after_every_half_minute() -> None:
    life = Life(ADOPTED)
    life.hear(poll(Claim.UNREACHABLE, NOW))
    assert life.task.due_at == NOW + 30 * SECOND


@pytest.mark.parametrize("task", [ADOPTED, replace(EXPIRED_UNBOUND, provider_task_id=JOB, adopted_at=START)])
def test_evidence_beats_a_persons_word_that_nothing_confirmed(task: Task) -> None:
    life = Life(task)
    life.hear(look_up(Claim.RUNNING, NOW, provider_task_id="job-2", external_id=QUEUED.id))
    assert (life.task.provider_task_id, life.task.surplus) == ("job-2", ())
    assert life.conflicts == [f"adoption:{JOB}"]


def test_what_was_shown_is_kept_like_any_other_job() -> None:
    life = Life(ADOPTED)
    life.hear(poll(Claim.RUNNING, NOW))
    life.hear(poll(Claim.ABSENT, NOW + MINUTE))
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.PROCESSING, JOB)


def test_a_job_that_becomes_the_tasks_own_is_no_surplus() -> None:
    task = replace(UNCONFIRMED, surplus=(Surplus(provider_task_id=JOB, account="main", found_at=SUBMIT_BY),))
    for seen in (adopt(), look_up(Claim.RUNNING, NOW, provider_task_id=JOB, external_id=QUEUED.id)):
        life = Life(task)
        life.hear(seen)
        assert (life.task.provider_task_id, life.task.surplus) == (JOB, ())
