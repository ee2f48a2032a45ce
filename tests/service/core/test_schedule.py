"""Nothing is early, everything is bounded, and a failing party is left alone without being forgotten."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.durations import Curve, Window, learned, stated
from service.core.schedule import (
    RETRY_SCHEDULE,
    Breaker,
    Bucket,
    first_poll_at,
    lag_poll_at,
    next_poll_at,
    resolver_at,
    retry_after_at,
    retry_at,
)
from service.core.times import DAY, HOUR, MINUTE, SECOND
from tests.depth import examples

NOW = 1_790_000_000 * SECOND
JITTER = st.floats(0, 1)
INSTANTS = st.integers(0, 4_000_000_000 * SECOND)
# Of contracts that state anything at all, and of what was then seen.
CURVES = st.builds(
    lambda expected, ends: learned(Window().seen(ends), stated(expected)),
    st.sampled_from([0.0, 1.0, 30.0, 120.0, 7200.0, 86_400.0]),
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), max_size=8),
)


def test_ten_attempts_reach_over_three_days() -> None:
    assert len(RETRY_SCHEDULE) == 10
    assert sum(RETRY_SCHEDULE) == 75 * 3600 + 35 * 60 + 5


@pytest.mark.parametrize(("made", "seconds"), [(0, 0), (1, 5), (2, 300), (4, 7200), (9, 86400)])
def test_each_attempt_waits_its_step(made: int, seconds: int) -> None:
    assert retry_at(made, now=NOW, jitter=0, created_at=NOW) == NOW + seconds * SECOND


@pytest.mark.parametrize("made", [10, 11, 1000])
def test_after_ten_attempts_there_is_none(made: int) -> None:
    assert retry_at(made, now=NOW, jitter=0, created_at=NOW, retry_after_at=NOW + SECOND) is None


@given(st.integers(0, 9), INSTANTS, JITTER, st.none() | INSTANTS)
def test_a_retry_is_never_early_and_never_far(made: int, now: int, jitter: float, wish: int | None) -> None:
    at = retry_at(made, now=now, jitter=jitter, retry_after_at=wish, created_at=now)
    assert at is not None
    assert at >= now + RETRY_SCHEDULE[made] * SECOND
    assert at <= now + DAY + DAY // 10
    if wish is not None and wish <= now + DAY:
        assert at >= wish


@given(st.integers(0, 8), JITTER)
def test_waits_only_grow(made: int, jitter: float) -> None:
    sooner = retry_at(made, now=NOW, jitter=jitter, created_at=NOW)
    later = retry_at(made + 1, now=NOW, jitter=jitter, created_at=NOW)
    assert sooner is not None
    assert later is not None
    assert sooner < later


def test_jitter_adds_up_to_a_tenth_also_to_what_was_asked_for() -> None:
    assert retry_at(2, now=NOW, jitter=1, created_at=NOW) == NOW + 330 * SECOND
    assert retry_at(1, now=NOW, jitter=1, created_at=NOW, retry_after_at=NOW + MINUTE) == NOW + 66 * SECOND
    assert retry_at(2, now=NOW, jitter=-5, created_at=NOW) == NOW + 300 * SECOND


def test_the_window_of_fourteen_days_ends_retrying() -> None:
    created_at = NOW - 14 * DAY + 300 * SECOND
    assert retry_at(2, now=NOW, jitter=0, created_at=created_at) == NOW + 300 * SECOND
    assert retry_at(2, now=NOW, jitter=0, created_at=created_at - 1) is None


def test_an_endpoint_may_bring_its_own_schedule() -> None:
    assert retry_at(1, now=NOW, jitter=0, created_at=NOW, schedule=(0, 0.5)) == NOW + SECOND // 2
    assert retry_at(2, now=NOW, jitter=0, created_at=NOW, schedule=(0, 0.5)) is None


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("1", SECOND),
        (" 120 \t", 120 * SECOND),
        ("86400", DAY),
        ("86401", DAY),
        ("999999999999", DAY),
        ("Mon, 21 Sep 2026 14:13:50 GMT", 30 * SECOND),
        ("Mon, 21 Sep 2099 14:13:50 GMT", DAY),
    ],
)
def test_a_wish_is_heard_up_to_a_day(text: str, wait: int) -> None:
    assert retry_after_at(text, NOW) == NOW + wait


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "0",
        "-1",
        "+5",
        "1e9",
        "1.5",
        "NaN",
        "inf",
        "9" * 400,
        "٣",
        "soon",
        "Mon, 21 Sep 2020 14:13:50 GMT",
        "1 2",
    ],
)
def test_nonsense_and_the_past_ask_for_nothing(text: str | None) -> None:
    assert retry_after_at(text, NOW) is None


@given(st.text(max_size=80), INSTANTS)
def test_any_text_is_a_bounded_wish_or_none(text: str, now: int) -> None:
    at = retry_after_at(text, now)
    assert at is None or now < at <= now + DAY


def test_a_job_that_is_pushed_is_first_asked_after_when_the_push_is_overdue() -> None:
    assert first_poll_at(NOW, curve=stated(120), pushes=True, jitter=0) == NOW + 185 * SECOND
    known = learned(Window().seen([(60, 60)] * 96), stated(120))
    at = first_poll_at(NOW, curve=known, pushes=True, jitter=0)
    assert NOW + 66 * SECOND <= at <= NOW + 75 * SECOND


def test_after_that_pauses_are_a_quarter_of_the_time_so_far() -> None:
    at = next_poll_at(NOW + 400 * SECOND, submitted_at=NOW, curve=stated(120), pushes=True, jitter=0)
    assert at == NOW + 500 * SECOND
    at = next_poll_at(NOW + 1400 * SECOND, submitted_at=NOW, curve=stated(120), pushes=True, jitter=0)
    assert at == NOW + 1700 * SECOND  # and never longer than five minutes


def test_without_pushes_it_is_asked_after_where_jobs_end() -> None:
    now, asked = NOW, []
    curve = learned(Window().seen([(second, second) for second in range(40, 88)]), stated(60))
    for _ in range(5):
        now = next_poll_at(now, submitted_at=NOW, curve=curve, pushes=False, jitter=0)
        asked.append((now - NOW) / SECOND)
    first, *pauses = (later - sooner for sooner, later in zip([0.0, *asked], asked, strict=False))
    assert 40 < first < 55
    assert all(5 < pause < 13 for pause in pauses)


@given(INSTANTS, CURVES, st.booleans(), JITTER)
def test_the_first_poll_is_bounded(submitted_at: int, curve: Curve, pushes: bool, jitter: float) -> None:
    at = first_poll_at(submitted_at, curve=curve, pushes=pushes, jitter=jitter)
    assert submitted_at + 2 * SECOND <= at <= submitted_at + 1801 * SECOND


@given(st.integers(0, 2 * DAY), CURVES, st.booleans(), JITTER)
def test_the_next_poll_keeps_its_distance_and_its_ceiling(
    elapsed: int, curve: Curve, pushes: bool, jitter: float
) -> None:
    now = NOW + elapsed
    at = next_poll_at(now, submitted_at=NOW, curve=curve, pushes=pushes, jitter=jitter)
    assert at >= now + 2 * SECOND
    assert at <= max(NOW + 1801 * SECOND, now + 301 * SECOND)
    if pushes:
        assert at >= first_poll_at(NOW, curve=curve, pushes=True, jitter=0)


@given(st.integers(0, 2 * DAY), CURVES, st.booleans(), JITTER)
def test_jitter_only_adds_and_at_most_a_second(elapsed: int, curve: Curve, pushes: bool, jitter: float) -> None:
    def at(jitter: float) -> int:
        return next_poll_at(NOW + elapsed, submitted_at=NOW, curve=curve, pushes=pushes, jitter=jitter)

    assert at(0) <= at(jitter) <= at(0) + SECOND
    assert at(-3) == at(0)


def polls(curve: Curve, *, pushes: bool, hours: int) -> int:
    """How many polls a job sees that never ends."""
    now, count = first_poll_at(NOW, curve=curve, pushes=pushes, jitter=0), 0
    while now < NOW + hours * HOUR:
        count += 1
        now = next_poll_at(now, submitted_at=NOW, curve=curve, pushes=pushes, jitter=0)
    return count


def test_a_job_that_hangs_for_two_hours_costs_few_polls() -> None:
    assert polls(stated(120), pushes=True, hours=2) < polls(stated(120), pushes=False, hours=2) < 90
    assert polls(learned(Window().seen([(110, 125)] * 96), stated(120)), pushes=False, hours=2) < 60


def test_a_clock_set_back_does_not_stop_polling() -> None:
    at = next_poll_at(NOW - HOUR, submitted_at=NOW, curve=stated(10), pushes=False, jitter=0)
    assert NOW - HOUR < at < NOW - HOUR + 300 * SECOND


def test_a_provider_that_lags_behind_its_push_is_asked_four_times() -> None:
    assert [lag_poll_at(count, NOW) for count in range(6)] == [
        NOW + 2 * SECOND,
        NOW + 5 * SECOND,
        NOW + 15 * SECOND,
        NOW + 30 * SECOND,
        None,
        None,
    ]


def looked_up(settle_seconds: float, count: int, late: int = 0) -> list[int]:
    """Seconds after the submission's deadline at which the look-ups run, each as soon as it is due."""
    now, at = NOW + late * SECOND, []
    for made in range(count):
        now = resolver_at(made, deadline_at=NOW, settle_seconds=settle_seconds, now=now)
        at.append((now - NOW) // SECOND)
    return at


def test_look_ups_run_at_five_thirty_settle_and_then_every_five_minutes() -> None:
    assert looked_up(120, 6) == [5, 30, 120, 420, 720, 1020]


def test_a_late_start_keeps_the_look_ups_apart() -> None:
    assert looked_up(120, 5, late=7200) == [7200, 7205, 7210, 7510, 7810]


def test_a_short_settle_window_shortens_what_comes_before_it() -> None:
    assert looked_up(10, 4) == [5, 10, 15, 315]


@given(st.integers(0, 50), st.floats(0, 600), st.integers(-HOUR, DAY), st.integers(0, HOUR))
def test_a_look_up_is_never_early_and_never_forgotten(count: int, settle: float, late: int, more: int) -> None:
    at = resolver_at(count, deadline_at=NOW, settle_seconds=settle, now=NOW + late)
    assert at >= NOW + late
    assert at >= NOW + int(min((5, 30)[count] if count < 2 else settle, settle) * SECOND)
    assert at <= max(NOW + int(settle * SECOND) + count * 300 * SECOND, NOW + late + 300 * SECOND)
    assert at <= resolver_at(count, deadline_at=NOW, settle_seconds=settle, now=NOW + late + more)


def test_a_bucket_starts_empty() -> None:
    bucket = Bucket(2, now=NOW)
    assert not bucket.take(NOW)
    assert bucket.ready_at(NOW) == NOW + SECOND // 2
    assert not bucket.take(NOW + SECOND // 2 - 1)
    assert bucket.take(NOW + SECOND // 2)
    assert not bucket.take(NOW + SECOND // 2)


def test_an_uneven_rate_is_rounded_to_the_slower_side() -> None:
    assert Bucket(3, now=NOW).ready_at(NOW) == NOW + 333_334


def test_an_idle_bucket_fills_to_its_burst_and_no_further() -> None:
    bucket = Bucket(10, now=NOW, burst=3)
    later = NOW + HOUR
    assert [bucket.take(later) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(later + HOUR, n=3)


def test_what_is_left_can_be_taken_at_once_and_no_more() -> None:
    bucket, later = Bucket(10, now=NOW, burst=3), NOW + HOUR
    assert (bucket.left(NOW), bucket.left(NOW + SECOND // 10), bucket.left(later)) == (0, 1, 3)
    assert bucket.take(later, n=2) and bucket.left(later) == 1
    assert bucket.left(NOW - HOUR) == 0, "a clock set back finds it empty"


def test_refusing_takes_nothing() -> None:
    bucket = Bucket(1, now=NOW)
    for _ in range(100):
        assert not bucket.take(NOW + SECOND - 1)
    assert bucket.take(NOW + SECOND)


def test_a_clock_set_back_costs_one_filling_and_not_an_hour() -> None:
    bucket = Bucket(1, now=NOW)
    assert bucket.ready_at(NOW - HOUR) == NOW - HOUR + SECOND
    assert not bucket.take(NOW - HOUR)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_must_be_a_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Bucket(rate, now=NOW)


@pytest.mark.parametrize("n", [0, -1, 4])
def test_what_can_never_be_taken_is_refused_at_once(n: int) -> None:
    with pytest.raises(ValueError, match="can never be taken"):
        Bucket(10, now=NOW, burst=3).take(NOW, n)


@settings(max_examples=examples(200))
@given(st.floats(0.1, 500), st.floats(1, 20), st.lists(st.integers(0, 2 * SECOND), min_size=1, max_size=80))
def test_no_stretch_of_time_holds_more_than_rate_and_burst(rate: float, burst: float, gaps: list[int]) -> None:
    bucket, now = Bucket(rate, now=NOW, burst=burst), NOW
    taken: list[int] = []
    for gap in gaps:
        now += gap
        while len(taken) < 400 and bucket.take(now):
            taken.append(now)
        if len(taken) < 400:
            assert bucket.ready_at(now) > now
    for number, start in enumerate(taken):
        for more, stop in enumerate(taken[number:]):
            assert more + 1 <= (stop - start) / SECOND * rate + burst + 1e-6


@given(st.floats(0.1, 500), st.integers(0, 10 * SECOND))
def test_what_is_ready_can_be_taken_then_and_not_before(rate: float, wait: int) -> None:
    bucket = Bucket(rate, now=NOW)
    bucket.take(NOW + wait)
    at = bucket.ready_at(NOW + wait)
    if at > NOW + wait:
        assert not bucket.take(at - 1)
    assert bucket.take(at)


@pytest.mark.parametrize("rate", [5, 20, 100, 1000])
def test_ten_seconds_never_see_more_than_a_tenth_over_the_rate(rate: float) -> None:
    bucket, now, taken = Bucket(rate, now=NOW), NOW + HOUR, 0
    while now < NOW + HOUR + 10 * SECOND:
        assert bucket.take(now)
        taken += 1
        now = bucket.ready_at(now)
    assert rate * 9.9 <= taken <= rate * 10 * 1.1


def after(answers: str, start: int = NOW, gap: int = SECOND) -> Breaker:
    """The breaker after these answers: `.` is a success, `x` a failure."""
    breaker = Breaker()
    for number, answer in enumerate(answers):
        breaker = breaker.record(start + number * gap, answer == ".")
    return breaker


def test_success_while_all_is_well_changes_nothing() -> None:
    breaker = Breaker()
    assert breaker.record(NOW, True) is breaker
    assert breaker.sent(NOW) is breaker
    assert breaker.admit(NOW)


@pytest.mark.parametrize(
    ("answers", "open"),
    [
        ("x" * 9, False),
        ("x" * 10, True),
        ("xxx...xxxx", True),
        ("xxx....xxx", False),
        ("x" + "." * 1000, False),
        ("." * 1000 + "x" * 10, True),  # an hour of health does not hide an outage
        ("x." * 50, False),
        ("x" + "." * 1000 + "x" * 9, False),
        ("x" + "." * 1000 + "x" * 10, True),  # nor does health between one early failure and the outage
    ],
)
def test_it_opens_at_ten_requests_with_seventy_percent_failures(answers: str, open: bool) -> None:
    assert after(answers, gap=SECOND // 10).open is open


def test_once_requests_fail_no_more_are_let_out_than_it_takes_to_open() -> None:
    assert (Breaker().room(NOW), after("x").room(NOW), after("xxx").room(NOW), after("xxx.").room(NOW)) == (
        None,
        9,
        7,
        None,
    )
    assert after("xxx").room(NOW + HOUR) is None
    opened = after("x" * 10, gap=0)
    assert (opened.room(NOW), opened.room(NOW + 30 * SECOND)) == (0, 1)


def test_failures_spread_over_more_than_five_minutes_do_not_open_it() -> None:
    assert not after("x" * 100, gap=MINUTE).open
    assert after("x" * 10, gap=33 * SECOND).open


def test_while_open_one_probe_goes_out_at_a_time() -> None:
    breaker = after("x" * 10, gap=0)
    assert breaker.next_probe_at == NOW + 30 * SECOND
    assert not breaker.admit(NOW + 30 * SECOND - 1)
    assert breaker.admit(NOW + 30 * SECOND)
    probing = breaker.sent(NOW + 30 * SECOND)
    assert probing.probing
    assert not probing.admit(NOW + 31 * SECOND)
    assert probing.admit(NOW + 60 * SECOND)  # the answer never came: the next one's turn


def test_failed_probes_come_at_most_a_minute_apart() -> None:
    breaker, now, pauses = after("x" * 10, gap=0), NOW, []
    for _ in range(6):
        at = breaker.next_probe_at
        assert at is not None
        pauses.append((at - now) // SECOND)
        now = at
        breaker = breaker.sent(now).record(now, False)
    assert pauses == [30, 40, 50, 60, 60, 60]


def test_the_first_success_closes_it() -> None:
    breaker = after("x" * 10, gap=0).sent(NOW + 30 * SECOND).record(NOW + 31 * SECOND, True)
    assert breaker == Breaker()


def test_late_failures_of_earlier_requests_do_not_push_the_probe_away() -> None:
    breaker = after("x" * 10, gap=0)
    assert breaker.record(NOW + 15 * SECOND, False) is breaker


def test_a_window_that_has_passed_is_forgotten() -> None:
    assert after("x" * 9).record(NOW + HOUR, True) == Breaker()
    assert after("x" * 9).record(NOW + HOUR, False).requests == 1


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(st.integers(0, 90 * SECOND), st.booleans()), max_size=60))
def test_it_always_comes_back_to_probing_within_a_minute(steps: list[tuple[int, bool]]) -> None:
    breaker, now = Breaker(), NOW
    for gap, ok in steps:
        now += gap
        if breaker.admit(now):
            breaker = breaker.sent(now)
        breaker = breaker.record(now, ok)
        assert breaker.admit(now + MINUTE)
        assert 0 <= breaker.failures <= breaker.requests
        assert Breaker.load(breaker.dump()) == breaker


def test_a_breaker_survives_a_change_of_owner() -> None:
    breaker = after("x" * 10).sent(NOW + HOUR)
    assert json.loads(breaker.dump())["probing"] is True
    assert Breaker.load(breaker.dump()) == breaker


@pytest.mark.parametrize(
    "text",
    [None, "", "null", "[]", "7", "{", '{"requests":"1"}', '{"requests":-1}', '{"probing":1}', '{"x":1}', "[" * 99999],
)
def test_what_is_no_breaker_is_a_closed_one(text: str | None) -> None:
    assert Breaker.load(text) == Breaker()


def test_a_breaker_does_not_wait_for_a_clock_that_was_set_back() -> None:
    opened = Breaker()
    for _ in range(10):
        opened = opened.record(NOW, ok=False)
    back = NOW - HOUR
    assert opened.caught_up(NOW) is opened
    assert opened.caught_up(back).admit(back)
    again = opened.caught_up(back).sent(back)
    assert not again.caught_up(back).admit(back), "one probe"
    assert Breaker().caught_up(back) == Breaker()
