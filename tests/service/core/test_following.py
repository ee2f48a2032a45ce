from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.following import Facts, next_step
from service.core.observation import Claim
from service.core.times import iso
from storage.records import OnAmbiguous, Streak, Task, TaskStatus
from tests.service.core.builders import JOB, START, SUBMIT_BY, Life, intent, order, poll, reply
from tests.storage.builders import FUTURE, NOW, SECOND, task

ENDS = (TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED)
FACTS = Facts(now=NOW, pushes=True, look_up=True, resend=True)
MINUTE = 60 * SECOND


def ended(status: TaskStatus, **more: object) -> Task:
    return replace(task(status=status, finished_at=NOW, due_at=None), **more)  # type: ignore[arg-type]


POLICY: dict[str, Any] = {"status": TaskStatus.UNCONFIRMED, "submissions": 1, "on_ambiguous": OnAmbiguous.RESUBMIT}

CASES: list[tuple[str, Task, Facts, str, int, str]] = [
    ("queued", task(due_at=NOW), FACTS, "submit", NOW, "waits for its turn at account cloudsway"),
    (
        "refused for now",
        task(due_at=NOW + SECOND, streak=Streak.DEFERRED),
        FACTS,
        "submit",
        NOW + SECOND,
        "would not take it for now",
    ),
    (
        "key refused",
        task(due_at=NOW + MINUTE, streak=Streak.CREDENTIALS),
        FACTS,
        "submit",
        NOW + MINUTE,
        "refuses the key or balance",
    ),
    (
        "account held",
        task(due_at=NOW),
        replace(FACTS, held_until=NOW + MINUTE, held_reason="no credit"),
        "submit",
        NOW + MINUTE,
        "no credit",
    ),
    (
        "held past the deadline",
        task(due_at=NOW),
        replace(FACTS, held_until=FUTURE + 1),
        "expire",
        FUTURE,
        "deadline comes first",
    ),
    (
        "account refused",
        task(due_at=NOW, created_at=NOW - 10 * MINUTE),
        replace(FACTS, held_until=NOW + MINUTE, held_reason="no credit", refused_since=NOW - MINUTE),
        "submit",
        NOW + MINUTE,
        f"until {iso(NOW + 14 * MINUTE)}, the task fails unbought",
    ),
    (
        "questions held",
        task(status=TaskStatus.PROCESSING, due_at=NOW),
        replace(FACTS, queries_held_until=NOW + MINUTE, queries_held_reason="not so fast"),
        "poll",
        NOW + MINUTE,
        "Not before then: not so fast",
    ),
    ("breaker open", task(due_at=NOW), replace(FACTS, probe_at=NOW + 5), "submit", NOW + 5, "breaker open"),
    (
        "submitting",
        task(status=TaskStatus.SUBMITTING, due_at=None, submission_deadline_at=NOW + 9),
        FACTS,
        "settle",
        NOW + 9,
        "is being asked to take it",
    ),
    (
        "unconfirmed, can be asked",
        task(submissions=1, status=TaskStatus.UNCONFIRMED, due_at=NOW + 7),
        FACTS,
        "look_up",
        NOW + 7,
        "It is looked for",
    ),
    (
        "unconfirmed, not looked for again before its deadline",
        task(submissions=1, status=TaskStatus.UNCONFIRMED, due_at=FUTURE),
        FACTS,
        "expire",
        FUTURE,
        "The deadline ends it. To settle it now",
    ),
    (
        "unconfirmed, cannot be asked",
        task(submissions=1, status=TaskStatus.UNCONFIRMED, due_at=FUTURE),
        replace(FACTS, look_up=False),
        "hold",
        FUTURE,
        "may charge for it; it cannot be asked after a lost job. Held",
    ),
    (
        "unconfirmed, held, and what can be done",
        task(submissions=1, status=TaskStatus.UNCONFIRMED, due_at=FUTURE),
        replace(FACTS, look_up=False),
        "hold",
        FUTURE,
        "To settle it now: POST /v1/tasks/task_1/resolve with adopt (you know its job), resubmit",
    ),
    (
        "unconfirmed, permitted",
        task(
            submissions=1,
            status=TaskStatus.UNCONFIRMED,
            due_at=NOW,
            submission_deadline_at=NOW - 1,
            permitted_at=NOW - 1,
        ),
        replace(FACTS, look_up=False),
        "submit",
        NOW,
        "accepted by hand: sent once more",
    ),
    (
        "unconfirmed, permitted while its submission may still leave",
        task(
            submissions=1,
            status=TaskStatus.UNCONFIRMED,
            due_at=NOW + 9,
            submission_deadline_at=NOW + 9,
            permitted_at=NOW - 1,
        ),
        FACTS,
        "submit",
        NOW + 9,
        "accepted by hand",
    ),
    (
        "unconfirmed, permitted, breaker open",
        task(
            submissions=1,
            status=TaskStatus.UNCONFIRMED,
            due_at=NOW,
            submission_deadline_at=NOW - 1,
            permitted_at=NOW - 1,
        ),
        replace(FACTS, probe_at=NOW + 5),
        "submit",
        NOW + 5,
        "breaker open",
    ),
    (
        "unconfirmed, permitted, breaker open until it ends",
        task(
            submissions=1,
            status=TaskStatus.UNCONFIRMED,
            due_at=NOW,
            submission_deadline_at=NOW - 1,
            permitted_at=NOW - 1,
        ),
        replace(FACTS, probe_at=FUTURE + 5),
        "expire",
        FUTURE,
        "Its deadline comes first. To settle it now",
    ),
    (
        "unconfirmed, its project resubmits",
        task(**POLICY, due_at=NOW + 20 * SECOND, submission_deadline_at=NOW - 100 * SECOND),
        replace(FACTS, look_up=False),
        "submit",
        NOW + 20 * SECOND,
        "The project accepts a possible second charge",
    ),
    (
        "unconfirmed, its project resubmitted already",
        task(**POLICY, due_at=FUTURE, submission_deadline_at=NOW - 100 * SECOND, resends=1),
        replace(FACTS, look_up=False),
        "hold",
        FUTURE,
        "Held",
    ),
    (
        "unconfirmed, looked for in vain, its project resubmits",
        task(
            **POLICY,
            due_at=NOW,
            streak=Streak.ABSENT,
            streak_count=3,
            streak_last_at=NOW,
            submission_deadline_at=NOW - 200 * SECOND,
        ),
        replace(FACTS, resend=False),
        "submit",
        NOW,
        "The project accepts",
    ),
    (
        "a job named by hand",
        task(status=TaskStatus.PROCESSING, due_at=NOW, provider_task_id="job-1", adopted_at=NOW),
        FACTS,
        "poll",
        NOW,
        "job-1 was named by hand as its job. cloudsway is asked whether it is there",
    ),
    (
        "given up on, a job named by hand",
        ended(TaskStatus.EXPIRED, provider_task_id="job-1", adopted_at=NOW, due_at=NOW),
        FACTS,
        "poll",
        NOW,
        "job-1 was named by hand",
    ),
    (
        "unconfirmed, proven absent",
        task(
            submissions=1,
            status=TaskStatus.UNCONFIRMED,
            due_at=NOW,
            streak=Streak.ABSENT,
            streak_count=3,
            streak_last_at=NOW,
            submission_deadline_at=NOW - 200 * SECOND,
        ),
        FACTS,
        "submit",
        NOW,
        "sent once more",
    ),
    (
        "unconfirmed, never sent twice",
        task(
            submissions=1,
            status=TaskStatus.UNCONFIRMED,
            due_at=NOW,
            streak=Streak.ABSENT,
            streak_count=3,
            streak_last_at=NOW,
            submission_deadline_at=NOW - 200 * SECOND,
        ),
        replace(FACTS, resend=False),
        "look_up",
        NOW,
        "It is looked for",
    ),
    ("pushed", task(status=TaskStatus.PROCESSING, due_at=NOW + 3), FACTS, "poll", NOW + 3, "will push its end"),
    (
        "polled",
        task(status=TaskStatus.PROCESSING, due_at=NOW + 3),
        replace(FACTS, pushes=False),
        "poll",
        NOW + 3,
        "sends no pushes",
    ),
    (
        "past the deadline",
        task(status=TaskStatus.PROCESSING, due_at=NOW, deadline_at=NOW - 1),
        FACTS,
        "poll",
        NOW,
        "asked once more before it expires",
    ),
    (
        "given up on, bound",
        ended(TaskStatus.EXPIRED, provider_task_id="job-1", due_at=NOW + MINUTE),
        FACTS,
        "poll",
        NOW + MINUTE,
        "still asked now and then",
    ),
    (
        "given up on, not bound",
        ended(TaskStatus.EXPIRED),
        FACTS,
        "listen",
        NOW + 30 * 86_400 * SECOND,
        "late answer or push still counts until then. If you know its job: POST /v1/tasks/task_1/resolve with adopt.",
    ),
    (
        "account gone",
        task(status=TaskStatus.PROCESSING),
        replace(FACTS, configured=False),
        "expire",
        FUTURE,
        "no longer configured",
    ),
]


