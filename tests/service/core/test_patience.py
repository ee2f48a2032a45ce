"""When the provider is asked next, and how often in vain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.observation import Claim, Source
from service.core.patience import (
    asked_again,
    asked_past_deadline,
    asks,
    calm,
    lasted,
    next_look_up,
    next_query,
    slow_poll_at,
    span,
    streak,
)
from service.core.times import SECOND
from storage.records import Streak, Task, TaskStatus
from tests.service.core.builders import (
    ALL,
    DAY,
    DEADLINE,
    EXPIRED,
    HOUR,
    MINUTE,
    PROCESSING,
    RUNNING,
    SETTLE,
    START,
    SUBMIT_BY,
    UNCONFIRMED,
    poll,
    rules,
    see,
)

NOW = START + MINUTE


@given(st.floats())
def test_any_wish_becomes_a_wait_between_none_and_a_week(seconds: float) -> None:
    assert 0 <= span(seconds) <= 7 * DAY


def test_a_wait_is_kept_to_the_microsecond() -> None:
    assert (span(1.5), span(7200), span(float("nan")), span(-1)) == (1_500_000, 2 * HOUR, 0, 0)


@pytest.mark.parametrize("task", ALL)
@pytest.mark.parametrize("source", Source)
def test_bound_tasks_are_polled_and_unconfirmed_ones_looked_up(task: Task, source: Source) -> None:
    expected = {
        TaskStatus.PROCESSING: source in (Source.POLL, Source.LOOK_UP),
        TaskStatus.UNCONFIRMED: source is Source.LOOK_UP,
    }
    assert asks(task, see(Claim.ABSENT, source)) is expected.get(task.status, False)


def test_only_a_query_made_past_the_deadline_is_one() -> None:
    assert not asked_past_deadline(RUNNING, poll(Claim.RUNNING, DEADLINE - 1))
    assert asked_past_deadline(RUNNING, poll(Claim.RUNNING, DEADLINE))
    assert not asked_past_deadline(RUNNING, see(Claim.RUNNING, Source.CALLBACK, DEADLINE))


@given(
    st.sampled_from([PROCESSING, RUNNING, UNCONFIRMED]),
    st.integers(START, DEADLINE + DAY),
    st.floats(0, 1),
    st.booleans(),
)
def test_the_next_query_is_never_planned_past_the_deadline(task: Task, now: int, jitter: float, look_up: bool) -> None:
    assert next_query(task, rules(now, jitter=jitter, look_up=look_up)) <= DEADLINE


@pytest.mark.parametrize(
    ("found_nothing", "at"),
    [
        (0, SUBMIT_BY + 5 * SECOND),
        (1, SUBMIT_BY + 30 * SECOND),
        (2, SUBMIT_BY + SETTLE),
        (3, SUBMIT_BY + SETTLE + 5 * MINUTE),
    ],
)
def test_look_ups_count_from_the_submissions_deadline(found_nothing: int, at: int) -> None:
    counted = replace(UNCONFIRMED, streak=Streak.ABSENT, streak_count=found_nothing)
    assert next_look_up(counted, rules(START)) == at
    assert next_look_up(counted, rules(START, look_up=False)) == DEADLINE


def test_only_empty_answers_move_the_look_ups_on() -> None:
    failing = replace(UNCONFIRMED, streak=Streak.UNREACHABLE, streak_count=9)
    assert next_look_up(failing, rules(START)) == SUBMIT_BY + 5 * SECOND


def test_equal_answers_count_up_and_another_kind_starts_anew() -> None:
    one = streak(RUNNING, Streak.ABSENT, NOW)
    two = streak(one, Streak.ABSENT, NOW + 1)
    assert (two.streak_count, two.streak_since, two.streak_last_at) == (2, NOW, NOW + 1)
    other = streak(two, Streak.NO_OUTPUT, NOW + 2)
    assert (other.streak, other.streak_count, other.streak_since) == (Streak.NO_OUTPUT, 1, NOW + 2)
    assert calm(other) == RUNNING
    assert calm(RUNNING) is RUNNING


def test_enough_is_enough_answers_over_enough_time() -> None:
    task = replace(RUNNING, streak=Streak.ABSENT, streak_count=3, streak_since=NOW)
    assert lasted(task, 3, 600, rules(NOW + 10 * MINUTE))
    assert not lasted(task, 4, 600, rules(NOW + 10 * MINUTE))
    assert not lasted(task, 3, 600, rules(NOW + 10 * MINUTE - 1))
    assert not lasted(replace(task, streak_since=None), 3, 600, rules(NOW + DAY))


def test_a_lagging_query_is_repeated_soon_and_four_times() -> None:
    task, waits = RUNNING, []
    for number in range(5):
        task = asked_again(task, poll(Claim.RUNNING, NOW, prompted_by=None if number else Claim.FAILED), rules(NOW))
        waits.append(((task.due_at or 0) - NOW) // SECOND)
    assert waits[:4] == [2, 5, 15, 30]
    assert (task.streak, waits[4]) == (None, 35)


@pytest.mark.parametrize("prompt", [None, Claim.RUNNING, Claim.WAITING, Claim.UNKNOWN])
def test_a_push_that_claims_no_end_hastens_nothing(prompt: Claim | None) -> None:
    task = asked_again(RUNNING, poll(Claim.RUNNING, NOW, prompted_by=prompt), rules(NOW))
    assert task.due_at == START + 95 * SECOND


def test_what_we_gave_up_on_is_asked_hourly_until_its_week_is_over() -> None:
    assert slow_poll_at(EXPIRED, rules(DEADLINE)) == DEADLINE + HOUR
    assert slow_poll_at(EXPIRED, rules(DEADLINE + 7 * DAY - HOUR)) == DEADLINE + 7 * DAY
    assert slow_poll_at(EXPIRED, rules(DEADLINE + 7 * DAY - HOUR + 1)) is None
