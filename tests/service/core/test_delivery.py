"""The table of results: what is delivered, tried again, given up, and what slows or disables an endpoint."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.delivery import Verdict, headers_for, judge
from service.core.times import DAY, MINUTE, SECOND
from storage.records import DeliveryStatus

NOW = 1_790_000_000 * SECOND
IN_A_MINUTE = "Mon, 21 Sep 2026 14:14:20 GMT"

PENDING, DELIVERED = DeliveryStatus.PENDING, DeliveryStatus.DELIVERED
EXHAUSTED, CANCELED = DeliveryStatus.EXHAUSTED, DeliveryStatus.CANCELED


def judged(status_code: int | None = None, error_class: str | None = None, **facts: Any) -> Verdict:
    defaults: dict[str, Any] = {"attempts_made": 1, "now": NOW, "jitter": 0.0, "created_at": NOW}
    return judge(status_code=status_code, error_class=error_class, **defaults | facts)


@pytest.mark.parametrize("status_code", [200, 201, 202, 204, 250, 299])
@pytest.mark.parametrize("error_class", [None, "timeout", "http"])
def test_any_2xx_is_success_whatever_became_of_its_body(status_code: int, error_class: str | None) -> None:
    verdict = judged(status_code, error_class, retry_after="60", attempts_made=10)
    assert verdict == Verdict(status=DELIVERED)


@pytest.mark.parametrize(
    ("status_code", "error_class", "retry_after", "due_in", "slow_for"),
    [
        (100, None, None, 5, None),
        (199, None, None, 5, None),
        (301, "http", None, 5, None),
        (304, None, "60", 60, 60),
        (400, "http", None, 5, None),
        (401, None, None, 5, None),
        (404, None, "1", 5, 1),
        (429, None, None, 5, 5),
        (429, None, "3600", 3600, 3600),
        (429, None, IN_A_MINUTE, 60, 60),
        (429, None, "9999999", 86400, 86400),
        (429, None, "1e9", 5, 5),
        (429, None, "-1", 5, 5),
        (500, None, None, 5, None),
        (502, None, None, 5, 5),
        (503, None, "2", 5, 2),
        (504, None, None, 5, 5),
        (599, None, None, 5, None),
        (999, None, None, 5, None),
        (None, "timeout", None, 5, 5),
        (None, "dns", None, 5, None),
        (None, "refused", None, 5, None),
        (None, "reset", None, 5, None),
        (None, "tls", None, 5, None),
        (None, "something new", None, 5, None),
        (None, None, None, 5, None),
    ],
)
def test_every_other_result_is_tried_again(
    status_code: int | None, error_class: str | None, retry_after: str | None, due_in: int, slow_for: int | None
) -> None:
    verdict = judged(status_code, error_class, retry_after=retry_after)
    assert verdict.status is PENDING
    assert verdict.due_at == NOW + due_in * SECOND
    assert verdict.slow_until == (None if slow_for is None else NOW + slow_for * SECOND)
    assert not verdict.disable_endpoint
    assert verdict.reason


def test_a_redirect_tells_the_owner_what_to_do() -> None:
    assert judged(302).reason == "HTTP 302: redirects are not followed. Change the endpoint's URL to where it leads"


def test_gone_cancels_the_delivery_and_disables_the_endpoint_at_once() -> None:
    verdict = judged(410, retry_after="60")
    assert (verdict.status, verdict.disable_endpoint, verdict.due_at) == (CANCELED, True, None)


def test_gone_at_a_per_task_url_ends_that_delivery_only() -> None:
    verdict = judged(410, hidden=True)
    assert (verdict.status, verdict.disable_endpoint) == (CANCELED, False)


def test_one_per_task_url_cannot_park_its_neighbours() -> None:
    verdict = judged(429, retry_after="86400", hidden=True)
    assert verdict.due_at == NOW + DAY
    assert verdict.slow_until == NOW + MINUTE


def test_a_blocked_address_ends_the_delivery_and_says_why() -> None:
    verdict = judged(None, "blocked")
    assert (verdict.status, verdict.due_at, verdict.disable_endpoint) == (EXHAUSTED, None, False)
    assert verdict.reason is not None
    assert "TASKRELAY_EGRESS__ALLOW" in verdict.reason


@pytest.mark.parametrize(("status_code", "error_class"), [(500, None), (301, None), (None, "dns"), (429, None)])
def test_the_tenth_failure_is_the_last(status_code: int | None, error_class: str | None) -> None:
    assert judged(status_code, error_class, attempts_made=9).status is PENDING
    verdict = judged(status_code, error_class, attempts_made=10, retry_after="60")
    assert (verdict.status, verdict.due_at) == (EXHAUSTED, None)
    assert verdict.slow_until == NOW + MINUTE
    assert verdict.reason is not None
    assert verdict.reason.endswith("gave up at attempt 10")


def test_an_endpoint_may_bring_its_own_schedule() -> None:
    assert judged(500, attempts_made=1, schedule=(0, 60)).due_at == NOW + MINUTE
    assert judged(500, attempts_made=2, schedule=(0, 60)).status is EXHAUSTED


def test_after_fourteen_days_it_is_given_up() -> None:
    assert judged(500, created_at=NOW - 14 * DAY).status is EXHAUSTED


@given(
    st.none() | st.integers(-1, 1000),
    st.none() | st.sampled_from(["dns", "refused", "reset", "tls", "timeout", "blocked", "http"]) | st.text(max_size=5),
    st.none() | st.text(max_size=70) | st.integers().map(str),
    st.integers(1, 20),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_verdict_is_always_consistent(
    status_code: int | None, error_class: str | None, retry_after: str | None, made: int, jitter: float, hidden: bool
) -> None:
    verdict = judged(
        status_code, error_class, retry_after=retry_after, attempts_made=made, jitter=jitter, hidden=hidden
    )
    assert (verdict.status is PENDING) == (verdict.due_at is not None)
    assert (verdict.status is DELIVERED) == (status_code is not None and 200 <= status_code <= 299)
    assert (verdict.reason is None) == (verdict.status is DELIVERED)
    if verdict.due_at is not None:
        assert NOW + 5 * SECOND <= verdict.due_at <= NOW + DAY + DAY // 10
    if verdict.slow_until is not None:
        assert NOW < verdict.slow_until <= NOW + DAY


def test_an_attempt_carries_these_headers() -> None:
    assert headers_for("evt_01", 1_790_000_000, "v1,abc", 3, "task.succeeded", "taskrelay/1.0") == {
        "content-type": "application/json",
        "webhook-id": "evt_01",
        "webhook-timestamp": "1790000000",
        "webhook-signature": "v1,abc",
        "taskrelay-event": "task.succeeded",
        "taskrelay-attempt": "3",
        "user-agent": "taskrelay/1.0",
    }
