from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.health import APART, PATIENCE, WELL, Finding, Health, after_failure
from service.core.times import DAY, HOUR, MINUTE

NOW = 1_790_000_000_000_000
STEPS = st.lists(st.tuples(st.integers(0, 2 * DAY), st.booleans()), max_size=40)


def failing(*hours: float) -> list[Finding]:
    """What is found at failures so many hours after the first."""
    health, found = WELL, []
    for hour in hours:
        finding = after_failure(health, NOW + int(hour * HOUR))
        health = finding.health
        found.append(finding)
    return found


def told(found: list[Finding]) -> list[object]:
    return ["disable" if one.disable else one.warn for one in found if one.disable or one.warn is not None]


def test_an_endpoint_that_fails_every_hour_is_warned_three_times_and_disabled_after_five_days() -> None:
    found = failing(*range(121))
    assert told(found) == [50, 70, 90, "disable"]
    when = [hour for hour, one in enumerate(found) if one.disable or one.warn is not None]
    assert when == [60, 84, 108, 120]


def test_two_failures_five_days_apart_warn_and_do_not_disable() -> None:
    assert told(failing(0, 200)) == [90]
    assert told(failing(0, 200, 205)) == [90]
    assert told(failing(0, 200, 205, 212)) == [90, "disable"]


def test_one_window_of_failures_is_no_path_to_anything() -> None:
    assert told(failing(*(minute / 60 for minute in range(0, 12 * 60, 7)))) == []


def test_a_refused_address_is_told_at_once_and_once() -> None:
    first = after_failure(WELL, NOW, blocked=True)
    assert first.warn == 0
    assert after_failure(first.health, NOW + MINUTE, blocked=True).warn is None


@given(steps=STEPS)
def test_nobody_is_disabled_early_unwarned_or_by_failures_of_one_window(steps: list[tuple[int, bool]]) -> None:
    health, now, failures, warned_at = WELL, NOW, list[int](), None
    for wait, ok in steps:
        now += wait
        if ok:
            health, failures, warned_at = WELL, [], None
            continue
        failures.append(now)
        found = after_failure(health, now)
        health = found.health
        if found.disable:
            assert now - failures[0] >= PATIENCE
            assert failures[-1] - failures[0] >= APART
            assert warned_at is not None and now - warned_at >= APART
            return
        if found.warn is not None:
            assert found.warn in (50, 70, 90)
            assert (now - failures[0]) * 100 >= found.warn * PATIENCE
            warned_at = warned_at or now


@given(gaps=st.lists(st.integers(MINUTE, 12 * HOUR), min_size=1, max_size=400))
def test_one_that_never_succeeds_is_disabled_within_five_and_a_half_days_of_steady_failures(gaps: list[int]) -> None:
    health, now, start, n = WELL, NOW, NOW, 0
    while now - start < PATIENCE + 2 * APART:
        found = after_failure(health, now)
        if found.disable:
            assert now - start <= PATIENCE + APART + 12 * HOUR
            return
        health, now, n = found.health, now + gaps[n % len(gaps)], n + 1
        if n > 2000:  # minutes apart: the shape is the same with larger steps
            now += HOUR
    raise AssertionError("it was never disabled")


@given(steps=STEPS)
def test_the_health_changes_rarely(steps: list[tuple[int, bool]]) -> None:
    """Each change is a write: at most the beginning, the second window and three warnings in one run of failures."""
    health, now, changes = WELL, NOW, 0
    for wait, _ in steps:
        now += wait
        found = after_failure(health, now)
        changes += found.health != health
        if found.disable:
            break
        health = found.health
    assert changes <= 5


@given(
    health=st.builds(
        Health,
        since=st.integers(0, 2**60) | st.none(),
        windows=st.integers(0, 2),
        window_at=st.integers(0, 2**60),
        warned=st.sampled_from([0, 50, 70, 90]),
        warned_at=st.integers(0, 2**60),
        blocked=st.booleans(),
    )
)
def test_what_is_stored_comes_back(health: Health) -> None:
    assert Health.load(health.dump()) == health
    assert (health.dump() is None) is (health == WELL)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"since":"x"}', '{"since":-1}', '{"other":1}', '{"blocked":3}', "1"])
def test_an_unreadable_health_is_a_well_one(text: str) -> None:
    assert Health.load(text) == WELL
