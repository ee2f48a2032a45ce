"""C16: a task goes on to another account only out of "refused, never made", whole, in order, and told on the timeline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import fallback
from service.core.events import EventType
from service.core.fallback import Candidate
from service.core.lifecycle import SECOND, Outcome
from service.core.observation import Claim, Observation, Source
from storage.records import Charge, Failure, FailureCode, Task, TaskStatus
from tests.service.core.builders import (
    DEADLINE,
    JOB,
    MINUTE,
    OUTPUT,
    PROCESSING,
    QUEUED,
    START,
    SUBMIT_BY,
    SUBMITTING,
    UNCONFIRMED,
    Life,
    intent,
    look_up,
    order,
    poll,
    push,
    reply,
    rules,
    see,
)

SECOND_CHOICE = Candidate(
    account="spare",
    provider="ulazai",
    model="kling-3.0",
    input='{"prompt":"p","duration":5}',
    provider_options='{"multiShots":false}',
    cost_unit="credit",
    cost_estimated="100",
    unit_price="0.02 USD",
)
THIRD_CHOICE = Candidate(account="third", provider="acedata", model="kling-v3", input="{}")
WITH_FALLBACKS = replace(
    QUEUED,
    fallbacks=fallback.dump([SECOND_CHOICE, THIRD_CHOICE]),
    reference="order-1",
    cost_unit="unit",
    cost_estimated="4",
)
ASKED = replace(
    SUBMITTING, fallbacks=WITH_FALLBACKS.fallbacks, reference="order-1", cost_unit="unit", cost_estimated="4"
)
NO = Failure(code=FailureCode.CONTENT_REJECTED, message="refused by their filter")


def test_c16_a_refused_task_goes_on_to_its_next_candidate_in_one_step_and_without_an_event() -> None:
    life = Life(WITH_FALLBACKS)
    life.hear(intent())
    step = life.hear(reply(Claim.REFUSED, failure=NO))
    task = life.task
    assert (step.outcome, task.status, task.due_at) == (Outcome.CHANGED, TaskStatus.QUEUED, START + SECOND)
    assert (task.account, task.provider, task.model) == ("spare", "ulazai", "kling-3.0")
    assert (task.input, task.provider_options) == (SECOND_CHOICE.input, SECOND_CHOICE.provider_options)
    assert (task.cost_unit, task.cost_estimated, task.unit_price) == ("credit", "100", "0.02 USD")
    assert fallback.load(task.fallbacks) == [THIRD_CHOICE]
    assert (life.told, task.sequence, task.charge, task.reference) == ([], 0, Charge.NONE, "order-1")
    [note] = step.notes
    assert note.kind == "failed_over"
    assert note.detail == {
        "message": "refused by their filter", "to_account": "spare", "to_provider": "ulazai", "to_model": "kling-3.0",
    }  # fmt: skip


def test_c16_the_task_fails_when_the_list_is_used_up_and_says_why_the_last_one_refused() -> None:
    life, now = Life(WITH_FALLBACKS), START
    for choice in ("main", "spare", "third"):
        assert life.task.account == choice
        now += 10 * SECOND
        life.hear(intent(now, by=now + 30 * SECOND))
        life.hear(reply(Claim.REFUSED, now, failure=replace(NO, message=f"{choice} says no")))
    assert (life.task.status, life.task.account, life.task.submissions) == (TaskStatus.FAILED, "third", 3)
    assert life.task.failure is not None and life.task.failure.message == "third says no"
    assert life.told == [EventType.TASK_FAILED]
    assert [note.kind for note in life.notes] == ["intent", "failed_over", "intent", "failed_over", "intent", "refused"]


def test_c16_an_account_refused_for_fifteen_minutes_hands_its_task_on() -> None:
    life = Life(WITH_FALLBACKS)
    for minutes in (0, 5, 10, 15):
        assert life.task.account == "main"
        now = START + minutes * MINUTE
        life.hear(intent(now, by=now + 30 * SECOND))
        life.hear(reply(Claim.DEFERRED, now, account_refused=True))
    assert (life.task.account, life.task.status, life.task.streak) == ("spare", TaskStatus.QUEUED, None)
    assert life.told == []


@pytest.mark.parametrize("claim", [Claim.AMBIGUOUS, Claim.UNKNOWN, Claim.UNREACHABLE, Claim.ABSENT, Claim.DEFERRED])
def test_c16_nothing_but_a_refusal_leads_to_another_account(claim: Claim) -> None:
    life = Life(ASKED)
    life.hear(reply(claim))
    assert (life.task.account, life.task.fallbacks) == ("main", WITH_FALLBACKS.fallbacks)


def test_c16_a_refusal_of_what_may_have_been_bought_changes_nothing() -> None:
    life = Life(replace(UNCONFIRMED, fallbacks=WITH_FALLBACKS.fallbacks))
    life.hear(reply(Claim.REFUSED, failure=NO))
    assert (life.task.account, life.task.status) == ("main", TaskStatus.UNCONFIRMED)


@pytest.mark.parametrize("account_refused", [False, True])
@pytest.mark.parametrize("claim", [Claim.REFUSED, Claim.DEFERRED])
def test_c16_after_a_resend_no_refusal_leads_to_another_account(claim: Claim, account_refused: bool) -> None:
    life = Life(replace(ASKED, resends=1, submissions=2))
    for minutes in (0, 10, 20, 30):
        life.hear(reply(claim, START + minutes * MINUTE, account_refused=account_refused))
    assert (life.task.account, life.task.status) == ("main", TaskStatus.UNCONFIRMED)


def test_c16_a_providers_failure_is_no_refusal() -> None:
    life = Life(replace(PROCESSING, fallbacks=WITH_FALLBACKS.fallbacks))
    life.hear(poll(Claim.FAILED, failure=NO))
    assert (life.task.account, life.task.status) == ("main", TaskStatus.FAILED)


def test_past_the_deadline_nobody_else_is_asked() -> None:
    life = Life(ASKED)
    life.hear(reply(Claim.REFUSED, DEADLINE, failure=NO))
    assert (life.task.account, life.task.status) == ("main", TaskStatus.FAILED)


def test_an_account_that_is_no_longer_configured_is_skipped() -> None:
    life = Life(ASKED)
    step = life.hear(reply(Claim.REFUSED, failure=NO), usable={"main", "third"})
    assert (life.task.account, life.task.fallbacks) == ("third", "[]")
    assert step.notes[0].detail["skipped"] == ["spare"]
    nobody = Life(ASKED)
    nobody.hear(reply(Claim.REFUSED, failure=NO), usable={"main"})
    assert nobody.task.status is TaskStatus.FAILED


@pytest.mark.parametrize(
    "seen",
    [
        intent(START + MINUTE, by=START + 2 * MINUTE),
        reply(Claim.AMBIGUOUS),
        reply(Claim.REFUSED, failure=NO),
        reply(Claim.DEFERRED),
        look_up(Claim.ABSENT),
        look_up(Claim.UNREACHABLE),
        push(Claim.SUCCEEDED),
    ],
    ids=lambda seen: f"{seen.source}-{seen.claim}",
)
def test_what_a_former_account_still_says_of_no_job_changes_nothing(seen: Observation) -> None:
    for task in (moved(), moved(Claim.INTENT), moved(Claim.INTENT, Claim.ACCEPTED)):
        assert Life(task).hear(replace_account(seen, "main")).outcome is Outcome.IGNORED


@pytest.mark.parametrize(
    "seen", [reply(Claim.ACCEPTED, provider_task_id=JOB), look_up(Claim.SUCCEEDED, provider_task_id=JOB)]
)
def test_a_job_that_a_former_account_made_after_all_is_one_too_many_and_never_ours(seen: Observation) -> None:
    for task in (moved(), moved(Claim.INTENT), moved(Claim.INTENT, Claim.ACCEPTED)):
        life = Life(task)
        life.hear(replace_account(seen, "main"))
        assert life.conflicts == [f"surplus:{JOB}"]
        assert (life.task.status, life.task.provider_task_id) == (task.status, task.provider_task_id)


def test_an_id_of_a_former_account_that_equals_anothers_job_is_still_one_too_many() -> None:
    life = Life(moved())
    life.hear(replace_account(look_up(Claim.RUNNING, provider_task_id=JOB), "main"), taken=True)
    assert life.conflicts == [f"surplus:{JOB}"]


def test_no_candidates_are_two_brackets_and_back() -> None:
    assert (fallback.dump([]), fallback.load("[]")) == ("[]", [])
    assert fallback.load(fallback.dump([SECOND_CHOICE, THIRD_CHOICE])) == [SECOND_CHOICE, THIRD_CHOICE]


def test_a_caller_that_has_no_fallbacks_hears_so() -> None:
    refusal = see(Claim.REFUSED, Source.SUBMIT)
    assert fallback.go_on(SUBMITTING, refusal, rules(), NO) is None
    assert fallback.go_on(ASKED, refusal, rules(), NO) is not None
    assert fallback.go_on(replace(ASKED, resends=1), refusal, rules(), NO) is None  # C16, whoever calls


MESSAGES = ("intent", "resubmit", "refused", "key", "busy", "unclear", "accepted", "gone", "done", "failed")


def message(kind: str, now: int, life: Life) -> Observation:
    """One message of a kind, as the task's own account or an earlier one would send it."""
    match kind:
        case "intent":
            return intent(now, by=now + 30 * SECOND)
        case "resubmit":
            return order(Claim.RESUBMIT, now)
        case "refused":
            return reply(Claim.REFUSED, now, failure=NO)
        case "key":
            return reply(Claim.DEFERRED, now, account_refused=True)
        case "busy":
            return reply(Claim.DEFERRED, now)
        case "unclear":
            return reply(Claim.AMBIGUOUS, now)
        case "accepted":
            return reply(Claim.ACCEPTED, now, provider_task_id=f"job-of-{life.task.account}")
        case "gone":
            return look_up(Claim.ABSENT, now)
        case "done":
            return poll(Claim.SUCCEEDED, now, outputs=(OUTPUT,))
        case _:
            return poll(Claim.FAILED, now, failure=NO)


