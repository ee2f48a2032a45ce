"""What is known of durations is what was seen; a schedule never teaches itself; asking pays where jobs end."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.durations import DELAY, KEPT, LONGEST, Curve, Window, learned, stated

NONSENSE = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, 1e300, -1.0])
SECONDS = st.floats(0, 100_000)
ENDS = st.lists(st.tuples(SECONDS, SECONDS), max_size=120)
SHARES = st.floats(0, 1)
QUARTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def curve_of(*ends: tuple[float, float], expected: float = 120) -> Curve:
    return learned(Window().seen(ends), stated(expected))


def lengths(middle: float, spread: float, count: int, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [middle * math.exp(spread * chance.gauss(0, 1)) for _ in range(count)]


@given(ENDS)
def test_a_window_comes_back_as_it_was_written(ends: list[tuple[float, float]]) -> None:
    window = Window().seen(ends)
    assert Window.load(window.dump()) == window
    assert window.count == len(ends)


@given(st.lists(st.tuples(NONSENSE, NONSENSE), max_size=200), st.lists(st.tuples(NONSENSE, NONSENSE), max_size=200))
def test_a_window_is_bounded_whatever_it_is_told(
    ends: list[tuple[float, float]], more: list[tuple[float, float]]
) -> None:
    window = Window().seen(ends).seen(more)
    assert len(window.spans) <= KEPT
    assert len(window.dump()) < 1400
    assert all(0 <= after <= by <= LONGEST * 10 for after, by in window.spans)
    assert Window.load(window.dump()) == window


def test_the_last_ends_are_kept() -> None:
    window = Window().seen([(1, 2)] * KEPT).seen([(30, 40)])
    assert window.spans[-1] == (300, 400)
    assert window.spans[0] == (10, 20)
    assert (len(window.spans), window.count) == (KEPT, KEPT + 1)


@given(st.text() | st.binary().map(lambda found: found.decode("latin-1")))
def test_any_other_text_is_an_empty_window_or_a_valid_one(text: str) -> None:
    window = Window.load(text)
    assert Window.load(window.dump()) == window


@pytest.mark.parametrize(
    "text", [None, "", "x", "-1", "1 2-3-4", "1 5,6", "1  2", "٣", "1 2\n", "9" * 40, "1" + " 2" * 97, "1 9999999"]
)
def test_garbage_is_an_empty_window_and_so_the_contracts_word_counts(text: str | None) -> None:
    assert Window.load(text) == Window()
    assert learned(Window.load(text), stated(60)) is stated(60)


@given(NONSENSE | st.floats(0, 100_000), ENDS)
def test_a_curve_only_rises_and_its_quantiles_with_it(expected: float, ends: list[tuple[float, float]]) -> None:
    curve = learned(Window().seen(ends), stated(expected))
    found = [curve.quantile(share) for share in (0, *QUARTILES, 0.99, 1)]
    assert found == sorted(found)
    assert found[0] >= 0
    assert found[-1] <= LONGEST
    shares = [curve.done(seconds) for seconds in (0, 1, 7, 60, 61, 500, 5000, LONGEST, 1e9)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


@given(SHARES.filter(lambda share: 0.001 < share < 0.999), ENDS)
def test_a_quantile_is_where_that_share_is_done(share: float, ends: list[tuple[float, float]]) -> None:
    curve = learned(Window().seen(ends), stated(60))
    assert curve.done(curve.quantile(share)) == pytest.approx(share, abs=1e-6)


@given(st.floats(0, 2e6), ENDS, st.sampled_from([1.0, 60.0, 1e4]))
def test_the_next_question_lies_ahead(elapsed: float, ends: list[tuple[float, float]], expected: float) -> None:
    at = learned(Window().seen(ends), stated(expected)).next_ask(elapsed)
    assert elapsed < at < math.inf


def test_before_anything_is_seen_the_contracts_word_counts() -> None:
    assert stated(120).quantile(0.5) == pytest.approx(120, rel=0.02)
    assert stated(120).jobs == 0
    assert stated(120).overdue == 180


@pytest.mark.parametrize("expected", [30, 120, 600])
def test_what_is_seen_soon_outweighs_the_contracts_word(expected: float) -> None:
    curve = curve_of(*[(length, length) for length in lengths(90, 0.1, 10)], expected=expected)
    assert curve.quantile(0.5) == pytest.approx(90, rel=0.15)


def test_exact_ends_are_learned_as_they_are() -> None:
    seen = sorted(lengths(90, 0.25, KEPT))
    curve = curve_of(*[(length, length) for length in seen])
    for share in QUARTILES:
        assert curve.quantile(share) == pytest.approx(seen[int(share * KEPT)], rel=0.1)


def test_polling_does_not_teach_itself_its_own_schedule() -> None:
    """300 jobs, each seen only by the questions that the curve so far suggests: it finds what exact times would have shown.

    With the later bound of each span taken for the end, the median comes out 25 to 36 % high, and the fastest tenth 65 to 79 %.
    """
    window, before = Window(), stated(66)
    curve, chance = before, random.Random(3)
    for length in lengths(60, 0.25, 300, seed=2):
        after, at = 0.0, curve.next_ask(0.0)
        while at < length:
            after, at = at, max(curve.next_ask(at) + chance.random(), at + 2)
        window = window.seen([(after, at)])
        if window.count % 5 == 0:
            curve = learned(window, before)
    true = curve_of(*[(length, length) for length in lengths(60, 0.25, 300, seed=2)[-KEPT:]], expected=66)
    for share in QUARTILES:
        assert curve.quantile(share) == pytest.approx(true.quantile(share), rel=0.06)


def test_a_span_of_hours_after_a_downtime_changes_next_to_nothing() -> None:
    seen = [(length - 4, length + 4) for length in lengths(60, 0.15, 60)]
    calm, after = curve_of(*seen), curve_of(*seen, *[(20, 6 * 3600)] * 20)
    for share in QUARTILES:
        assert after.quantile(share) == pytest.approx(calm.quantile(share), rel=0.03)


def test_one_odd_job_moves_the_middle_by_nothing_and_the_first_question_by_little() -> None:
    seen = [(length, length) for length in lengths(60, 0.15, KEPT - 1)]
    calm = curve_of(*seen)
    for odd in (0.0, 2.0, 50_000.0):
        spoilt = curve_of(*seen, (odd, odd))
        assert spoilt.quantile(0.5) == pytest.approx(calm.quantile(0.5), rel=0.02)
        assert spoilt.next_ask(0) == pytest.approx(calm.next_ask(0), rel=0.2)


def test_a_faster_provider_is_noticed_although_every_job_is_done_at_the_first_question() -> None:
    slow = Window().seen([(110, 120)] * KEPT)
    first = learned(slow, stated(120)).next_ask(0)
    fast = slow.seen([(0, first)] * KEPT)
    assert learned(fast, stated(120)).next_ask(0) < 0.75 * first


def test_nothing_is_asked_in_a_gap_between_two_kinds_of_jobs() -> None:
    kinds = [*lengths(60, 0.08, 48), *lengths(200, 0.08, 48)]
    curve = curve_of(*[(length, length) for length in kinds])
    at, asked = 0.0, []
    while at < 300:
        at = curve.next_ask(at)
        asked.append(at)
    assert sum(85 < at < 160 for at in asked) <= 3
    assert sum(at < 45 for at in asked) == 0


def test_the_price_of_a_question_is_set_for_the_delay_we_aim_at() -> None:
    for curve in (stated(60), stated(300), curve_of(*[(length, length) for length in lengths(90, 0.25, KEPT)])):
        assert curve.delay(curve.price) == pytest.approx(DELAY, rel=0.1)
        assert curve.delay(2 * curve.price) > curve.delay(curve.price)


def test_jobs_of_seconds_are_learned_in_a_quarter_of_their_time_and_never_more_often_than_every_two() -> None:
    curve = curve_of(*[(length, length) for length in lengths(12, 0.2, KEPT)], expected=12)
    assert curve.delay(curve.price) == pytest.approx(3, rel=0.1)
    assert stated(2).next_ask(0) < 4


def test_jobs_of_an_hour_may_be_learned_later_than_jobs_of_a_minute() -> None:
    curve = curve_of(*[(length, length) for length in lengths(3600, 0.2, KEPT)], expected=3600)
    assert 30 < curve.delay(curve.price) < 40
