"""Every delivery says what comes next, when and why, or what a person can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.debts import ATTEMPT, CANCEL, NONE, WAIT, next_of
from service.core.schedule import Breaker
from service.core.times import iso
from storage.records import Delivery, DeliveryStatus, EndpointStatus, Party
from tests.storage.builders import NOW, SECOND, attempt, delivery

MINUTE = 60 * SECOND
PARTY = Party(id="ep_1", url="https://app.example.org/hook")
OPEN = Breaker(since=NOW, probe_at=NOW + 40 * SECOND).dump()
FIRST = delivery()
TRIED = delivery(attempts=3, due_at=NOW + 30 * MINUTE)
FAILED = attempt(number=3, status_code=503, error_class="http")
RETRY = "POST /v1/deliveries/dlv_1/retry"

# (delivery, latest attempt, party, action, time, what is said)
CASES: dict[str, tuple[Delivery, Any, Party | None, str, int | None, str]] = {
    "never tried, to come": (replace(FIRST, due_at=NOW + 1), None, PARTY, ATTEMPT, NOW + 1, "not tried yet."),
    "never tried, due": (FIRST, None, PARTY, ATTEMPT, NOW, "waits for its turn."),
    "due, at a rate": (FIRST, None, replace(PARTY, rate_limit=5), ATTEMPT, NOW, "for its turn, 5 a second at most."),
    "tried": (TRIED, FAILED, PARTY, ATTEMPT, NOW + 30 * MINUTE, "Attempt 3 of 10 failed: HTTP 503."),
    "tried, its attempts forgotten": (TRIED, None, PARTY, ATTEMPT, NOW + 30 * MINUTE, "Attempt 3 of 10 failed."),
    "tried, without an answer": (
        TRIED,
        attempt(number=3, status_code=None, error_class="dns"),
        PARTY,
        ATTEMPT,
        NOW + 30 * MINUTE,
        "failed: dns.",
    ),
    "asked to wait": (
        replace(TRIED, due_at=NOW + 120 * MINUTE),
        FAILED,
        PARTY,
        ATTEMPT,
        NOW + 120 * MINUTE,
        "HTTP 503, and it asked us to wait until then (Retry-After).",
    ),
    "a schedule of its own": (
        replace(TRIED, attempts=1, due_at=NOW + MINUTE),
        FAILED,
        replace(PARTY, retry_schedule="[60, 60]"),
        ATTEMPT,
        NOW + MINUTE,
        "Attempt 1 of 3 failed: HTTP 503.",
    ),
    "by hand": (
        replace(TRIED, spent=3, restarted_at=NOW, due_at=NOW),
        FAILED,
        PARTY,
        ATTEMPT,
        NOW,
        "Made due again by hand, after 3 attempts.",
    ),
    "by hand, and failed again": (
        replace(TRIED, attempts=4, spent=3, due_at=NOW + 5 * SECOND),
        FAILED,
        PARTY,
        ATTEMPT,
        NOW + 5 * SECOND,
        "Attempt 1 of 10 failed: HTTP 503.",
    ),
    "the endpoint slowed down": (
        FIRST,
        None,
        replace(PARTY, held_until=NOW + MINUTE),
        ATTEMPT,
        NOW + MINUTE,
        "Nothing is sent to its endpoint before then",
    ),
    "a hold that is over by then": (
        TRIED,
        FAILED,
        replace(PARTY, held_until=NOW + MINUTE),
        ATTEMPT,
        NOW + 30 * MINUTE,
        "HTTP 503.",
    ),
    "a hold that is over": (FIRST, None, replace(PARTY, held_until=NOW - 1), ATTEMPT, NOW, "not tried yet. It is due"),
    "breaker open": (FIRST, None, replace(PARTY, breaker=OPEN), ATTEMPT, NOW + 40 * SECOND, "breaker open"),
    "breaker open, later than that": (
        TRIED,
        FAILED,
        replace(PARTY, breaker=OPEN),
        ATTEMPT,
        NOW + 30 * MINUTE,
        "HTTP 503.",
    ),
    "a lease that ends before": (
        TRIED,
        FAILED,
        replace(PARTY, expires_at=NOW + MINUTE),
        CANCEL,
        NOW + MINUTE,
        "it is canceled then",
    ),
    "a lease that is over": (FIRST, None, replace(PARTY, expires_at=NOW), CANCEL, NOW, "PATCH expires_at"),
    "paused": (
        FIRST,
        None,
        replace(PARTY, status=EndpointStatus.PAUSED, inactive_since=NOW),
        WAIT,
        None,
        f"paused since {iso(NOW)}. It is sent once it is resumed: POST /v1/endpoints/ep_1/resume.",
    ),
    "stranded at a disabled one": (
        FIRST,
        None,
        replace(PARTY, status=EndpointStatus.DISABLED, disabled_reason="410"),
        NONE,
        None,
        "disabled (410), so nobody sends it",
    ),
    "stranded at nobody": (FIRST, None, None, NONE, None, "GET /v1/events/evt_1 still has it"),
    "delivered": (
        delivery(status=DeliveryStatus.DELIVERED, attempts=2, due_at=None),
        attempt(number=2, status_code=204),
        PARTY,
        NONE,
        None,
        f"attempt 2 was answered 204 at {iso(NOW)}.",
    ),
    "delivered, its attempts forgotten": (
        delivery(status=DeliveryStatus.DELIVERED, attempts=2, due_at=None),
        None,
        PARTY,
        NONE,
        None,
        "answered 2xx.",
    ),
    "exhausted": (
        delivery(status=DeliveryStatus.EXHAUSTED, attempts=10, due_at=None),
        attempt(number=10, status_code=500, error_class="http"),
        PARTY,
        NONE,
        None,
        f"Given up after 10 attempts; the last: HTTP 500. To send it again: {RETRY}.",
    ),
    "exhausted, forgotten": (
        delivery(status=DeliveryStatus.EXHAUSTED, attempts=1, due_at=None),
        None,
        PARTY,
        NONE,
        None,
        f"Given up after 1 attempt. To send it again: {RETRY}.",
    ),
    "exhausted, by our guard": (
        delivery(status=DeliveryStatus.EXHAUSTED, attempts=1, due_at=None),
        attempt(status_code=None, error_class="blocked"),
        PARTY,
        NONE,
        None,
        "its address is not one that may be called. Change the endpoint's URL, or have the operator allow it",
    ),
    "canceled, told to": (
        delivery(status=DeliveryStatus.CANCELED, attempts=1, due_at=None),
        attempt(status_code=410, error_class="http"),
        replace(PARTY, status=EndpointStatus.DISABLED),
        NONE,
        None,
        f"answered 410, it wants no more. To send it again: POST /v1/endpoints/ep_1/resume, then {RETRY}.",
    ),
    "canceled, deleted": (
        delivery(status=DeliveryStatus.CANCELED, due_at=None),
        None,
        replace(PARTY, deleted_at=NOW, status=EndpointStatus.DISABLED),
        NONE,
        None,
        f"Canceled: its endpoint is deleted since {iso(NOW)}. It cannot be sent there any more; GET /v1/events/evt_1",
    ),
    "canceled, its lease over": (
        delivery(status=DeliveryStatus.CANCELED, due_at=None),
        None,
        replace(PARTY, status=EndpointStatus.DISABLED, disabled_reason="expired", expires_at=NOW),
        NONE,
        None,
        "disabled (expired). To send it again: PATCH /v1/endpoints/ep_1 with a later expires_at",
    ),
    "canceled, the endpoint back": (
        delivery(status=DeliveryStatus.CANCELED, due_at=None),
        None,
        PARTY,
        NONE,
        None,
        f"its endpoint is active again; it was disabled then. To send it again: {RETRY}.",
    ),
    "quarantined": (
        delivery(status=DeliveryStatus.QUARANTINED, attempts=3, due_at=None),
        attempt(status_code=None, error_class="render"),
        PARTY,
        NONE,
        None,
        f"could not be made, 3 attempts: our mistake, please report it. Nothing was sent. To send it again: {RETRY}.",
    ),
}


@pytest.mark.parametrize(("owed", "last", "party", "action", "at", "said"), CASES.values(), ids=CASES)
def test_a_delivery_says_what_comes_next(
    owed: Delivery, last: Any, party: Party | None, action: str, at: int | None, said: str
) -> None:
    found = next_of(owed, last, party, now=NOW)
    assert (found.action, found.at) == (action, at)
    assert said in found.reason


def test_every_status_of_a_delivery_and_of_its_endpoint_is_among_the_cases() -> None:
    assert {owed.status for owed, *_ in CASES.values()} == set(DeliveryStatus)
    pending = [party for owed, _, party, *_ in CASES.values() if owed.status is DeliveryStatus.PENDING]
    assert {party.status for party in pending if party is not None} == set(EndpointStatus) and None in pending


instants = st.none() | st.integers(NOW - 90 * MINUTE, NOW + 90 * MINUTE)


@given(
    owed=st.builds(
        delivery,
        status=st.sampled_from(DeliveryStatus),
        attempts=st.integers(0, 30),
        spent=st.integers(0, 3),
        due_at=instants,
    ),
    last=st.none()
    | st.builds(
        attempt,
        status_code=st.none() | st.integers(100, 599),
        error_class=st.sampled_from([None, "dns", "blocked", "http", "timeout"]),
    ),
    party=st.none()
    | st.builds(
        Party,
        id=st.just("ep_1"),
        url=st.just("https://a.test/"),
        status=st.sampled_from(EndpointStatus),
        deleted_at=instants,
        inactive_since=instants,
        expires_at=instants,
        rate_limit=st.none() | st.integers(1, 9),
        breaker=st.sampled_from([None, OPEN, "nonsense"]),
        held_until=instants,
    ),
)
def test_whatever_stands_in_the_rows_has_an_answer(owed: Delivery, last: Any, party: Party | None) -> None:
    owed = replace(owed, attempts=max(owed.attempts, owed.spent))
    found = next_of(owed, last, party, now=NOW)
    assert found.action in (ATTEMPT, WAIT, CANCEL, NONE) and found.reason.endswith(".") and "None" not in found.reason
    if found.action == ATTEMPT:
        assert found.at is not None
    else:
        assert (
            found.action == CANCEL
            or "POST /v1/" in found.reason
            or "GET /v1/" in found.reason
            or (owed.status is DeliveryStatus.DELIVERED)
        )
