"""An older copy of the database: what was open then is looked for before anything is sent, and bought once."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from service.core.events import EventType
from service.core.lifecycle import SECOND, Outcome, may_resend
from service.core.observation import Claim, Source
from service.core.restoring import since
from storage.records import Charge, OnAmbiguous, Task, TaskStatus
from tests.service.core.builders import (
    ALL,
    HOUR,
    JOB,
    PERMITTED,
    QUEUED,
    SETTLE,
    START,
    SUBMITTING,
    UNCONFIRMED,
    Life,
    look_up,
    reply,
    rules,
    see,
)

AT = START + HOUR
MAY_HAVE_BEEN_BOUGHT = (QUEUED, SUBMITTING, UNCONFIRMED, PERMITTED)
FALLBACK = orjson.dumps(
    [
        {
            "account": "ulazai",
            "provider": "ulazai",
            "model": "kling-3.0",
            "input": "{}",
            "options": "{}",
            "estimated": None,
        }
    ]
).decode()


def brought_back(task: Task, *, look_up: bool = True, **other: bool) -> Life:
    life = Life(task, look_up=look_up)
    life.hear(see(Claim.RESTORED, Source.OPERATOR, AT, detail=since(START)), **other)
    return life


def searched_in_vain(life: Life) -> Life:
    """As often and as late as it takes to believe it."""
    for at in (AT + 5 * SECOND, AT + 30 * SECOND, AT + SETTLE):
        life.hear(look_up(Claim.ABSENT, at))
    return life


@pytest.mark.parametrize("task", MAY_HAVE_BEEN_BOUGHT)
def test_whatever_may_have_been_bought_since_the_copy_is_in_doubt_and_told_once(task: Task) -> None:
    life = brought_back(task)
    assert (life.task.status, life.task.charge) == (TaskStatus.UNCONFIRMED, Charge.POSSIBLE)
    assert life.task.permitted_at is None
    assert not may_resend(life.task, rules(AT + HOUR // 2))
    assert [note.kind for note in life.notes] == ["restored"]
    assert life.told == ([EventType.TASK_UNCONFIRMED] if task in (QUEUED, SUBMITTING) else [])


@pytest.mark.parametrize("task", [one for one in ALL if one not in MAY_HAVE_BEEN_BOUGHT])
def test_a_task_with_a_job_or_an_end_is_as_it_was(task: Task) -> None:
    assert brought_back(task).outcomes == [Outcome.IGNORED]


def test_only_a_person_brings_a_copy_back() -> None:
    for source in Source:
        life = Life(QUEUED)
        life.hear(see(Claim.RESTORED, source, AT))
        assert (life.task.status is TaskStatus.UNCONFIRMED) == (source is Source.OPERATOR)


def test_a_job_that_was_bought_since_is_found_and_followed() -> None:
    life = brought_back(QUEUED)
    life.hear(look_up(Claim.RUNNING, AT + 5 * SECOND, provider_task_id=JOB, external_id=QUEUED.id))
    assert (life.task.status, life.task.provider_task_id) == (TaskStatus.PROCESSING, JOB)


def test_what_was_not_bought_is_queued_again_only_after_it_was_looked_for_past_the_settle_window() -> None:
    life = brought_back(QUEUED)
    for _ in range(5):
        life.hear(look_up(Claim.ABSENT, AT + SETTLE - SECOND))
    assert life.task.status is TaskStatus.UNCONFIRMED
    life.hear(look_up(Claim.ABSENT, AT + SETTLE))
    assert (life.task.status, life.task.charge, life.task.due_at) == (TaskStatus.QUEUED, Charge.NONE, AT + SETTLE)
    assert (life.task.submissions, life.task.resends, life.notes[-1].kind) == (0, 0, "queued_again")


def test_what_was_being_bought_is_sent_once_more_and_counts_as_a_resend() -> None:
    life = searched_in_vain(brought_back(SUBMITTING))
    assert life.task.status is TaskStatus.UNCONFIRMED
    assert may_resend(life.task, rules(AT + SETTLE))


@pytest.mark.parametrize("task", [QUEUED, SUBMITTING])
def test_where_nobody_can_be_searched_it_is_held_whatever_its_project_accepts(task: Task) -> None:
    """The one second charge that was accepted may have been made in the time that is not remembered."""
    life = brought_back(replace(task, on_ambiguous=OnAmbiguous.RESUBMIT), look_up=False, resend=False)
    for later in (0, SETTLE, 20 * SETTLE):
        assert not may_resend(life.task, rules(AT + later, look_up=False, resend=False))


def test_a_list_that_shows_no_such_job_is_not_enough_where_our_id_is_not_known() -> None:
    life = brought_back(QUEUED, resend=False)
    for at in (AT + 5 * SECOND, AT + 30 * SECOND, AT + SETTLE):
        life.hear(look_up(Claim.ABSENT, at), resend=False)
    assert life.task.status is TaskStatus.UNCONFIRMED


def test_a_task_that_may_have_gone_on_to_a_fallback_is_held() -> None:
    life = searched_in_vain(brought_back(replace(QUEUED, fallbacks=FALLBACK)))
    assert life.task.status is TaskStatus.UNCONFIRMED
    assert not may_resend(life.task, rules(AT + SETTLE))


def test_a_refusal_after_it_was_queued_again_is_one() -> None:
    life = searched_in_vain(brought_back(QUEUED))
    life.hear(see(Claim.INTENT, Source.SUBMIT, AT + SETTLE, submission_deadline_at=AT + SETTLE + 30 * SECOND))
    life.hear(reply(Claim.REFUSED, AT + SETTLE + SECOND, submission_deadline_at=AT + SETTLE + 30 * SECOND))
    assert (life.task.status, life.task.final) == (TaskStatus.FAILED, True)


def test_a_copy_brought_back_twice_begins_the_search_anew() -> None:
    life = brought_back(QUEUED)
    life.hear(look_up(Claim.ABSENT, AT + SETTLE))
    life.hear(see(Claim.RESTORED, Source.OPERATOR, AT + SETTLE))
    assert (life.task.streak, life.task.submission_deadline_at) == (None, AT + SETTLE)
    assert life.told == [EventType.TASK_UNCONFIRMED]


def test_in_doubt_once_more_after_it_was_queued_again_is_told_as_a_fact_of_its_own() -> None:
    life = searched_in_vain(brought_back(QUEUED))
    by = AT + SETTLE + 30 * SECOND
    life.hear(see(Claim.INTENT, Source.SUBMIT, AT + SETTLE, submission_deadline_at=by))
    life.hear(reply(Claim.AMBIGUOUS, AT + SETTLE + SECOND, submission_deadline_at=by))
    assert life.told == [EventType.TASK_UNCONFIRMED] * 2
    assert len({draft.discriminator for draft in life.drafts}) == 2
