from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.care import NOTHING, Care, Cause, care_of, holds_of, pauses, silent
from service.core.holding import Hold, Holds
from storage.records import FailureCode, Lane, LaneKind

INSTANTS = st.integers(0, 2**53)
REFUSED = Hold(until=900, since=600, times=2, reason="no", refused_since=300, code=FailureCode.INSUFFICIENT_CREDIT)


def lane(care: Care = NOTHING, holds: Holds | None = None) -> Lane:
    return Lane(
        kind=LaneKind.ACCOUNT, key="a", epoch=1, care=care.dump(), holds=holds.dump() if holds is not None else None
    )


@given(paused_at=st.none() | INSTANTS, resumed_at=INSTANTS, silent_since=st.none() | INSTANTS)
def test_what_is_kept_is_read_back(paused_at: int | None, resumed_at: int, silent_since: int | None) -> None:
    care = Care(paused_at=paused_at, resumed_at=resumed_at, silent_since=silent_since)
    assert Care.load(care.dump()) == care


def test_an_account_nobody_looked_after_keeps_nothing() -> None:
    assert NOTHING.dump() is None
    assert Care.load(None) == care_of(None) == NOTHING


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "7", "{", '{"paused_at":"now"}', '{"paused_at":-1}', '{"other":1}', '{"resumed_at":true}'],
)
def test_what_is_no_order_orders_nothing(text: str) -> None:
    assert Care.load(text) == NOTHING


def test_a_person_and_a_refused_key_each_stop_purchases() -> None:
    assert pauses(None) == pauses(lane()) == {}
    both = pauses(lane(Care(paused_at=50), Holds(submits=REFUSED)))
    assert both[Cause.PERSON].since == 50 and both[Cause.PERSON].reason is None
    found = both[Cause.CREDENTIALS]
    assert (found.since, found.reason, found.code) == (300, "no", FailureCode.INSUFFICIENT_CREDIT)


def test_a_key_that_only_questions_were_refused_for_has_a_code_too() -> None:
    found = pauses(lane(holds=Holds(queries=replace(REFUSED, code=None))))[Cause.CREDENTIALS]
    assert found.code is FailureCode.CREDENTIALS_REFUSED


def test_being_told_to_slow_down_is_no_pause() -> None:
    assert pauses(lane(holds=Holds(submits=Hold(until=900, since=600, times=2, reason="wait")))) == {}


def test_what_was_refused_before_a_person_resumed_it_does_not_count_and_what_came_later_does() -> None:
    before, after = Care(resumed_at=700), Care(resumed_at=500)
    freed = lane(before, Holds(submits=REFUSED))
    assert pauses(freed) == {}
    assert not holds_of(freed).submits.held(700), "one request may try it at once"
    assert holds_of(freed).submits.times == 2, "and only one"
    assert Cause.CREDENTIALS in pauses(lane(after, Holds(submits=REFUSED)))


@pytest.mark.parametrize(
    ("before", "pushed", "found"),
    [
        (False, "", False),
        (False, "0000", False),  # four may be chance
        (False, "00000", True),
        (False, "00010", False),
        (False, "0000011111", True),  # newest first: what was before does not count
        (True, "0000", True),  # too little to judge: as it was
        (True, "11000", True),
        (True, "11100", False),
        (True, "0000011111", True),
    ],
)
def test_five_ends_without_a_push_are_no_accident_and_three_with_one_are_believed(
    before: bool, pushed: str, found: bool
) -> None:
    assert silent(before, [one == "1" for one in pushed]) is found