@given(
    st.lists(
        st.tuples(st.sampled_from(MESSAGES), st.sampled_from(["now", "main", "spare"]), st.integers(0, 8)), max_size=25
    )
)
def test_c16_whatever_is_heard_a_task_moves_only_where_nothing_can_have_been_made(
    heard: list[tuple[str, str, int]],
) -> None:
    life, now = Life(WITH_FALLBACKS), START
    for kind, speaker, minutes in heard:
        now += minutes * MINUTE
        before = life.task
        seen = replace_account(message(kind, now, life), before.account if speaker == "now" else speaker)
        life.hear(seen)
        if life.task.account != before.account:
            assert seen.claim in (Claim.REFUSED, Claim.DEFERRED) and seen.account == before.account
            assert (before.resends, before.provider_task_id, before.charge) == (0, None, Charge.NONE)
            assert before.status in (TaskStatus.SUBMITTING, TaskStatus.QUEUED)
            assert life.task.status is TaskStatus.QUEUED and life.notes[-1].kind == "failed_over"
            assert len(fallback.load(life.task.fallbacks)) < len(fallback.load(before.fallbacks))


def moved(*heard: Claim) -> Task:
    """A task that main refused, at its second account, where it has heard so much."""
    life = Life(ASKED)
    life.hear(reply(Claim.REFUSED, failure=NO))
    for claim in heard:
        if claim is Claim.INTENT:
            life.hear(replace_account(intent(START + MINUTE, by=SUBMIT_BY + MINUTE), "spare"))
        else:
            life.hear(replace_account(reply(claim, START + MINUTE, provider_task_id="job-9"), "spare"))
    assert life.task.account == "spare"
    return life.task


def replace_account(seen: Observation, account: str) -> Observation:
    return replace(seen, account=account)
