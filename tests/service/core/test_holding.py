"""What a provider says of an account holds that kind of request, no longer and no shorter than it should."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.holding import FREE, LONGEST_MESSAGE, LONGEST_WISH, TRIAL_EVERY, Hold, Holds
from service.core.observation import Claim, Reading
from service.core.times import SECOND
from storage.records import Failure, FailureCode
from tests.storage.builders import NOW

KEY = Failure(code=FailureCode.CREDENTIALS_REFUSED, message="cloudsway refused the account's key", retryable=True)
CREDIT = Failure(code=FailureCode.INSUFFICIENT_CREDIT, message="the credit is used up", retryable=True)
REFUSED = Reading(claim=Claim.DEFERRED, failure=KEY, account_refused=True)
REFUSED_QUERY = Reading(claim=Claim.UNREACHABLE, account_refused=True, detail="HTTP 401: no")
BUSY = Reading(claim=Claim.DEFERRED, busy=True)
BOUGHT = Reading(claim=Claim.ACCEPTED, provider_task_id="7")
ANSWERED = Reading(claim=Claim.RUNNING)


def heard(*answers: tuple[Reading, bool, int], holds: Holds | None = None) -> Holds:
    """The holds after these answers (reading, bought, seconds), each sent a moment before it came."""
    found = holds or Holds()
    for reading, bought, seconds in answers:
        at = NOW + seconds * SECOND
        found = found.after(reading, bought=bought, sent_at=at, now=at)
    return found


def waits(holds: Holds, since: int = 0) -> tuple[float, float]:
    return tuple(max((hold.until - NOW) / SECOND - since, 0) for hold in (holds.submits, holds.queries))  # type: ignore[return-value]


def test_a_refused_purchase_holds_purchases_for_five_minutes_and_no_questions() -> None:
    holds = heard((REFUSED, True, 0))
    assert waits(holds) == (300, 0)
    assert holds.submits.held(NOW + 300 * SECOND - 1) and not holds.submits.held(NOW + 300 * SECOND)
    assert (holds.submits.reason, holds.submits.code) == (KEY.message, KEY.code)


def test_a_refused_question_holds_questions_and_says_why() -> None:
    holds = heard((REFUSED_QUERY, False, 0))
    assert waits(holds) == (0, 300)
    assert holds.queries.reason == "HTTP 401: no"


def test_a_refusal_lasts_from_its_first_answer_until_one_that_is_none() -> None:
    holds = heard((REFUSED, True, 0), (REFUSED, True, 300), (REFUSED, True, 600))
    assert (holds.submits.refused_since, holds.submits.times) == (NOW, 3)
    assert heard((BOUGHT, True, 900), holds=holds) == Holds()
    assert heard((Reading(claim=Claim.REFUSED), True, 900), holds=holds) == Holds(), (
        "it judged the task: the key is good"
    )


@pytest.mark.parametrize("reading", [Reading(claim=Claim.AMBIGUOUS), Reading(claim=Claim.DEFERRED)])
def test_what_says_nothing_of_the_account_neither_lifts_nor_renews(reading: Reading) -> None:
    holds = heard((REFUSED, True, 0))
    assert heard((reading, True, 301), holds=holds) == holds


def test_being_busy_does_not_end_a_refusal_and_is_not_tried_more_often() -> None:
    holds = heard((REFUSED, True, 0), (BUSY, True, 300))
    assert waits(holds, 300) == (300, 0)
    assert holds.submits.refused_since == NOW


def test_while_both_are_refused_one_trial_in_five_minutes_is_enough_for_both() -> None:
    holds = heard((REFUSED, True, 0), (REFUSED_QUERY, False, 10))
    assert holds.both_refused
    assert waits(holds) == (310, 310)
    assert waits(heard((REFUSED_QUERY, False, 310), holds=holds), 310) == (300, 300)


def test_a_key_that_opens_one_door_again_is_tried_at_the_other_at_once() -> None:
    holds = heard((REFUSED, True, 0), (REFUSED_QUERY, False, 10), (ANSWERED, False, 310))
    assert holds.queries == FREE
    assert not holds.submits.held(NOW + 310 * SECOND)
    assert holds.submits.refused_since == NOW, "only a purchase shows that purchases are taken"


def test_an_answered_question_says_nothing_of_purchases_that_were_refused_for_themselves() -> None:
    holds = heard((Reading(claim=Claim.DEFERRED, failure=CREDIT, account_refused=True), True, 0))
    assert heard((ANSWERED, False, 5), holds=holds) == holds


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [(90.0, 90), (0.5, 0.5), (1e9, LONGEST_WISH), (float("inf"), LONGEST_WISH), (-3.0, 0), (float("nan"), 0)],
)
@pytest.mark.parametrize("bought", [True, False])
def test_a_wish_is_heard_up_to_an_hour(wish: float, seconds: float, bought: bool) -> None:
    claim = Claim.DEFERRED if bought else Claim.UNREACHABLE
    holds = heard((Reading(claim=claim, retry_after_seconds=wish), bought, 0))
    assert waits(holds) == ((seconds, 0) if bought else (0, seconds))


def test_without_a_wish_the_pauses_double_up_to_half_a_minute() -> None:
    holds, at, pauses = Holds(), 0, []
    for _ in range(7):
        holds = heard((BUSY, True, at), holds=holds)
        pauses.append(waits(holds, at)[0])
        at += int(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_answers_to_what_was_sent_before_the_hold_are_no_news() -> None:
    holds = heard((BUSY, True, 0))
    for _ in range(15):
        holds = holds.after(BUSY, bought=True, sent_at=NOW - 1, now=NOW + 1)
    assert holds.submits.times == 1
    assert holds.after(BOUGHT, bought=True, sent_at=NOW - 1, now=NOW + 5 * SECOND) == holds, "sent before we were told"
    wish = Reading(claim=Claim.DEFERRED, retry_after_seconds=60.0)
    assert waits(holds.after(wish, bought=True, sent_at=NOW - 1, now=NOW)) == (60, 0)


def test_success_while_nothing_is_held_changes_nothing() -> None:
    holds = Holds()
    assert holds.after(BOUGHT, bought=True, sent_at=NOW, now=NOW) is holds
    assert holds.after(ANSWERED, bought=False, sent_at=NOW, now=NOW) is holds
    assert holds.dump() is None


READINGS = st.sampled_from([REFUSED, REFUSED_QUERY, BUSY, BOUGHT, ANSWERED, Reading(claim=Claim.UNREACHABLE)])


@given(st.lists(st.tuples(READINGS, st.booleans(), st.integers(0, 400)), max_size=30))
def test_no_hold_outlasts_an_hour_and_all_survive_a_change_of_owner(answers: list[tuple[Reading, bool, int]]) -> None:
    holds, at = Holds(), 0
    for reading, bought, gap in answers:
        at += gap
        holds = heard((reading, bought, at), holds=holds)
        assert max(waits(holds, at)) <= LONGEST_WISH
        assert Holds.load(holds.dump()) == holds


@given(st.lists(st.booleans(), min_size=5, max_size=60))
def test_whoever_waits_for_the_holds_makes_three_calls_in_ten_minutes(turns: list[bool]) -> None:
    """Purchases and questions both refused, and at every opening one of them is tried."""
    holds, at, calls = heard((REFUSED, True, 0)), 1, [0]
    for bought in turns:
        hold = holds.submits if bought else holds.queries
        if hold.held(NOW + at * SECOND):
            at = (hold.until - NOW) // SECOND
        calls.append(at)
        holds = heard((REFUSED if bought else REFUSED_QUERY, bought, at), holds=holds)
        at += 1
    assert TRIAL_EVERY == 300 * SECOND
    assert all(sum(begin <= call <= begin + 600 for call in calls) <= 3 for begin in calls)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"submits":{}}', '{"submits":{"until":"1"},"queries":{}}', '{"submits":{"until":-1},"queries":{}}',
     '{"submits":{"x":1},"queries":{}}', '{"submits":{"code":"x"},"queries":{}}', '{"submits":{"reason":7},"queries":{}}',
     '{"submits":1,"queries":2}', "[" * 99999],
)  # fmt: skip
def test_what_is_no_hold_holds_nothing(text: str) -> None:
    assert Holds.load(text) == Holds()


def test_what_is_kept_is_plain_json() -> None:
    text = Holds(submits=Hold(until=NOW, times=1, code=FailureCode.CREDENTIALS_REFUSED)).dump()
    assert text is not None and json.loads(text)["submits"]["code"] == "credentials_refused"


def test_a_hold_does_not_wait_for_a_clock_that_was_set_back() -> None:
    held = heard((REFUSED, True, 0))
    assert held.caught_up(NOW) is held
    back = NOW - 86_400 * SECOND
    assert not held.caught_up(back).submits.held(back)
    assert held.caught_up(back).submits.times == 1, "one on trial"
    assert held.caught_up(back).queries == FREE


def test_what_a_person_says_is_in_order_is_tried_once_and_a_later_refusal_begins_anew() -> None:
    refused = heard((REFUSED, True, 0), (REFUSED, True, 300))
    resumed = refused.resumed(NOW + 310 * SECOND)
    assert resumed.submits.refused_since is None and resumed.submits.code is None
    assert not resumed.submits.held(NOW + 310 * SECOND) and resumed.submits.times == 2
    again = heard((REFUSED, True, 320), holds=resumed)
    assert again.submits.refused_since == NOW + 320 * SECOND
    assert again.resumed(NOW + 310 * SECOND) is again
    assert heard((BOUGHT, True, 320), holds=resumed).free


def test_a_person_who_says_nothing_or_said_it_before_changes_nothing() -> None:
    refused = heard((REFUSED, True, 0))
    assert refused.resumed(0) is refused
    assert refused.resumed(NOW) is refused
    slow = heard((BUSY, True, 0))
    assert slow.resumed(NOW + SECOND) is slow, "that the provider asked for time is not a person's to judge"


@pytest.mark.parametrize(
    ("reading", "code"),
    [
        (REFUSED, "credentials_refused"),
        (REFUSED_QUERY, "credentials_refused"),
        (BUSY, "rate_limited"),
        (Reading(claim=Claim.UNREACHABLE, detail="could not connect"), "unreachable"),
    ],
)
def test_what_went_wrong_last_is_kept_beside_what_is_held_and_without_the_key(reading: Reading, code: str) -> None:
    holds = Holds().troubled(reading, now=NOW, secret="account's")
    assert holds.trouble is not None and (holds.trouble.at, holds.trouble.code) == (NOW, code)
    assert holds.trouble.message and "account's" not in holds.trouble.message
    assert holds.free and Holds.load(holds.dump()) == holds


def test_a_long_complaint_is_cut() -> None:
    holds = Holds().troubled(Reading(claim=Claim.UNREACHABLE, detail="x" * 5000), now=NOW, secret="")
    assert holds.trouble is not None and len(holds.trouble.message) == LONGEST_MESSAGE


@pytest.mark.parametrize(
    "trouble", ["7", '{"at":"now","code":"x","message":"m"}', '{"at":1,"code":2,"message":"m"}', "[]"]
)
def test_a_complaint_that_cannot_be_read_is_none(trouble: str) -> None:
    text = (Holds(submits=Hold(times=1)).dump() or "").replace('"trouble":null', f'"trouble":{trouble}')
    assert Holds.load(text).trouble is None
