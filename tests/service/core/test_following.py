from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.following import Facts, next_step
from storage.records import Streak, Task, TaskStatus
from tests.storage.builders import FUTURE, NOW, SECOND, task

ENDS = (TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED)
FACTS = Facts(now=NOW, pushes=True, look_up=True, resend=True)
MINUTE = 60 * SECOND


def ended(status: TaskStatus, **more: object) -> Task:
    return replace(task(status=status, finished_at=NOW, due_at=None), **more)  # type: ignore[arg-type]


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
        task(status=TaskStatus.UNCONFIRMED, due_at=NOW + 7),
        FACTS,
        "look_up",
        NOW + 7,
        "It is looked for",
    ),
    (
        "unconfirmed, cannot be asked",
        task(status=TaskStatus.UNCONFIRMED, due_at=FUTURE),
        replace(FACTS, look_up=False),
        "hold",
        FUTURE,
        "may charge for it; it cannot be asked after a lost job. Held",
    ),
    (
        "unconfirmed, proven absent",
        task(
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
        "late answer or push still counts",
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
