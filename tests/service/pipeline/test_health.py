"""Whether an account may be asked: its rate, its breaker and its holds, together."""

from __future__ import annotations

import pytest

from service.core.care import Care
from service.core.holding import Holds
from service.core.observation import Claim, Reading
from service.core.schedule import Breaker, Bucket
from service.pipeline.health import Health, Kind
from storage.records import Failure, FailureCode, Lane, LaneKind, TaskStatus
from tests.service.pipeline.parties import SECOND, Clock

DOWN = Reading(claim=Claim.UNREACHABLE)
FINE = Reading(claim=Claim.RUNNING)
BOUGHT = Reading(claim=Claim.ACCEPTED, provider_task_id="7")
KEY = Failure(code=FailureCode.CREDENTIALS_REFUSED, message="no", retryable=True)
REFUSED = Reading(claim=Claim.DEFERRED, failure=KEY, account_refused=True)
LANE = Lane(kind=LaneKind.ACCOUNT, key="cloudsway", epoch=1)


def health(clock: Clock, lane: Lane = LANE, *, rate: float = 1000.0) -> Health:
    bucket = Bucket(rate, now=clock())
    clock.advance(10)
    return Health(lane, bucket, clock=clock)


def learn(one: Health, clock: Clock, *answers: Reading, bought: bool = False) -> bool:
    """Hear these answers; whether any of them is to be kept."""
    kept = [one.learn(answer, bought=bought, sent_at=clock()) for answer in answers]
    return any(kept)


def test_the_rate_is_kept_over_both_kinds(clock: Clock) -> None:
    one = health(clock, rate=4.0)
    assert one.spare() == 2
    asked = [one.admit(kind, alike=0, others=0) for kind in (Kind.SUBMIT, Kind.QUERY, Kind.SUBMIT)]
    assert asked == [True, True, False]
    assert one.ready_at(Kind.SUBMIT) == clock() + SECOND // 4
    assert one.spare() == 0


def test_ten_failures_shut_both_kinds_until_a_probe(clock: Clock) -> None:
    one = health(clock)
    learn(one, clock, *[DOWN] * 9)
    assert one.closed() == ()
    learn(one, clock, DOWN)
    assert one.closed() == (TaskStatus.QUEUED, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING)
    assert not one.admit(Kind.QUERY, alike=0, others=0)
    assert "breaker open" in one.why(Kind.QUERY)
    clock.advance(30)
    assert one.closed() == () and one.probing
    assert not one.admit(Kind.QUERY, alike=0, others=1), "something is on its way"
    assert one.admit(Kind.QUERY, alike=0, others=0)
    assert not one.admit(Kind.QUERY, alike=0, others=0), "one probe at a time, also when its answer came at once"


def test_as_soon_as_requests_fail_no_more_are_on_their_way_than_it_takes_to_open(clock: Clock) -> None:
    one = health(clock)
    assert one.admit(Kind.SUBMIT, alike=15, others=8)
    learn(one, clock, *[DOWN] * 4)
    assert one.admit(Kind.SUBMIT, alike=3, others=2)
    assert not one.admit(Kind.SUBMIT, alike=3, others=3)
    learn(one, clock, FINE)
    assert one.admit(Kind.SUBMIT, alike=15, others=8)


@pytest.mark.parametrize("reading", [REFUSED, Reading(claim=Claim.UNREACHABLE, busy=True)])
def test_a_provider_that_says_no_or_wait_is_no_outage(clock: Clock, reading: Reading) -> None:
    one = health(clock)
    learn(one, clock, *[reading] * 20, bought=reading is REFUSED)
    assert not one.probing


@pytest.mark.parametrize("reading", [Reading(claim=Claim.AMBIGUOUS), Reading(claim=Claim.DEFERRED), DOWN])
def test_a_purchase_that_never_left_or_got_no_clear_answer_is_a_failure(clock: Clock, reading: Reading) -> None:
    one = health(clock)
    learn(one, clock, *[reading] * 10, bought=True)
    assert one.probing