@pytest.mark.parametrize(("given", "facts", "action", "at", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_next_step_says_what_when_and_why(given: Task, facts: Facts, action: str, at: int, said: str) -> None:
    step = next_step(given, facts)
    assert step is not None
    assert (step.action, step.at) == (action, at)
    assert said in step.reason


# What may stand in the way of whatever comes next, each with what is said of it.
TROUBLES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, ""),
    "its account is gone": ({"configured": False}, "no longer configured"),
    "purchases are held": ({"held_until": NOW + MINUTE, "held_reason": "no credit"}, "no credit"),
    "the key is refused": (
        {"held_until": NOW + MINUTE, "held_reason": "bad key", "refused_since": NOW - MINUTE},
        "the task fails unbought",
    ),
    "questions are held": ({"queries_held_until": NOW + MINUTE, "queries_held_reason": "not so fast"}, "not so fast"),
    "the breaker is open": ({"probe_at": NOW + MINUTE}, "breaker open"),
    "the account is full": ({"most_open": 3, "open_jobs": 3}, "3 jobs are open there"),
    "a person paused it": ({"paused_at": NOW - MINUTE}, "was paused by a person"),
    "a backlog drains": ({"rate": 5.0}, "asked 5 times a second at most"),
}
UNTIMED = {"the account is full", "a person paused it"}  # when that ends nobody can say
# Every status in every phase and hold that it knows: (task, what comes next when nothing is in the way, the troubles it feels).
BUYING = {"its account is gone", "purchases are held", "the key is refused", "the breaker is open", *UNTIMED}
ASKING = {"its account is gone", "questions are held", "the breaker is open", "a backlog drains"}
STATES: dict[str, tuple[Task, set[str], set[str]]] = {
    "queued": (task(due_at=NOW), {"submit"}, BUYING | {"a backlog drains"}),
    "queued, deferred": (task(due_at=NOW, streak=Streak.DEFERRED), {"submit"}, BUYING),
    "queued, refused": (task(due_at=NOW, streak=Streak.CREDENTIALS), {"submit"}, BUYING),
    "submitting": (
        task(status=TaskStatus.SUBMITTING, due_at=None, submissions=1, submission_deadline_at=NOW + 9),
        {"settle"},
        {"its account is gone"},
    ),
    "unconfirmed, looked for": (
        task(status=TaskStatus.UNCONFIRMED, due_at=NOW, submissions=1, submission_deadline_at=NOW - 1),
        {"look_up"},
        ASKING,
    ),
    "unconfirmed, restored": (
        task(status=TaskStatus.UNCONFIRMED, due_at=NOW, submission_deadline_at=NOW - 1),
        {"look_up"},
        ASKING,
    ),
    "unconfirmed, permitted": (
        task(
            status=TaskStatus.UNCONFIRMED, due_at=NOW, submissions=1, submission_deadline_at=NOW - 1, permitted_at=NOW
        ),
        {"submit"},
        {"its account is gone", "the breaker is open", "a person paused it"},
    ),
    **{
        f"processing, {phase}, {streak}": (
            task(
                status=TaskStatus.PROCESSING,
                phase=phase,
                due_at=NOW,
                provider_task_id="job-1",
                streak=streak,
                streak_count=2,
            ),
            {"poll"},
            ASKING,
        )
        for phase in ("queued_at_provider", "running")
        for streak in (None, *Streak)
    },
    "processing, adopted": (
        task(status=TaskStatus.PROCESSING, due_at=NOW, provider_task_id="job-1", adopted_at=NOW),
        {"poll"},
        ASKING,
    ),
    **{
        f"{status}, not final, {'bound' if job else 'not bound'}": (
            ended(status, provider_task_id=job, due_at=NOW if job else None),
            {"poll"} if job else {"listen"},
            {"questions are held", "the breaker is open"} if job else set(),
        )
        for status in (TaskStatus.FAILED, TaskStatus.EXPIRED)
        for job in ("job-1", None)
    },
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("state", STATES)
def test_no_state_is_without_an_answer_that_names_an_action_a_time_and_what_is_in_the_way(
    state: str, trouble: str
) -> None:
    given, actions, feels = STATES[state]
    more, said = TROUBLES[trouble]
    step = next_step(given, replace(FACTS, **more))
    assert step is not None and step.reason.endswith(".")
    assert step.action in actions | {"expire", "listen"}
    if trouble in feels:
        assert said in step.reason
        assert step.at is None if trouble in UNTIMED else step.at is not None and step.at >= NOW
    else:
        assert step.at is not None


def test_every_status_is_among_the_states_that_are_walked_but_those_that_are_always_final() -> None:
    walked = {given.status for given, _, _ in STATES.values()}
    assert set(TaskStatus) - walked == {TaskStatus.SUCCEEDED, TaskStatus.CANCELED}


def test_a_full_account_that_is_held_is_tried_when_the_hold_is_over() -> None:
    facts = replace(FACTS, most_open=3, open_jobs=3, held_until=NOW + MINUTE)
    step = next_step(task(due_at=NOW), facts)
    assert step is not None and step.at == NOW + MINUTE and "as many as may be" in step.reason


@pytest.mark.parametrize("streak", list(Streak))
def test_every_streak_of_a_bound_task_is_explained(streak: Streak) -> None:
    step = next_step(task(status=TaskStatus.PROCESSING, due_at=NOW, streak=streak, streak_count=2), FACTS)
    assert step is not None and step.reason


@pytest.mark.parametrize("status", ENDS)
def test_after_a_final_end_nothing_comes(status: TaskStatus) -> None:
    assert next_step(ended(status, final_at=NOW), FACTS) is None


def test_thirty_days_after_giving_up_nothing_comes() -> None:
    assert next_step(ended(TaskStatus.EXPIRED), replace(FACTS, now=NOW + 31 * 86_400 * SECOND)) is None


instants = st.none() | st.integers(0, 2 * FUTURE)


@given(
    status=st.sampled_from(TaskStatus),
    due_at=instants,
    held_until=instants,
    probe_at=instants,
    streak=st.none() | st.sampled_from(Streak),
    bound=st.booleans(),
    configured=st.booleans(),
    pushes=st.booleans(),
    look_up=st.booleans(),
)
def test_every_task_that_can_still_change_has_an_answer(
    status: TaskStatus,
    due_at: int | None,
    held_until: int | None,
    probe_at: int | None,
    streak: Streak | None,
    bound: bool,
    configured: bool,
    pushes: bool,
    look_up: bool,
) -> None:
    given = task(
        status=status,
        due_at=due_at,
        streak=streak,
        streak_count=3,
        provider_task_id="job-1" if bound else None,
        finished_at=NOW if status in ENDS else None,
    )
    facts = Facts(
        now=NOW, configured=configured, pushes=pushes, look_up=look_up, held_until=held_until, probe_at=probe_at
    )
    step = next_step(given, facts)
    assert step is not None and step.action and step.reason and "None" not in step.reason


def test_what_is_said_of_a_purchase_in_doubt_is_what_happens_to_it() -> None:
    """A walk with a contract that nobody can ask: held, permitted, sent, held again, adopted, not there, adopted, found."""
    life, said = Life(look_up=False), []

    def look(at: int) -> str:
        coming = next_step(life.task, Facts(now=at))
        assert coming is not None
        assert coming.at == life.task.due_at or coming.action in ("settle", "hold")
        said.append(coming.action)
        return coming.reason

    life.hear(intent())
    look(START)
    life.hear(reply(Claim.AMBIGUOUS))
    assert "/resolve with adopt" in look(START + SECOND)
    life.hear(order(Claim.RESUBMIT, START + SECOND))
    look(START + SECOND)
    life.hear(intent(SUBMIT_BY, by=SUBMIT_BY + 30 * SECOND))
    look(SUBMIT_BY)
    life.hear(reply(Claim.AMBIGUOUS, SUBMIT_BY + SECOND))
    look(SUBMIT_BY + SECOND)
    for job, heard in (("wrong", Claim.ABSENT), (JOB, Claim.RUNNING)):
        life.hear(order(Claim.ADOPT, SUBMIT_BY + MINUTE, job))
        assert f"{job} was named by hand" in look(SUBMIT_BY + MINUTE)
        life.hear(poll(heard, SUBMIT_BY + MINUTE))
        look(SUBMIT_BY + MINUTE)
    assert said == ["settle", "hold", "submit", "settle", "hold", "poll", "hold", "poll", "poll"]
    assert [note.kind for note in life.notes] == [
        "intent", "ambiguous", "resubmit_allowed", "intent", "ambiguous", "adopted", "released", "adopted", "bound", "running",
    ]  # fmt: skip
