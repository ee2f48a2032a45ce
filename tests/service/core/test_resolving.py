"""What a person may decide of a purchase whose fate is unknown, and that every such word is audited."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.events import EventType
from service.core.lifecycle import SECOND, Outcome, Rules, advance, may_resend
from service.core.observation import Claim, Observation, Source
from service.core.resolving import Deed, deed, why_not
from storage.records import OPEN_STATUSES, Charge, FailureCode, OnAmbiguous, Task, TaskStatus
from tests.service.core.builders import (
    ALL,
    ANNA,
    DEADLINE,
    HOUR,
    JOB,
    MINUTE,
    PERMITTED,
    PROCESSING,
    SETTLE,
    START,
    SUBMIT_BY,
    UNCONFIRMED,
    Life,
    intent,
    order,
    push,
    rules,
    see,
)

LATER = START + HOUR
BY = {"by": ANNA.name, "key": ANNA.key_id}


def test_a_permission_waits_for_the_last_submission_to_be_over_and_then_sends_at_once() -> None:
    life = Life(UNCONFIRMED, look_up=False)
    life.hear(order(Claim.RESUBMIT, START + SECOND))
    assert (life.task.permitted_at, life.task.due_at) == (START + SECOND, SUBMIT_BY)
    life = Life(UNCONFIRMED, look_up=False)
    life.hear(order(Claim.RESUBMIT, LATER))
    assert life.task.due_at == LATER
    assert may_resend(life.task, rules(LATER, look_up=False))


def test_a_permission_changes_nothing_but_what_comes_next() -> None:
    life = Life(UNCONFIRMED)
    life.hear(order(Claim.RESUBMIT))
    assert (life.task.status, life.task.submissions, life.task.charge) == (TaskStatus.UNCONFIRMED, 1, Charge.POSSIBLE)
    assert (life.notes[-1].kind, life.notes[-1].detail, life.drafts) == ("resubmit_allowed", BY, [])


def test_a_permission_is_given_once_and_after_its_use_anew() -> None:
    life = Life(UNCONFIRMED, look_up=False)
    life.hear(order(Claim.RESUBMIT, LATER))
    assert life.hear(order(Claim.RESUBMIT, LATER)).outcome is Outcome.IGNORED
    life.hear(intent(LATER, by=LATER + 30 * SECOND))
    assert life.hear(order(Claim.RESUBMIT, LATER)).outcome is Outcome.IGNORED
    life.hear(see(Claim.AMBIGUOUS, Source.SUBMIT, LATER))
    life.hear(order(Claim.RESUBMIT, LATER + MINUTE))
    life.hear(intent(LATER + MINUTE, by=LATER + 2 * MINUTE))
    assert (life.task.submissions, life.task.resends) == (3, 2)


@pytest.mark.parametrize(
    ("task", "more"),
    [
        *((task, {}) for task in ALL if task != UNCONFIRMED),
        (UNCONFIRMED, {"configured": False}),
        (UNCONFIRMED, {"now": DEADLINE}),
        (replace(UNCONFIRMED, deadline_at=SUBMIT_BY), {}),
        (replace(UNCONFIRMED, submission_deadline_at=None), {}),
    ],
)
def test_whatever_could_lead_to_no_submission_is_not_permitted(task: Task, more: dict[str, Any]) -> None:
    assert Life(task).hear(order(Claim.RESUBMIT), **more).outcome is Outcome.IGNORED


@pytest.mark.parametrize("source", [source for source in Source if source is not Source.OPERATOR])
@pytest.mark.parametrize("claim", [Claim.RESUBMIT, Claim.ABANDON, Claim.ADOPT, Claim.CANCEL])
def test_only_a_person_gives_orders(claim: Claim, source: Source) -> None:
    for task in ALL:
        step = advance(task, see(claim, source, provider_task_id=JOB), rules())
        assert step.task.permitted_at == task.permitted_at
        assert step.task.adopted_at == task.adopted_at
        assert step.task.finished_at == task.finished_at


def test_a_job_that_is_found_uses_a_permission_up() -> None:
    life = Life(PERMITTED)
    life.hear(push(Claim.RUNNING))
    assert (life.task.status, life.task.permitted_at) == (TaskStatus.PROCESSING, None)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["permission", "intent", "intent", "lost", "nothing there"]),
            st.sampled_from([0, 1, 10, 60, 300]),
        ),
        max_size=40,
    ),
    st.sampled_from(OnAmbiguous),
    st.booleans(),
)
def test_however_words_and_intents_mix_there_is_a_reason_for_each_submission(
    heard: list[tuple[str, int]], policy: OnAmbiguous, look: bool
) -> None:
    """A permission buys once; beside those, one submission at most, by evidence or by the policy."""
    life, now, permissions, alone = Life(replace(UNCONFIRMED, on_ambiguous=policy), look_up=look), START, 0, 0
    for kind, seconds in heard:
        now += seconds * SECOND
        before = life.task
        match kind:
            case "permission":
                permissions += life.hear(order(Claim.RESUBMIT, now)).outcome is not Outcome.IGNORED
            case "intent":
                life.hear(intent(now, by=now + 30 * SECOND))
            case "lost":
                life.hear(see(Claim.AMBIGUOUS, Source.SUBMIT, now))
            case _:
                life.hear(see(Claim.ABSENT, Source.LOOK_UP, now))
        if life.task.submissions > before.submissions:
            alone += before.permitted_at is None
            assert before.submission_deadline_at is not None
            assert now >= before.submission_deadline_at
    assert life.task.submissions - 1 == life.task.resends <= permissions + alone
    assert alone <= (1 if look or policy is OnAmbiguous.RESUBMIT else 0)


@pytest.mark.parametrize("task", [UNCONFIRMED, PERMITTED])
def test_t8_an_unconfirmed_task_can_be_abandoned_and_may_still_be_charged(task: Task) -> None:
    life = Life(task)
    life.hear(order(Claim.ABANDON))
    assert life.task.failure is not None
    assert life.task.failure.code is FailureCode.SUBMIT_ABANDONED
    assert (life.task.status, life.task.charge, life.task.final) == (TaskStatus.FAILED, Charge.POSSIBLE, False)
    assert (life.told, life.hard, life.notes[-1].detail) == ([EventType.TASK_FAILED], [], BY)


@pytest.mark.parametrize("task", [task for task in ALL if task.status is not TaskStatus.UNCONFIRMED])
def test_t8_nothing_else_can(task: Task) -> None:
    assert Life(task).hear(order(Claim.ABANDON)).outcome is Outcome.IGNORED


def audited(task: Task, seen: Observation, known: Rules) -> Deed | None:
    return deed(seen, advance(task, seen, known))


def test_a_persons_word_is_audited_when_it_counts() -> None:
    now = rules(LATER)
    assert audited(UNCONFIRMED, order(Claim.ADOPT, LATER, JOB), now) == Deed(
        action="adopt", detail={"provider_task_id": JOB}
    )
    assert audited(UNCONFIRMED, order(Claim.RESUBMIT, LATER), now) == Deed(
        action="resubmit", detail={"possible_double_charge": True}
    )
    assert audited(UNCONFIRMED, order(Claim.ABANDON, LATER), now) == Deed(action="abandon")
    for claim in (Claim.ADOPT, Claim.RESUBMIT, Claim.ABANDON):
        assert audited(PROCESSING, order(claim, LATER, "job-2"), now) is None


def test_so_is_a_policy_that_spoke_in_their_place_and_nothing_else_of_a_submission() -> None:
    settled = SUBMIT_BY + SETTLE
    policy = replace(UNCONFIRMED, on_ambiguous=OnAmbiguous.RESUBMIT)
    seen, held = intent(settled, by=settled + 30 * SECOND), rules(settled, look_up=False)
    assert audited(policy, seen, held) == Deed(action="resubmit", detail={"by": "policy", "submission": 2})
    assert audited(replace(PERMITTED, on_ambiguous=OnAmbiguous.RESUBMIT), seen, held) is None
    assert audited(policy, push(Claim.RUNNING), rules()) is None


@pytest.mark.parametrize("claim", [Claim.ADOPT, Claim.RESUBMIT, Claim.ABANDON])
@pytest.mark.parametrize("known", [rules(LATER), rules(LATER, configured=False), rules(DEADLINE), rules(2 * DEADLINE)])
def test_why_not_says_something_exactly_where_nothing_changes(claim: Claim, known: Rules) -> None:
    for task in ALL:
        step = advance(task, order(claim, known.now, "job-9"), known)
        told = why_not(task, claim, known)
        assert (told is None) == (step.outcome is not Outcome.IGNORED), (task.status, told)
        assert told is None or ("None" not in told and told.endswith("."))


def test_every_refusal_names_what_can_be_done_instead() -> None:
    for task in ALL:
        for claim in (Claim.ADOPT, Claim.RESUBMIT, Claim.ABANDON):
            told = why_not(task, claim, rules(LATER))
            ended = task.status not in OPEN_STATUSES
            assert told is None or ended == ("ended" in told)