def test_a_hold_shuts_its_own_kind_and_then_lets_one_through_on_trial(clock: Clock) -> None:
    one = health(clock)
    learn(one, clock, REFUSED, bought=True)
    assert one.closed() == (TaskStatus.QUEUED,)
    assert not one.admit(Kind.SUBMIT, alike=0, others=0) and one.admit(Kind.QUERY, alike=0, others=0)
    assert one.ready_at(Kind.SUBMIT) == clock() + 300 * SECOND
    assert one.why(Kind.SUBMIT).endswith(": no")
    clock.advance(300)
    assert not one.admit(Kind.SUBMIT, alike=1, others=0)
    assert one.admit(Kind.SUBMIT, alike=0, others=5)
    learn(one, clock, BOUGHT, bought=True)
    assert one.admit(Kind.SUBMIT, alike=15, others=0)


def test_while_both_kinds_are_refused_one_trial_at_a_time_serves_both(clock: Clock) -> None:
    one = health(clock)
    learn(one, clock, REFUSED, bought=True)
    learn(one, clock, Reading(claim=Claim.UNREACHABLE, account_refused=True))
    clock.advance(301)
    assert not one.admit(Kind.SUBMIT, alike=0, others=1)
    assert one.admit(Kind.SUBMIT, alike=0, others=0)


def test_the_next_owner_starts_with_breaker_and_holds(clock: Clock) -> None:
    one = health(clock)
    assert learn(one, clock, REFUSED, bought=True)
    assert learn(one, clock, *[DOWN] * 10)
    kept = one.kept(LANE)
    second = Health(kept, Bucket(1000.0, now=clock()), clock=clock)
    assert second.probing and second.hold(Kind.SUBMIT) == one.hold(Kind.SUBMIT)
    assert (Breaker.load(kept.breaker).open, Holds.load(kept.holds).submits.refused_since) == (True, clock())


def test_what_is_well_is_not_written_down(clock: Clock) -> None:
    one = health(clock)
    assert not learn(one, clock, FINE)
    assert one.kept(LANE) == LANE
    assert learn(one, clock, DOWN)
    assert not learn(one, clock, FINE, FINE), "a row written at every answer would cost more than it tells"


def test_trouble_does_not_wait_for_a_clock_that_was_set_back(clock: Clock) -> None:
    one = health(clock)
    learn(one, clock, *[DOWN] * 10)
    learn(one, clock, REFUSED, bought=True)
    clock.advance(-86_400)
    assert (one.shut_until(Kind.QUERY), one.shut_until(Kind.SUBMIT)) == (None, None)
    clock.now = one.ready_at(Kind.QUERY) or clock()
    assert one.admit(Kind.QUERY, alike=0, others=0), "the probe"
    assert not one.admit(Kind.QUERY, alike=1, others=0)


def test_a_persons_pause_shuts_purchases_until_it_is_lifted_and_never_questions(clock: Clock) -> None:
    one = health(clock)
    one.heed(Care(paused_at=clock()))
    assert one.closed() == (TaskStatus.QUEUED,)
    assert not one.admit(Kind.SUBMIT, alike=0, others=0) and one.admit(Kind.QUERY, alike=0, others=0)
    clock.advance(10 * 86_400)
    assert not one.admit(Kind.SUBMIT, alike=0, others=0)
    assert "paused" in one.why(Kind.SUBMIT)
    one.heed(Care(resumed_at=clock()))
    assert one.closed() == () and one.admit(Kind.SUBMIT, alike=0, others=0)


def test_what_a_person_has_ordered_meanwhile_is_not_lost_when_the_owner_stores_what_it_knows(clock: Clock) -> None:
    one = health(clock)
    learn(one, clock, REFUSED, bought=True)
    clock.advance(1)
    stored = Lane(kind=LaneKind.ACCOUNT, key="cloudsway", epoch=1, care=Care(resumed_at=clock()).dump())
    kept = one.kept(stored)
    assert kept.care == stored.care
    assert Holds.load(kept.holds).submits.refused_since is None
    assert one.admit(Kind.SUBMIT, alike=0, others=0)
